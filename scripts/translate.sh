#!/usr/bin/env bash
# The test set of a language pair, translated by every system and seed; fine-tuned ones are averaged with their baseline first,
# unless PAPER=1.
#
#     SEEDS="1 2 3" ROWS="control risk" scripts/translate.sh de-en
set -euo pipefail
source "$(dirname "$0")/experiment.sh"

average() {
  bertloss average "$work/$1/$2/checkpoint_best.pt" --baseline "$(checkpoint baseline "$2")" --output "$(checkpoint "$1" "$2")"
}

translate() {
  local folder=$work/$1/$2
  if [ "$1" != baseline ] && ! is_on PAPER; then
    average "$1" "$2"
  fi
  fairseq-generate "$work/data" --user-dir fairseq_bertloss --path "$(checkpoint "$1" "$2")" --gen-subset test \
    "${generation[@]}" --tokenizer word_pieces --word-pieces-lm "$lm" >"$folder/test.partial"
  mv "$folder/test.partial" "$folder/test.out"
}

for row in baseline "${rows[@]}"; do
  for seed in "${seeds[@]}"; do
    step "translate-$row-$seed" "$pair: translate the test set, $row, seed $seed" translate "$row" "$seed"
  done
done
