# shellcheck shell=bash disable=SC2034
# The experiment of one language pair, for the scripts of its steps to source: its facts (configs/), where
# things lie, and what the environment may change:
#
#     CORPUS=PATH         the WIT3 archive (2014-01.tgz, de-en.tgz, or the folder of either); with
#                         CORPUS_KIND=plain a folder of train.de, train.en, ... (.gz or not)
#     SPLITS="..."        options of `bertloss extract` for another corpus, such as "--valid valid --test test"
#     DOWNLOAD=1          fetch de-en's archive to CORPUS from fairseq's mirror
#     SMALL=1             a slice of plain text and a small model (configs/small.conf)
#     SEEDS="1 2 3"       seeds of training
#     ROWS="..."          fine-tunings: control softmax sparsemax gumbel_softmax
#     LM=, MOVERSCORE_LM= other language models than configs/ has, local folders for instance
#     TRAINING="..."      more options of fairseq-train; "--max-tokens 2048 --update-freq 2" for a smaller GPU
#     RUNS=runs           the folder that everything is left in

usage="usage: ${0##*/} PAIR, one of de-en, zh-en, en-tr, en-es; scripts/experiment.sh says what the environment sets"
pair=${1:?$usage}
# from_here PATH: paths in the environment are of the folder that the command was called in.
from_here() { case $1 in /* | '') echo "$1" ;; *) echo "$PWD/$1" ;; esac }
CORPUS=$(from_here "${CORPUS:-}")
RUNS=$(from_here "${RUNS:-}")
DATA=$(from_here "${DATA:-}")
MODELS=$(from_here "${MODELS:-}")
[ ! -d "${LM:-}" ] || LM=$(from_here "$LM")
[ ! -d "${MOVERSCORE_LM:-}" ] || MOVERSCORE_LM=$(from_here "$MOVERSCORE_LM")
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
if [ ! -e "configs/$pair.conf" ]; then
  echo "$usage" >&2
  exit 2
fi

# Each an array of options; read fails at a file's end.
read -r -d '' -a preparation <configs/preparation.flags || true
read -r -d '' -a training <configs/training.flags || true
read -r -d '' -a cross_entropy <configs/cross_entropy.flags || true
read -r -d '' -a bertscore <configs/bertscore.flags || true
read -r -d '' -a baseline <configs/baseline.flags || true
read -r -d '' -a finetuning <configs/finetuning.flags || true
read -r -d '' -a generation <configs/generation.flags || true
corpus_kind=${CORPUS_KIND:-wit3}
# Uncased language models, whose words BLEU counts as multi-bleu.perl does on fairseq's own output.
scoring=(--lowercase --tokenized)
# Every epoch of a first seed's fine-tuning is kept, for the figure.
checkpoints=()

# shellcheck source=../configs/de-en.conf
source "configs/$pair.conf"
# shellcheck source=../configs/target-en.conf
source "configs/target-$target_lang.conf"
if [ -n "${SMALL:-}" ]; then
  # shellcheck source=../configs/small.conf
  source configs/small.conf
fi
[ -z "${SPLITS:-}" ] || read -r -a splits <<<"$SPLITS"
lm=${LM:-$lm}
moverscore_lm=${MOVERSCORE_LM:-$moverscore_lm}
read -r -a seeds <<<"${SEEDS:-1 2 3}"
read -r -a rows <<<"${ROWS:-control softmax sparsemax gumbel_softmax}"
metrics=(--lm "$lm" --layer "$layer" --moverscore-lm "$moverscore_lm" --moverscore-version "$moverscore_version" "${scoring[@]}")

work=${RUNS:-runs}/$pair${SMALL:+-small}
reference=$work/corpus/test.$target_lang

# shellcheck source=steps.sh
source scripts/steps.sh
facts=(configs/*.flags "configs/$pair.conf" "configs/target-$target_lang.conf" ${SMALL:+configs/small.conf})
begin "$(printf '%s\n' "${metrics[*]}" "${splits[*]}" "fairseq-train ${TRAINING:-}" "$(cksum "${facts[@]}")")"

# train ROW SEED OPTIONS...: goes on from its last checkpoint where there is one.
train() {
  local folder=$work/$1/$2 seed=$2 more
  shift 2
  read -r -a more <<<"${TRAINING:-}"
  mkdir -p "$folder"
  fairseq-train "$work/data" --user-dir fairseq_bertloss --save-dir "$folder" --log-file "$folder/train.log" \
    --seed "$seed" --distributed-world-size 1 --log-format simple --log-interval 50 \
    --eval-bleu-detok-args "{\"word_pieces_lm\": \"$lm\"}" "${training[@]}" "$@" "${more[@]}"
}
