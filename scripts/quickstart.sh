#!/usr/bin/env bash
# The whole method on real text, from the raw strings to the table of results:
#
#     make quickstart
#
# Every step leaves its result in quickstart/ and is not repeated when that is there; an interrupted
# training goes on from its last checkpoint. To start again, remove quickstart/.
# SEED is another seed than 1; BASELINE_UPDATES and FINE_TUNING_UPDATES make it shorter; scripts/small_model.sh says what
# is trained.
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

# What translates is the mean of the last three checkpoints along the way, of every fine-tuning.
average() {
  local checkpoints
  mapfile -t checkpoints < <(printf '%s\n' "$work/$1"/checkpoint_*_*.pt | sort -V | tail -n 3)
  bertloss average "${checkpoints[@]}" --output "$work/$1/$averaged"
}

compare() {
  bertloss compare --reference "$work/corpus/test.en" "${evaluation[@]}" --baseline "$work/baseline/test.out" \
    --control "$work/control/test.out" --system BERTTune="$work/BERTTune/test.out" \
    --system recipe="$work/recipe/test.out" --output "$work/comparison.json" >"$work/table.partial"
  mv "$work/table.partial" "$work/table.md"
}

entropy() {
  local systems=(--system baseline "$work/baseline/checkpoint_last.pt" "$work/baseline/test.out") system
  for system in control BERTTune recipe; do
    systems+=(--system "$system" "$work/$system/$averaged" "$work/$system/test.out")
  done
  bertloss entropy "$work/data" --gen-subset test "${systems[@]}" --output "$work/entropy.json"
}

# curve NAME...: of the checkpoints along the way, not averaged. On the validation set: who picks a checkpoint by this curve
# must not have seen the test set.
curve() {
  local runs=() name
  for name in "$@"; do
    runs+=(--run "$name=$work/$name")
  done
  bertloss curve "$work/data" --gen-subset valid --reference "$work/corpus/valid.en" "${evaluation[@]}" \
    --baseline "$work/baseline/checkpoint_last.pt" "${runs[@]}" --output "$work/curve.json"
}

page() {
  bertloss report --runs "$work" --output "$work/report.html"
}

# fine_tuned NAME TITLE CRITERION...: from the baseline to the translation of the test set.
fine_tuned() {
  local name=$1 title=$2
  shift 2
  step "$name" "$title: $fine_tuning_updates updates" fine_tune "$name" "$@"
  step "average-$name" "Average the last checkpoints: $name" average "$name"
  step "translate-$name" "Translate the test set: $name" translate "$name" test "$averaged"
}

fine_tune_others() {
  step translate-baseline "Translate the test set: baseline" translate baseline test
  fine_tuned control "Train the control, cross-entropy without dropout" "${cross_entropy[@]}" --dropout 0
  fine_tuned BERTTune "Fine-tune as BERTTune does, Gumbel-Softmax" "${bertscore[@]}"
  # What there is time for while the recipe trains; the whole curve finds these translations.
  step curve-others "Translate and score the checkpoints: control, BERTTune" curve control BERTTune
}

fine_tune_recipe() {
  fine_tuned recipe "Fine-tune by the recipe, configs/recipe.flags" "${bertscore[@]}" "${recipe[@]}"
}

score() {
  step compare "Score and compare: 500 sentences of the test set" compare
}

look_inside() {
  step entropy "Measure the entropy of the models' probabilities" entropy
  step curve "Translate and score the checkpoints: all" curve control BERTTune recipe
}

read -r -d '' -a recipe <configs/recipe.flags || true
averaged=checkpoint_averaged.pt

scripts=$(cat scripts/{quickstart,small_model}.sh configs/recipe.flags | cksum)
begin "$baseline_updates+$fine_tuning_updates updates, seed $seed, scripts $scripts"
step fetch "Fetch the strings of Home Assistant" fetch
step extract "Join German and English" extract
step prepare "Tokenize and run fairseq-preprocess" prepare
step baseline "Train the baseline: cross-entropy, $baseline_updates updates" baseline
at_once fine_tune_recipe fine_tune_others
at_once score look_inside
step report "Write the report" page
say "Test set of 500 sentences ($work/table.md)"
cat "$work/table.md"
say "The report with all tables and figures"
realpath "$work/report.html"
