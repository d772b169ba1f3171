#!/usr/bin/env bash
# This package beside the organisers' own, in a fresh environment: both install, agree on versions, import and run.
#     tests/organisers_environment.sh [python3.11]
source "$(dirname "${BASH_SOURCE[0]}")/fresh_environment.sh"

fresh "${1:-python3}" "${organisers[@]}"

step "no requirement is broken"
pip check

step "the organisers' package imports"
cd "$scratch"
python -c 'import medvqa.cli'

step "imageclef-vqa runs the whole chain"
imageclef-vqa --version
imageclef-vqa demo --images 40 --keep "$scratch/demo"
test -s "$scratch/demo/run.csv"

step "the default experts answer too, with the encoder that pip has installed"
imageclef-vqa route --workspace "$scratch/demo"
test -s "$scratch/demo/work/main/experts/features/test.jsonl"

step "done"
