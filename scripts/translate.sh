#!/usr/bin/env bash
# The test set of a language pair, translated by the best checkpoint of every system and seed.
#
#     SEEDS="1 2 3" ROWS="no-dropout-control recipe" scripts/translate.sh de-en
set -euo pipefail
source "$(dirname "$0")/experiment.sh"

translate() {
  local folder=$work/$1/$2
  fairseq-generate "$work/data" --user-dir fairseq_bertloss --path "$(checkpoint "$1" "$2")" --gen-subset test \
    "${generation[@]}" --tokenizer word_pieces --word-pieces-lm "$lm" >"$folder/test.partial"
  mv "$folder/test.partial" "$folder/test.out"
}

for row in baseline "${rows[@]}"; do
  for seed in "${seeds[@]}"; do
    step "translate-$row-$seed" "$pair: translate the test set, $row, seed $seed" translate "$row" "$seed"
  done
done
