#!/usr/bin/env bash
# The whole chain in the current folder, which holds data/development and data/test; ends with run.csv.
set -euo pipefail

medvqa split --val 0.1
medvqa finetune --stage 1
medvqa finetune --stage 2
medvqa predict
medvqa route
medvqa score
medvqa package --out run.csv
