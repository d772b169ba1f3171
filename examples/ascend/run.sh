#!/usr/bin/env bash
# The paper's run on one machine with 8 Ascend cards, in a folder that holds data/development, data/test and weights/.
#     examples/ascend/run.sh [options of finetune, such as --precision bf16 --accumulate 1]
set -euo pipefail
recipe=$(realpath "$(dirname "${BASH_SOURCE[0]}")")/8-cards.toml
cards=(--device npu --devices 0,1,2,3,4,5,6,7)

medvqa doctor --device npu
medvqa split --val 0.1
medvqa finetune --stage 1 --recipe "$recipe" --weights weights "${cards[@]}" "$@"
medvqa finetune --stage 2 --recipe "$recipe" --weights weights "${cards[@]}" "$@"
medvqa predict "${cards[@]}"
medvqa route --policy paper --device npu
medvqa score --compare
medvqa package --out run.csv
