#!/usr/bin/env bash
# What --end-of-sentence does to length, BLEU and F_BERT, on the validation set, three seeds each:
#
#     make quickstart && PATH="$PWD/.venv/bin:$PATH" benchmarks/end_of_sentence.sh
#
# Fine-tunes the quickstart's baseline; finished runs are not repeated.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/small_model.sh

systems=(baseline="$work/baseline/valid.out")
[ -e "$work/baseline/valid.out" ] || translate baseline valid

# run NAME SEED CRITERION...
run() {
  local name=end-of-sentence/$1-$2 seed=$2
  shift 2
  if [ ! -e "$work/$name/done" ]; then
    fine_tune "$name" "$@" --seed "$seed" --disable-validation
    translate "$name" valid
    touch "$work/$name/done"
  fi
  systems+=("${name#*/}=$work/$name/valid.out")
}

for seed in 1 2 3; do
  run control "$seed" "${cross_entropy[@]}"
  for mode in scored context gold; do
    run "$mode" "$seed" "${bertscore[@]}" --end-of-sentence "$mode"
  done
done
bertloss score --reference "$work/corpus/valid.en" --lm "$lm" --layer "$layer" --lowercase "${systems[@]}"
