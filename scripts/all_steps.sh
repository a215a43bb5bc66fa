#!/usr/bin/env bash
# All steps of the experiment of a language pair: scripts/all_steps.sh PAIR
set -euo pipefail
scripts=$(dirname "$0")

for name in prepare train_baseline finetune translate evaluate; do
  "$scripts/$name.sh" "$@"
done
