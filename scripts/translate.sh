#!/usr/bin/env bash
# The test set of a language pair, translated by the best checkpoint of every system and seed.
#
#     SEEDS="1 2 3" ROWS="no-dropout-control recipe" scripts/translate.sh de-en
set -euo pipefail
source "$(dirname "$0")/experiment.sh"

for row in baseline "${rows[@]}"; do
  for seed in "${seeds[@]}"; do
    step "translate-$row-$seed" "$pair: translate the test set, $row, seed $seed" translate "$row" "$seed" test
  done
done
