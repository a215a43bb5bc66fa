#!/usr/bin/env bash
# The corpus of a language pair, from its archive to what fairseq-train reads:
#
#     CORPUS=2014-01.tgz scripts/prepare.sh de-en
set -euo pipefail
source "$(dirname "$0")/experiment.sh"

corpus=${CORPUS:?name the WIT3 archive: CORPUS=PATH, or SMALL=1 for a small experiment}

# A model that cannot be loaded must not come to light after days of training.
check_moverscore_lm() {
  if ! bertloss vocabulary --lm "$moverscore_lm" --output "$work/moverscore.dict.txt"; then
    echo "prepare.sh: MoverScore's language model comes from $moverscore_lm_from; MOVERSCORE_LM=NAME takes another" >&2
    exit 1
  fi
}

extract() {
  bertloss extract "$corpus" --corpus "$corpus_kind" --source-lang "$source_lang" --target-lang "$target_lang" \
    "${splits[@]}" ${DOWNLOAD:+--download} --destdir "$work/corpus"
}

prepare() {
  local files=(--source "$work/corpus/train.$source_lang" --target "$work/corpus/train.$target_lang") split
  for split in valid test; do
    files+=("--$split-source" "$work/corpus/$split.$source_lang" "--$split-target" "$work/corpus/$split.$target_lang")
  done
  bertloss prepare "${files[@]}" --lm "$lm" --source-lang "$source_lang" --target-lang "$target_lang" \
    "${preparation[@]}" ${paper_pairs:+--expected-pairs "$paper_pairs"} --destdir "$work/data"
}

step check "$pair: check that MoverScore's language model is at hand" check_moverscore_lm
step extract "$pair: extract the parallel text from $corpus" extract
step prepare "$pair: tokenize and run fairseq-preprocess" prepare
