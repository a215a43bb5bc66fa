#!/usr/bin/env bash
# The report on a language pair: a table with the paper's numbers beside ours where it has such a row, the figures,
# the examples.
#
#     SEEDS="1 2 3" ROWS="no-dropout-control recipe" scripts/evaluate.sh de-en
set -euo pipefail
source "$(dirname "$0")/experiment.sh"

# A folder for each choice of systems, so that a report shows what was asked for.
chosen="${rows[*]} ${seeds[*]}"
chosen=${chosen// /+}
results=$work/results/$chosen
mkdir -p "$results"

# outputs ROW: its translations of the test set, one for each seed, with commas between them.
outputs() {
  local files=() seed
  for seed in "${seeds[@]}"; do
    files+=("$work/$1/$seed/test.out")
  done
  local IFS=,
  echo "${files[*]}"
}

compare() {
  local systems=() row
  for row in "${rows[@]}"; do
    case $row in
      control | no-dropout-control) systems+=(--control "$row=$(outputs "$row")") ;;
      *) systems+=(--system "$row=$(outputs "$row")") ;;
    esac
  done
  bertloss compare --reference "$work/corpus/test.$target_lang" "${metrics[@]}" --baseline "$(outputs baseline)" \
    "${systems[@]}" --paired-runs --output "$results/comparison.json"
}

entropy() {
  local systems=() row
  for row in baseline "${rows[@]}"; do
    systems+=(--system "$row" "$(checkpoint "$row" "$first")" "$work/$row/$first/test.out")
  done
  bertloss entropy "$work/data" --gen-subset test "${systems[@]}" --output "$results/entropy.json"
}

# On the validation set: who picks a checkpoint by this curve must not have seen the test set.
curve() {
  local runs=() row
  for row in "${rows[@]}"; do
    runs+=(--run "$row=$work/$row/$first")
  done
  bertloss curve "$work/data" --gen-subset valid --reference "$work/corpus/valid.$target_lang" "${metrics[@]}" \
    --baseline "$(checkpoint baseline "$first")" "${runs[@]}" --output "$results/curve.json"
}

page() {
  bertloss report --runs "$results" --published "configs/$pair.published.json" --output "$work/report.html"
}

step "compare-paired-$chosen" "$pair: score and compare" compare
step "entropy-$chosen" "$pair: measure the entropy of the models' probabilities" entropy
step "curve-$chosen" "$pair: translate and score the checkpoints of the fine-tunings" curve
say "$pair: write the report"
page
