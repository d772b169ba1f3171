#!/usr/bin/env bash
# The smoke tests with the oldest versions that Ascend users have: Python 3.10 and Paddle 3.0.0, in a fresh environment.
#     tests/oldest_versions.sh [python3.10]
source "$(dirname "${BASH_SOURCE[0]}")/fresh_environment.sh"

fresh "${1:-python3.10}" '.[dev]' paddlepaddle==3.0.0
python -c 'import paddle, sys; print(sys.version.split()[0], "with Paddle", paddle.__version__)'
python -m pytest tests/test_cli.py tests/test_models.py tests/test_training.py \
  tests/test_decoding.py tests/test_chain.py tests/test_ascend.py
step "done"
