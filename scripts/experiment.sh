# shellcheck shell=bash disable=SC2034
# The experiment of one language pair, for the scripts of its steps to source: what configs/ says about the pair, where
# results go, and what the environment may change:
#
#     CORPUS=PATH         the WIT3 archive (2014-01.tgz, de-en.tgz, or the folder of either); with
#                         CORPUS_KIND=plain a folder of train.de, train.en, ... (.gz or not)
#     SPLITS="..."        options of `bertloss extract` for another corpus, such as "--valid valid --test test"
#     DOWNLOAD=1          fetches de-en's archive to CORPUS from fairseq's mirror
#     SMALL=1             a slice of plain text and a small model (configs/small.conf); it looks for the text in
#                         DATA (../shared/data) and for a model of Turkish and Spanish in MODELS (../shared/models)
#     SEEDS="1 2 3"       seeds of training; with SMALL=1 the first alone, unless they are given
#     ROWS="..."          fine-tunings: of the paper's experiment control softmax sparsemax gumbel_softmax (and
#                         entmax15), and the recipe with its control, no-dropout-control recipe; all but entmax15 by
#                         default, with SMALL=1 gumbel_softmax no-dropout-control recipe
#     LM=NAME LAYER=N     another scoring model than configs/ has, and its layer (bert-score's for a known name)
#     MOVERSCORE_LM=NAME  another model for MoverScore
#     TRAINING="..."      more options of fairseq-train; "--max-tokens 2048 --update-freq 2" for a smaller GPU
#     RUNS=runs           the folder that everything is left in
#
# Relative paths in the environment start from the caller's folder.

usage="usage: ${0##*/} PAIR, one of de-en, zh-en, en-tr, en-es; scripts/experiment.sh says what the environment sets"

# absolute PATH: the path as seen from the caller's folder; an empty one stays empty.
absolute() { case $1 in /* | '') echo "$1" ;; *) echo "$PWD/$1" ;; esac; }

# model NAME: the absolute path of a folder; another name as it is.
model() { if [ -d "$1" ]; then (cd "$1" && pwd); else echo "$1"; fi; }

pair=${1:-}
CORPUS=$(absolute "${CORPUS:-}")
DATA=$(absolute "${DATA:-}")
MODELS=$(absolute "${MODELS:-}")
RUNS=$(absolute "${RUNS:-}")
LM=$(model "${LM:-}")
MOVERSCORE_LM=$(model "${MOVERSCORE_LM:-}")
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
source scripts/steps.sh
[ $# = 1 ] && [ -e "configs/target-${pair#*-}.conf" ] && [ -e "configs/$pair.conf" ] || give_up "$usage"

read -r -a preparation < <(flags preparation)
read -r -a pairs < <(flags pairs)
read -r -a baseline < <(flags baseline)
read -r -a paper < <(flags paper)
training+=("${pairs[@]}")
corpus_kind=${CORPUS_KIND:-wit3}
# Every epoch of the first seed's fine-tunings is kept, for the figure.
checkpoints=()

facts=(configs/*.flags configs/all.conf "configs/$pair.conf" "configs/target-${pair#*-}.conf")
# shellcheck source=../configs/all.conf
source configs/all.conf
# shellcheck source=../configs/de-en.conf
source "configs/$pair.conf"
# shellcheck source=../configs/target-en.conf
source "configs/target-$target_lang.conf"
[ -z "${SPLITS:-}" ] || read -r -a splits <<<"$SPLITS"
small=
if is_on SMALL; then
  small=-small
  facts+=(configs/small.conf)
  # shellcheck source=../configs/small.conf
  source configs/small.conf
fi
if [ -n "$LM" ]; then
  lm=$LM
  layer=
fi
layer=${LAYER:-$layer}
moverscore_lm=${MOVERSCORE_LM:-$moverscore_lm}
evaluation=(--lm "$lm" ${layer:+--layer "$layer"} "${scoring[@]}"
  --moverscore-lm "$moverscore_lm" --moverscore-version "$moverscore_version")
training+=(--eval-bleu-detok-args "{\"word_pieces_lm\": \"$lm\"}")
read -r -a more_training <<<"${TRAINING:-}"
bertscore+=(--bert-model "$lm" ${layer:+--bert-layer "$layer"})

read -r -a seeds <<<"${SEEDS:-1 2 3}"
first=$(printf '%s\n' "${seeds[@]}" | sort -n | head -n 1)
read -r -a rows <<<"${ROWS:-control softmax sparsemax gumbel_softmax no-dropout-control recipe}"
for row in "${rows[@]}"; do
  case $row in
    control | softmax | sparsemax | entmax15 | gumbel_softmax | no-dropout-control | recipe) ;;
    *) give_up "ROWS has $row, which is none of control, softmax, sparsemax, entmax15, gumbel_softmax," \
      "no-dropout-control, recipe" ;;
  esac
done

work=${RUNS:-runs}/$pair$small
# A folder of evaluations for each choice of systems, so that a report shows what was asked for.
chosen="${rows[*]} ${seeds[*]}"
chosen=${chosen// /+}
results=$work/results/$chosen
folder() { echo "$work/$1/$2"; }
# What translates is each training's best checkpoint in validation.
baseline_checkpoint=checkpoint_best.pt
tuned_checkpoint=checkpoint_best.pt
log=train.log
case $work in *,*) give_up "$work has a comma, which 'bertloss compare' puts between files: choose another RUNS" ;; esac
begin "$(printf '%s\n' "${evaluation[*]}" "${splits[*]}" "$(cksum "${facts[@]}")")"
