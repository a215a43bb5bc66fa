#!/usr/bin/env bash
# The fine-tunings of a language pair from the best checkpoint of the baseline with the same seed, as the paper does
# them: cross-entropy continued (control) and BERTScore of each soft prediction; and the recipe beside cross-entropy
# continued at its learning rate, without dropout as well (no-dropout-control).
#
#     SEEDS="1 2 3" ROWS="no-dropout-control recipe" scripts/finetune.sh de-en
set -euo pipefail
source "$(dirname "$0")/experiment.sh"

# fine_tune_row ROW SEED
fine_tune_row() {
  local row=$1 seed=$2 options
  case $row in
    control) options=("${paper[@]}" "${cross_entropy[@]}") ;;
    no-dropout-control) options=("${finetuning[@]}" "${cross_entropy[@]}" "${recipe_dropout[@]}") ;;
    recipe) options=("${finetuning[@]}" "${bertscore[@]}" "${recipe[@]}") ;;
    *) options=("${paper[@]}" "${bertscore[@]}" --soft-prediction "$row") ;;
  esac
  if [ "$seed" = "$first" ]; then
    options+=("${checkpoints[@]}")
  else
    options+=(--no-epoch-checkpoints)
  fi
  fine_tune "$row" "$seed" "${options[@]}"
}

for seed in "${seeds[@]}"; do
  for row in "${rows[@]}"; do
    step "$row-$seed" "$pair: fine-tune, $row, seed $seed" fine_tune_row "$row" "$seed"
  done
done
