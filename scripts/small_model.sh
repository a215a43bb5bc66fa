# shellcheck shell=bash disable=SC2034,SC2154
# The small model on Home Assistant's sentences, for scripts to source: where things lie, how it is trained.

source scripts/steps.sh
work=${QUICKSTART_DIR:-quickstart}
results=$work
baseline_updates=${BASELINE_UPDATES:-1500}
fine_tuning_updates=${FINE_TUNING_UPDATES:-200}

source_lang=de
target_lang=en
first=${SEED:-1}
seeds=("$first")
folder() { echo "$work/$1"; }
# No checkpoint is chosen by validation.
baseline_checkpoint=checkpoint_last.pt
tuned_checkpoint=checkpoint_averaged.pt

use_minilm
preparation=(--lowercase --merges 4000 --observed-vocabulary)
# 2+2 layers: small enough for two cores, on 4,776 sentence pairs.
read -r -a small_model < <(flags small_model)
training+=("${small_model[@]}" --max-tokens 1024 --num-workers 0
  --no-epoch-checkpoints --save-interval-updates 500 --keep-interval-updates 1)
bertscore+=(--bert-model "$lm" --bert-layer "$layer")
evaluation=(--lm "$lm" --layer "$layer" --lowercase)

# One rate and number of updates for every fine-tuning, of which four checkpoints along the way stay.
schedule=("${finetuning[@]}" --max-update "$fine_tuning_updates" --disable-validation
  --save-interval-updates $(((fine_tuning_updates + 3) / 4)) --keep-interval-updates -1)
