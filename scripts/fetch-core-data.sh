#!/usr/bin/env bash
# Downloads the data of the `core` suite, DCLM's CORE, from MosaicML's evaluation gauntlet (about 100 MB):
#
#   scripts/fetch-core-data.sh DATA
#   fineline probe CHECKPOINT --suite core --data-dir DATA
set -euo pipefail
data=${1:?usage: scripts/fetch-core-data.sh DATA}
source=${CORE_DATA_SOURCE:-https://github.com/mosaicml/llm-foundry}

if [ -e "$data/local_data" ]; then
    echo "$data/local_data already exists" >&2
    exit 1
fi
mkdir -p "$data"
checkout=$(mktemp -d "$data/.core-data.XXXXXX")
trap 'rm -rf "$checkout"' EXIT
git clone --quiet --depth 1 --filter=blob:none --sparse "$source" "$checkout"
git -C "$checkout" sparse-checkout set scripts/eval/local_data
# The data is moved completely or not at all.
mv "$checkout/scripts/eval/local_data" "$data/local_data"
