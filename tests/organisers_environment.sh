#!/usr/bin/env bash
# This package beside the organisers' own, in a fresh environment: both install, agree on versions, import and run.
#     tests/organisers_environment.sh [python3.11]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1
step() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }

step "pip install . medvqa 'datasets>=3.4.1'"
"${1:-python3}" -m venv "$scratch/venv"
PATH=$scratch/venv/bin:$PATH
pip install --quiet --no-compile . 'medvqa>=0.15.7' 'datasets>=3.4.1'

step "no requirement is broken"
pip check

step "the organisers' package imports"
cd "$scratch"
python -c 'import medvqa.cli'

step "imageclef-vqa runs the whole chain"
imageclef-vqa --version
imageclef-vqa demo --images 40 --keep "$scratch/demo"
test -s "$scratch/demo/run.csv"

step "done"
