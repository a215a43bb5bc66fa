#!/usr/bin/env bash
# The fine-tunings of a language pair from the best checkpoint of the baseline with the same seed: cross-entropy
# continued (control), minimum risk by BERTScore (risk), and BERTScore of each soft prediction.
#
#     SEEDS="1 2 3" ROWS="control risk" scripts/finetune.sh de-en
set -euo pipefail
source "$(dirname "$0")/experiment.sh"

finetune() {
  local row=$1 seed=$2 options=("${finetuning[@]}")
  case $row in
    control) options+=("${cross_entropy[@]}") ;;
    risk) options+=("${bertscore[@]}" "${risk[@]}") ;;
    *) options+=("${bertscore[@]}" --objective soft --soft-prediction "$row") ;;
  esac
  if [ "$seed" = "$first" ]; then
    options+=("${checkpoints[@]}")
  else
    options+=(--no-epoch-checkpoints)
  fi
  train "$row" "$seed" "${options[@]}" --finetune-from-model "$work/baseline/$seed/checkpoint_best.pt"
}

for seed in "${seeds[@]}"; do
  for row in "${rows[@]}"; do
    step "$row-$seed" "$pair: fine-tune, $row, seed $seed" finetune "$row" "$seed"
  done
done
