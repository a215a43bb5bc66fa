#!/usr/bin/env bash
# The whole method on real text, from the raw strings to the table of results:
#
#     make quickstart
#
# Every step leaves its result in quickstart/ and is not repeated when that is there; an interrupted
# training goes on from its last checkpoint. To start again, remove quickstart/.
# BASELINE_UPDATES and FINE_TUNING_UPDATES make it shorter; scripts/small_model.sh says what is trained. PAPER=1 fine-tunes
# as the paper does, with soft predictions (Gumbel-Softmax) in place of minimum risk, and translates with what comes out.
set -euo pipefail
cd "$(dirname "$0")/.."

source scripts/small_model.sh

fetch() {
  pip download --no-deps --dest "$work/wheel" homeassistant==2024.3.3
}

extract() {
  bertloss homeassistant "$work"/wheel/homeassistant-2024.3.3-*.whl --source-lang de --target-lang en \
    --destdir "$work/corpus"
}

prepare() {
  local corpus=$work/corpus
  bertloss prepare --source "$corpus/train.de" --target "$corpus/train.en" \
    --valid-source "$corpus/valid.de" --valid-target "$corpus/valid.en" \
    --test-source "$corpus/test.de" --test-target "$corpus/test.en" \
    --lm "$lm" --source-lang de --target-lang en --lowercase --merges 4000 --observed-vocabulary \
    --destdir "$work/data"
}

# The learning rate falls below that of fine-tuning, so that the rate alone cannot improve what follows.
baseline() {
  train baseline "${cross_entropy[@]}" --lr 3e-3 --lr-scheduler polynomial_decay --warmup-updates 200 \
    --total-num-update "$baseline_updates" --end-learning-rate 3e-5 --max-update "$baseline_updates"
}

# Halfway between the baseline and the mean of the last three checkpoints along the way.
interpolate() {
  local checkpoints
  mapfile -t checkpoints < <(printf '%s\n' "$work/$1"/checkpoint_*_*.pt | sort -V | tail -n 3)
  bertloss average "${checkpoints[@]}" --baseline "$work/baseline/checkpoint_last.pt" --output "$work/$1/$translating"
}

compare() {
  bertloss compare --reference "$work/corpus/test.en" "${evaluation[@]}" --baseline "$work/baseline/test.out" \
    --control "$work/control/test.out" --system fine-tuned="$work/fine-tuned/test.out" \
    --output "$work/comparison.json" >"$work/table.partial"
  mv "$work/table.partial" "$work/table.md"
}

entropy() {
  local systems=(--system baseline "$work/baseline/checkpoint_last.pt" "$work/baseline/test.out") system
  for system in control fine-tuned; do
    systems+=(--system "$system" "$work/$system/$translating" "$work/$system/test.out")
  done
  bertloss entropy "$work/data" --gen-subset test "${systems[@]}" --output "$work/entropy.json"
}

# On the validation set: who picks a checkpoint by this curve must not have seen the test set. Of the fine-tunings as they went,
# not interpolated.
curve() {
  bertloss curve "$work/data" --gen-subset valid --reference "$work/corpus/valid.en" "${evaluation[@]}" \
    --baseline "$work/baseline/checkpoint_last.pt" --run control="$work/control" --run fine-tuned="$work/fine-tuned" \
    --output "$work/curve.json"
}

page() {
  bertloss report --runs "$work" --output "$work/report.html"
}

if is_on PAPER; then
  method="soft predictions"
  fine_tuning=("${bertscore[@]}" --objective soft)
  translating=checkpoint_last.pt
else
  method="minimum risk"
  read -r -a without_dropout <configs/risk.flags
  fine_tuning=("${bertscore[@]}" "${without_dropout[@]}")
  translating=checkpoint_interpolated.pt
fi

begin "$baseline_updates+$fine_tuning_updates updates, $method, scripts $(cat scripts/{quickstart,small_model}.sh configs/risk.flags | cksum)"
step fetch "Fetch the strings of Home Assistant" fetch
step extract "Join German and English" extract
step prepare "Tokenize and run fairseq-preprocess" prepare
step baseline "Train the baseline: cross-entropy, $baseline_updates updates" baseline
step control "Train the control: $fine_tuning_updates more updates of cross-entropy" \
  fine_tune control "${cross_entropy[@]}"
step fine-tuned "Fine-tune with BERTScore: $fine_tuning_updates updates, $method" \
  fine_tune fine-tuned "${fine_tuning[@]}"
step translate-baseline "Translate the test set: baseline" translate baseline test
for system in control fine-tuned; do
  if ! is_on PAPER; then
    step "interpolate-$system" "Interpolate with the baseline: $system" interpolate "$system"
  fi
  step "translate-$system" "Translate the test set: $system" translate "$system" test "$translating"
done
step compare "Score and compare: 500 sentences of the test set" compare
step entropy "Measure the entropy of the models' probabilities" entropy
step curve "Translate and score the checkpoints of the fine-tuning" curve
step report "Write the report" page
say "Test set of 500 sentences ($work/table.md)"
cat "$work/table.md"
say "The report with all tables and figures"
realpath "$work/report.html"
