#!/usr/bin/env bash
# What only a GPU can show, in stages, for one that is at hand for a quarter of an hour on a machine without a network.
#
#     benchmarks/gpu.sh pack FOLDER                        where the corpora are: all that has to be carried, one file
#     benchmarks/gpu.sh run FOLDER OUT [--tiny] [STAGE...] where the GPU is: the stages below, or those named
#     benchmarks/gpu.sh limits                             the stages, and their limits in seconds
#
# A stage leaves OUT/STAGE.txt, and others beside it; with that it does not run again. One that fails leaves
# OUT/STAGE.failed.txt and stops no other. A name stands for all stages that begin with it. --tiny is for a CPU: it
# shows that the stages run. README.md beside this file says more.
#
# pack: DATA, CORPUS, LM (a folder) and its LAYER, LIMIT (MiB). run: BASELINE_SECONDS and MEDIUM_SECONDS (of training),
# SEEDS (of medium), WORK (what is unpacked and trained, a folder in FOLDER), PYTHON.
set -euo pipefail
script=$(realpath "$0")
python=${PYTHON:-python3}
baseline_seconds=${BASELINE_SECONDS:-165}
medium_seconds=${MEDIUM_SECONDS:-240}

# What is needed most comes first; the others run where they are named.
stages=(tests-left loss-float32 loss-bfloat16 updates updates-profile experiment loss-memory)
others=(baseline tests-passed medium)
declare -A limits=([tests-left]=100 [loss-float32]=45 [loss-bfloat16]=40 [updates]=95 [updates-profile]=40
  [experiment]=155 [loss-memory]=50 [tests-passed]=100
  [baseline]=$((baseline_seconds + 30)) [medium]=$((medium_seconds + 60)))
declare -A status=()
patience=1

# The trained model that a stage goes on from is made when the first of them needs it.
needs_baseline() { [[ $1 == updates* || $1 == experiment ]]; }

usage() {
  sed -n '/^#     /s/^# *//p' "$script" >&2
  exit 2
}

pack() {
  if [ -z "${LM:-}" ]; then
    # shellcheck source=scripts/steps.sh
    source scripts/steps.sh
    use_minilm
    LM=$lm LAYER=$layer
  fi
  "$python" benchmarks/gpu_pack.py "$1" --data "${DATA:-../shared/data}" --corpus "${CORPUS:-mixed}" --lm "$LM" \
    --layer "${LAYER:?is the scoring layer of the language model LM}" --limit "${LIMIT:-40}"
}

# do_stage STAGE: what it does. What it prints is its result.
do_stage() {
  local tests=("$python" -m pytest -p no:cacheprovider -v -rfE --durations=0)
  local loss=("$python" benchmarks/loss.py --lm random:768x12 --tokens 4096 --device cuda)
  local rows=(--kinds softmax sparsemax gumbel_softmax --rounds 5 --warm-up 2)
  local profile=(--max-tokens 4096 --batches 1 --rounds 1)
  if [ -n "$tiny" ]; then
    loss=("$python" benchmarks/loss.py --lm random:64x1 --tokens 32 --longest 8 --vocabulary 100 --features-dim 16)
    rows=(--kinds sparsemax --rounds 1 --warm-up 1 --no-memory)
    profile=(--max-tokens 128 --batches 1 --rounds 1)
  else
    tests+=(-n 12 --dist worksteal)
  fi
  local experiment=("$python" benchmarks/gpu_experiment.py "$1" "$work" "$out" ${tiny:+"$tiny"})
  case $1 in
    tests-left)  # not known to have passed on a GPU
      "${tests[@]}" tests/test_gpu.py "tests/test_end_to_end.py::test_bfloat16[False]" \
        "tests/test_distributed.py::test_one_wrapped_worker[nccl]" -k "not test_precision or amp or lm-dtype" ;;
    tests-passed) "${tests[@]}" tests/test_gpu.py -k "not amp and not lm-dtype" ;;
    loss-float32) "${loss[@]}" "${rows[@]}" ;;
    loss-bfloat16) "${loss[@]}" "${rows[@]}" --dtype bfloat16 ;;
    loss-memory)
      if [ -n "$tiny" ]; then
        echo "needs a GPU"
      else
        "${loss[@]}" --kinds sparsemax softmax --fit-memory 16
      fi ;;
    updates) "${experiment[@]}" ;;
    updates-profile)
      local recipe
      mapfile -t recipe < <(tr ' ' '\n' <configs/recipe.flags)
      "$python" benchmarks/risk.py "$work/data" --checkpoint "$work/baseline/checkpoint_last.pt" --lm "$work/lm" \
        --layer "$(layers)" "${profile[@]}" --profile "${recipe[@]}" ;;
    baseline) "${experiment[@]}" --seconds "$baseline_seconds" ;;
    experiment) "${experiment[@]}" --seconds 60 ;;
    medium)
      local seeds
      read -ra seeds <<<"${SEEDS:-1 2 3}"
      "${experiment[@]}" --seconds "$medium_seconds" --seeds "${seeds[@]}" ;;
  esac
}

# layers: of the packed language model, whose last one scores.
layers() {
  "$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["num_hidden_layers"])' "$work/lm/config.json"
}

# run_stage STAGE: within its limit, unless its result is there or it has failed in this call.
run_stage() {
  local result=$out/$1.txt log=$work/$1.log start=$SECONDS
  [ -z "${status[$1]:-}" ] || return 0
  if needs_baseline "$1" && [ ! -e "$result" ] && [ ! -e "$work/baseline/checkpoint_last.pt" ]; then
    rm -f "$out/baseline.txt"
    run_stage baseline
  fi
  if [ -e "$result" ]; then
    status[$1]="done before"
  else
    start=$SECONDS
    status[$1]=passed
    timeout -k 10 $((limits[$1] * patience)) "$script" stage "$1" </dev/null >"$result.partial" 2>"$log" ||
      status[$1]="failed ($?)"
    rm -f "$out/$1.failed.txt"
    if [ "${status[$1]}" = passed ]; then
      mv "$result.partial" "$result"
    else
      { cat "$result.partial"; tail -n 40 "$log"; } >"$out/$1.failed.txt"
      rm "$result.partial"
    fi
  fi
  printf '%-16s %4d s  %s\n' "$1" $((SECONDS - start)) "${status[$1]}" | tee -a "$out/summary.txt"
}

# run [--tiny] [STAGE...]
run() {
  local names=() name stage
  for name in "$@"; do
    case $name in
      --tiny) tiny=--tiny ;;
      *)
        local found=""
        for stage in "${stages[@]}" "${others[@]}"; do
          [[ $stage != "$name" && $stage != "$name"-* ]] || { names+=("$stage"); found=1; }
        done
        [ -n "$found" ] || { echo "gpu.sh: there is no stage $name: gpu.sh limits names them" >&2; exit 2; } ;;
    esac
  done
  [ ${#names[@]} -gt 0 ] || names=("${stages[@]}")
  if [ -n "$tiny" ]; then
    patience=5  # a CPU is no GPU
    export OMP_NUM_THREADS=1
  fi
  if [ ! -e "$folder/pack.tar.xz" ]; then
    echo "gpu.sh: there is no $folder/pack.tar.xz: gpu.sh pack makes it" >&2
    exit 2
  fi
  mkdir -p "$out" "$work"
  if [ ! -e "$work/unpacked" ]; then
    tar -xf "$folder/pack.tar.xz" -C "$work"
    touch "$work/unpacked"
  fi
  export folder out work tiny
  for stage in "${names[@]}"; do
    run_stage "$stage"
  done
  echo "$SECONDS s in all" | tee -a "$out/summary.txt"
  [[ ${status[*]} != *failed* ]]
}

case ${1:-} in
  limits)
    for stage in "${stages[@]}" "${others[@]}"; do
      echo "$stage ${limits[$stage]}"
    done ;;
  stage)
    do_stage "$2" ;;
  pack)
    [ $# -eq 2 ] || usage
    folder=$(realpath -m "$2")
    cd "$(dirname "$script")/.."
    export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
    pack "$folder" ;;
  run)
    [ $# -ge 3 ] || usage
    folder=$(realpath -m "$2") out=$(realpath -m "$3") tiny=""
    work=$(realpath -m "${WORK:-$folder/work}")
    cd "$(dirname "$script")/.."
    export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
    shift 3
    run "$@" ;;
  *) usage ;;
esac
