#!/usr/bin/env bash
# Ways to fine-tune the quickstart's baseline, on its validation set, three seeds each: what is measured is
# BLEU, F_BERT, MoverScore and length by beam search, and p(</s>) and F_BERT by forced decoding.
#
#     make quickstart && PATH="$PWD/.venv/bin:$PATH" benchmarks/fine_tuning.sh
#
# Finished runs are not repeated.
set -euo pipefail
cd "$(dirname "$0")/.."
# What docs/fine_tuning.md has measured.
FINE_TUNING_UPDATES=100
source scripts/small_model.sh
schedule+=(--lr 3e-5)
tuned_checkpoint=checkpoint_last.pt
mixed=("${bertscore[@]}" --objective soft --cross-entropy-weight 0.5 --label-smoothing 0.1)

declare -A outputs
[ -e "$work/baseline/valid.out" ] || translate baseline 1 valid

# run NAME SEED CRITERION...
run() {
  local name=fine-tuning/$1-$2 seed=$2
  shift 2
  if [ ! -e "$work/$name/done" ]; then
    fine_tune "$name" "$seed" "$@" "${schedule[@]}"
    translate "$name" "$seed" valid
    touch "$work/$name/done"
  fi
  outputs[${name%-*}]+=,$work/$name/valid.out
}

# forced NAME: the log of fairseq-validate, which knows these figures of bertscore_loss alone.
forced() {
  fairseq-validate "$work/data" --task translation --user-dir fairseq_bertloss --log-format simple --max-tokens 4096 \
    --required-batch-size-multiple 1 --path "$work/fine-tuning/$1/checkpoint_last.pt" 2>&1 |
    grep -o 'f_bert.*skipped [0-9]*' | sed "s/^/$1: /"
}

for seed in 1 2 3; do
  run control "$seed" "${cross_entropy[@]}"
  for mode in scored context gold; do
    run "$mode" "$seed" "${bertscore[@]}" --objective soft --end-of-sentence "$mode"
  done
  run mixed "$seed" "${mixed[@]}"
done
for mode in scored context gold mixed; do
  forced "$mode-1"
done
systems=()
for system in scored context gold mixed; do
  systems+=(--system "$system=${outputs[fine-tuning/$system]#,}")
done
bertloss compare --reference "$work/corpus/valid.en" "${evaluation[@]}" --baseline "$work/baseline/valid.out" \
  --control "control=${outputs[fine-tuning/control]#,}" "${systems[@]}"
