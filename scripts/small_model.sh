# shellcheck shell=bash disable=SC2034,SC2154
# The small model on Home Assistant's strings, for scripts to source: where things lie, how it is trained.

work=${QUICKSTART_DIR:-quickstart}
seed=${SEED:-1}
baseline_updates=${BASELINE_UPDATES:-1500}
fine_tuning_updates=${FINE_TUNING_UPDATES:-300}
fine_tuning_lr=1e-4
source scripts/steps.sh
source scripts/minilm.sh
lm=$minilm
layer=$minilm_layer

# 2+2 layers: small enough for two cores, on 5,569 sentence pairs.
model=(--arch transformer_iwslt_de_en --encoder-layers 2 --decoder-layers 2
  --encoder-embed-dim 128 --decoder-embed-dim 128 --encoder-ffn-embed-dim 512 --decoder-ffn-embed-dim 512
  --share-decoder-input-output-embed --dropout 0.3)
# fairseq drops the last batch unless --required-batch-size-multiple is 1.
# One worker, also where there are more GPUs: another batch size would be another experiment.
training=(--user-dir fairseq_bertloss --max-tokens 1024 --required-batch-size-multiple 1 --distributed-world-size 1
  --optimizer adam --adam-betas '(0.9, 0.98)' --weight-decay 0.0001 --seed "$seed"
  --no-epoch-checkpoints --save-interval-updates 500 --keep-interval-updates 1
  --num-workers 0 --log-format simple --log-interval 50)
cross_entropy=(--criterion label_smoothed_cross_entropy --label-smoothing 0.1)
bertscore=(--criterion bertscore_loss --bert-model "$lm" --bert-layer "$layer")
evaluation=(--lm "$lm" --layer "$layer" --lowercase)

# train NAME ARGUMENTS...
train() {
  local name=$1
  shift
  mend "$work/$name"
  fairseq-train "$work/data" --save-dir "$work/$name" "${model[@]}" "${training[@]}" "$@"
}

# fine_tune NAME CRITERION...: from the baseline, with one rate and number of updates. Its checkpoints along the way stay,
# four of them, and none is chosen by validation.
fine_tune() {
  train "$@" --finetune-from-model "$work/baseline/checkpoint_last.pt" \
    --lr "$fine_tuning_lr" --lr-scheduler fixed --max-update "$fine_tuning_updates" --disable-validation \
    --save-interval-updates $(((fine_tuning_updates + 3) / 4)) --keep-interval-updates -1
}

# translate NAME SUBSET [CHECKPOINT]
translate() {
  fairseq-generate "$work/data" --user-dir fairseq_bertloss --path "$work/$1/${3:-checkpoint_last.pt}" --gen-subset "$2" \
    --beam 5 --max-tokens 4096 --required-batch-size-multiple 1 \
    --tokenizer word_pieces --word-pieces-lm "$lm" >"$work/$1/$2.partial"
  mv "$work/$1/$2.partial" "$work/$1/$2.out"
}
