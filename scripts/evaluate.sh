#!/usr/bin/env bash
# The report on a language pair: the paper's table with its numbers beside ours, the figures, the examples.
#
#     SEEDS="1 2 3" ROWS="control softmax sparsemax gumbel_softmax" scripts/evaluate.sh de-en
set -euo pipefail
source "$(dirname "$0")/experiment.sh"

first=${seeds[0]}

# outputs ROW: its translations of the test set, one for each seed, with commas between them.
outputs() {
  local files=("${seeds[@]/#/$work/$1/}")
  local IFS=,
  echo "${files[*]/%//test.out}"
}

compare() {
  local systems=() row
  for row in "${rows[@]}"; do
    if [ "$row" = control ]; then
      systems+=(--control "$(outputs control)")
    else
      systems+=(--system "$row=$(outputs "$row")")
    fi
  done
  bertloss compare --reference "$reference" "${metrics[@]}" --baseline "$(outputs baseline)" "${systems[@]}" \
    --output "$work/comparison.json"
}

entropy() {
  local systems=() row
  for row in baseline "${rows[@]}"; do
    systems+=(--system "$row" "$work/$row/$first/checkpoint_best.pt" "$work/$row/$first/test.out")
  done
  bertloss entropy "$work/data" --gen-subset test "${systems[@]}" --output "$work/entropy.json"
}

# On the validation set: who picks a checkpoint by this curve must not have seen the test set.
curve() {
  local runs=() row
  for row in "${rows[@]}"; do
    runs+=(--run "$row=$work/$row/$first")
  done
  bertloss curve "$work/data" --gen-subset valid --reference "$work/corpus/valid.$target_lang" "${metrics[@]}" \
    --baseline "$work/baseline/$first/checkpoint_best.pt" "${runs[@]}" --output "$work/curve.json"
}

page() {
  bertloss report --runs "$work" --published "configs/$pair.published.json" --output "$work/report.html"
}

evaluated="${rows[*]} ${seeds[*]}"
evaluated=${evaluated// /+}
step "compare-$evaluated" "$pair: score and compare" compare
step "entropy-$evaluated" "$pair: measure the entropy of the models' probabilities" entropy
step "curve-$evaluated" "$pair: translate and score the checkpoints of the fine-tunings" curve
say "$pair: write the report"
page
