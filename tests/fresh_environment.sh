# Sourced by the scripts beside it, in the repository: `fresh PYTHON WHAT…` installs into an environment that goes at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

organisers=(. 'medvqa>=0.15.7' 'datasets>=3.4.1') # this package beside the organisers' own

step() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }

fresh() {
  step "pip install ${*:2}"
  "$1" -m venv "$scratch/venv"
  PATH=$scratch/venv/bin:$PATH
  pip install --quiet --no-compile "${@:2}"
}
