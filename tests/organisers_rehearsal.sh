#!/usr/bin/env bash
# A submission made with the organisers' own package in a fresh environment: its template is found, filled and rehearsed.
#     tests/organisers_rehearsal.sh WORKSPACE [python3.12]
# WORKSPACE has open questions, a finished run `main`, and [team] in medvqa.toml.
workspace=$(realpath "$1")
source "$(dirname "${BASH_SOURCE[0]}")/fresh_environment.sh"

fresh "${2:-python3}" "${organisers[@]}"

step "the template of the installed package is filled, and the script runs to its end without network"
cd "$scratch"
imageclef-vqa package --submission "$scratch/repository" --repo-id organisation/name --workspace "$workspace"
grep -q "load_submission('organisation/name'" "$scratch/repository/submission_task1.py"

step "the wheel of the repository installs"
pip install --quiet --force-reinstall --no-deps "$scratch"/repository/imageclef_vqa-*.whl
imageclef-vqa --version

step "done"
