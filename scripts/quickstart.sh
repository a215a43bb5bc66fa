#!/usr/bin/env bash
# The whole method on real text, from the raw strings to the table of results:
#
#     make quickstart
#
# Every step leaves its result in quickstart/ and is not repeated when that is there; an interrupted
# training goes on from its last checkpoint. To start again, remove quickstart/.
# SEED sets another seed than 1; BASELINE_UPDATES and FINE_TUNING_UPDATES make it shorter; QUICKSTART_DIR names another
# folder. scripts/small_model.sh says what is trained.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/small_model.sh
rows=(control BERTTune recipe)

fetch() {
  pip download --no-deps --ignore-requires-python --dest "$work/wheel" homeassistant==2026.2.3
}

extract() {
  bertloss homeassistant "$work"/wheel/homeassistant-2026.2.3-*.whl --source-lang "$source_lang" \
    --target-lang "$target_lang" --destdir "$work/corpus"
}

# The learning rate falls below that of fine-tuning, so that the rate alone cannot improve what follows.
train_baseline() {
  train baseline "$first" "${cross_entropy[@]}" --lr 3e-3 --lr-scheduler polynomial_decay --warmup-updates 200 \
    --total-num-update "$baseline_updates" --end-learning-rate 3e-5 --max-update "$baseline_updates"
}

# fine_tuned ROW TITLE CRITERION...: from the baseline.
fine_tuned() {
  local row=$1 title=$2
  shift 2
  step "$row" "$title: $fine_tuning_updates updates" fine_tune "$row" "$first" "$@" "${schedule[@]}"
}

# translated ROW: the test set, by an average of checkpoints.
translated() {
  step "average-$1" "Average the last checkpoints: $1" average_checkpoints "$1" "$first"
  step "translate-$1" "Translate the test set: $1" translate "$1" "$first" test
}

fine_tune_others() {
  step translate-baseline "Translate the test set: baseline" translate baseline "$first" test
  fine_tuned control "Train the control, cross-entropy without dropout" "${cross_entropy[@]}" "${recipe_dropout[@]}"
  translated control
  fine_tuned BERTTune "Fine-tune as BERTTune does, Gumbel-Softmax" "${bertscore[@]}"
  translated BERTTune
  # There is time for these while the recipe trains; the whole curve finds their translations.
  step curve-others "Translate and score the checkpoints: control, BERTTune" curve control BERTTune
}

fine_tune_recipe() {
  fine_tuned recipe "Fine-tune by the recipe, configs/recipe.flags" "${bertscore[@]}" "${recipe[@]}"
}

write_table() {
  # shellcheck disable=SC2119 # It takes options, and needs none here.
  compare >"$work/table.partial"
  mv "$work/table.partial" "$work/table.md"
}

score() {
  translated recipe
  step compare "Score and compare: 500 sentences of the test set" write_table
  step entropy "Measure the entropy of the models' probabilities" entropy
}

draw_curve() {
  step curve "Translate and score the checkpoints: all" curve "${rows[@]}"
}

scripts=$(cat scripts/{quickstart,small_model,steps,progress}.sh configs/*.flags | cksum)
begin "$baseline_updates+$fine_tuning_updates updates, seed $first, scripts $scripts"
step fetch "Fetch Home Assistant, whose sentences are the text" fetch
step extract "Join German and English" extract
step prepare "Tokenize and run fairseq-preprocess" prepare
step baseline "Train the baseline: cross-entropy, $baseline_updates updates" train_baseline
at_once fine_tune_recipe fine_tune_others
at_once score draw_curve
step report "Write the report" report
say "Test set of 500 sentences; all tables are in $work/table.md"
sed '/^$/q' "$work/table.md"
tail -n 1 "$work/table.md"
say "The report with all tables and figures"
realpath "$work/report.html"
