#!/usr/bin/env bash
# Whole updates of fairseq-train from the quickstart's baseline: bertscore_loss with each soft prediction against
# label_smoothed_cross_entropy, the same model, batches and seed, one after the other in every round.
#
#     make quickstart && PATH="$PWD/.venv/bin:$PATH" benchmarks/updates.sh
#
# ROUNDS, UPDATES (of each training), MAX_TOKENS and ROWS change what is run (the row `risk` is --objective risk with
# five candidates); QUICKSTART_DIR says where the baseline and its data lie, OUTPUT where the logs go. WORKERS=2 trains
# with so many, started by torchrun; on CPUs add --cpu --distributed-backend gloo --ddp-backend legacy_ddp. Further
# arguments go to fairseq-train (--fp16, --update-freq 2, ...).
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/small_model.sh

rounds=${ROUNDS:-3}
updates=${UPDATES:-12}
read -ra rows <<<"${ROWS:-cross-entropy softmax sparsemax entmax15 gumbel_softmax}"
output=${OUTPUT:-$work/updates}
train=(fairseq-train)
if [ "${WORKERS:-1}" -gt 1 ]; then
  # Left to itself, fairseq asks torchrun's environment for a GPU.
  # shellcheck disable=SC2016
  train=(torchrun --standalone --nproc-per-node "$WORKERS" --no-python
    bash -c 'exec fairseq-train "$@" --distributed-rank "$RANK"' worker)
  set -- --distributed-world-size "$WORKERS" --distributed-no-spawn --distributed-init-method env:// "$@"
fi
mkdir -p "$output"

# update ROW ROUND ARGUMENTS...: a short training, whose log is all that stays.
update() {
  local row=$1 round=$2 log=$output/$1-$2.log criterion=("${cross_entropy[@]}")
  shift 2
  if [ "$row" = risk ]; then
    criterion=("${bertscore[@]}" --objective risk --candidates 5 --sampled-candidates 0 --cross-entropy-weight 0.2
      --label-smoothing 0.1)
  elif [ "$row" != cross-entropy ]; then
    criterion=("${bertscore[@]}" --objective soft --soft-prediction "$row")
  fi
  if ! "${train[@]}" "$work/data" --user-dir fairseq_bertloss --save-dir "$output" --seed "$first" \
    --distributed-world-size 1 "${training[@]}" "${criterion[@]}" \
    --finetune-from-model "$(checkpoint baseline "$first")" "${finetuning[@]}" --max-update "$updates" \
    --max-tokens "${MAX_TOKENS:-1024}" --no-save --disable-validation \
    --log-format json --log-interval 1 "$@" >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    echo "the training failed, its log is $log" >&2
    exit 1
  fi
  echo "$row, round $round of $rounds" >&2
}

logs=()
for row in "${rows[@]}"; do
  for ((round = 1; round <= rounds; round++)); do
    logs+=("$output/$row-$round.log")
  done
done
for ((round = 1; round <= rounds; round++)); do
  for row in "${rows[@]}"; do
    update "$row" "$round" "$@"
  done
done
python benchmarks/updates.py "${logs[@]}"
