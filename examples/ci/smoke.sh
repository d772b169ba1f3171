#!/usr/bin/env bash
# The chain on 40 drawn pictures; then the checks of the run files that are named. Any error ends with exit code 1.
#     smoke.sh [RUN...]
set -euo pipefail

demo=$(mktemp -d)
trap 'rm -rf "$demo"' EXIT
medvqa demo --images 40 --device cpu --keep "$demo/workspace"
medvqa check "$demo/workspace/run.csv" --workspace "$demo/workspace"
for run in "$@"; do
  medvqa check "$run"
done
