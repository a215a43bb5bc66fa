#!/usr/bin/env bash
# The test set of a language pair, translated by every system and seed; fine-tuned ones are interpolated with their baseline
# first, unless PAPER=1.
#
#     SEEDS="1 2 3" ROWS="control risk" scripts/translate.sh de-en
set -euo pipefail
source "$(dirname "$0")/experiment.sh"

interpolate() {
  bertloss average "$work/$1/$2/checkpoint_best.pt" --baseline "$(checkpoint baseline "$2")" --output "$(checkpoint "$1" "$2")"
}

translate() {
  local folder=$work/$1/$2
  fairseq-generate "$work/data" --user-dir fairseq_bertloss --path "$(checkpoint "$1" "$2")" --gen-subset test \
    "${generation[@]}" --tokenizer word_pieces --word-pieces-lm "$lm" >"$folder/test.partial"
  mv "$folder/test.partial" "$folder/test.out"
}

for row in baseline "${rows[@]}"; do
  for seed in "${seeds[@]}"; do
    if is_interpolated "$row"; then
      step "interpolate-$row-$seed" "$pair: interpolate with the baseline, $row, seed $seed" interpolate "$row" "$seed"
    fi
    step "translate-$row-$seed" "$pair: translate the test set, $row, seed $seed" translate "$row" "$seed"
  done
done
