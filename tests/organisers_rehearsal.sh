#!/usr/bin/env bash
# A submission made with the organisers' own package in a fresh environment: its template is found, filled and rehearsed.
#     tests/organisers_rehearsal.sh WORKSPACE [python3.12]
# WORKSPACE has open questions, a finished run `main`, and [team] in medvqa.toml.
set -euo pipefail
workspace=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1
step() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }

step "pip install . medvqa 'datasets>=3.4.1'"
"${2:-python3}" -m venv "$scratch/venv"
PATH=$scratch/venv/bin:$PATH
pip install --quiet --no-compile . 'medvqa>=0.15.7' 'datasets>=3.4.1'

step "the template of the installed package is filled, and the script runs to its end without network"
cd "$scratch"
imageclef-vqa package --submission "$scratch/repository" --repo-id organisation/name --workspace "$workspace"
grep -q "load_submission('organisation/name'" "$scratch/repository/submission_task1.py"

step "the wheel of the repository installs"
pip install --quiet --force-reinstall --no-deps "$scratch"/repository/imageclef_vqa-*.whl
imageclef-vqa --version

step "done"
