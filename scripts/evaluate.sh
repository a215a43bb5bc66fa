#!/usr/bin/env bash
# The report on a language pair: a table with the paper's numbers beside ours where it has such a row, the figures,
# the examples.
#
#     SEEDS="1 2 3" ROWS="no-dropout-control recipe" scripts/evaluate.sh de-en
set -euo pipefail
source "$(dirname "$0")/experiment.sh"

mkdir -p "$results"
step "compare-paired-$chosen" "$pair: score and compare" compare --paired-runs
step "entropy-$chosen" "$pair: measure the entropy of the models' probabilities" entropy
step "curve-$chosen" "$pair: translate and score the checkpoints of the fine-tunings" curve "${rows[@]}"
say "$pair: write the report"
report --published "configs/$pair.published.json"
