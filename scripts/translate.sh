#!/usr/bin/env bash
# The test set of a language pair, translated by every system and seed.
#
#     SEEDS="1 2 3" ROWS="control risk" scripts/translate.sh de-en
set -euo pipefail
source "$(dirname "$0")/experiment.sh"

translate() {
  local folder=$work/$1/$2
  fairseq-generate "$work/data" --user-dir fairseq_bertloss --path "$folder/checkpoint_best.pt" --gen-subset test \
    "${generation[@]}" --tokenizer word_pieces --word-pieces-lm "$lm" >"$folder/test.partial"
  mv "$folder/test.partial" "$folder/test.out"
}

for row in baseline "${rows[@]}"; do
  for seed in "${seeds[@]}"; do
    step "translate-$row-$seed" "$pair: translate the test set, $row, seed $seed" translate "$row" "$seed"
  done
done
