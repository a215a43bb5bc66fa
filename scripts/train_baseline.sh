#!/usr/bin/env bash
# The baseline of a language pair, one for each seed: cross-entropy until validation BLEU has not risen three times.
#
#     SEEDS="1 2 3" scripts/train_baseline.sh de-en
set -euo pipefail
source "$(dirname "$0")/experiment.sh"

for seed in "${seeds[@]}"; do
  step "baseline-$seed" "$pair: train the baseline, seed $seed" \
    train baseline "$seed" "${cross_entropy[@]}" "${baseline[@]}" --no-epoch-checkpoints
done
