#!/usr/bin/env bash
# Creates the Python environment for fixtures and parity checks: Debian's PyTorch (CPU) and transformers.
#
#   scripts/setup-reference.sh [DIR]          default: ~/.cache/fineline/reference
#   export FINELINE_REFERENCE_PYTHON=DIR/bin/python
#
# Needs Debian 12 or similar, and root for the two apt packages if they are not installed yet.
set -euo pipefail

dir=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/fineline/reference}

if ! /usr/bin/python3 -c 'import torch, venv, ensurepip' 2>/dev/null; then
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    $sudo apt-get update
    $sudo env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends python3-torch python3-venv
fi

# Debian's torch is a system package, and was built for NumPy 1.
/usr/bin/python3 -m venv --system-site-packages "$dir"
"$dir/bin/pip" install --quiet 'transformers==4.46.3' 'tokenizers==0.20.3' 'safetensors==0.4.5' \
    'numpy==1.26.4' 'scipy==1.13.1' 'pandas==2.2.3' 'statsmodels==0.14.4' \
    'moto[server]==5.2.5' 'prometheus_client==0.26.0'

"$dir/bin/python" - <<'PYTHON'
import numpy, scipy, tokenizers, torch, transformers

print(f"reference: torch {torch.__version__}, transformers {transformers.__version__}, "
      f"tokenizers {tokenizers.__version__}, numpy {numpy.__version__}, scipy {scipy.__version__}")
PYTHON
