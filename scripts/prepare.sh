#!/usr/bin/env bash
# The corpus of a language pair, from its archive to what fairseq-train reads:
#
#     CORPUS=2014-01.tgz scripts/prepare.sh de-en
set -euo pipefail
source "$(dirname "$0")/experiment.sh"

# A language model that cannot be used must not come to light after days of training.
check_language_models() {
  echo "A test." >"$work/test.txt"
  bertloss score --reference "$work/test.txt" "${evaluation[@]}" test="$work/test.txt" >"$work/test.scores" ||
    give_up "LM is $lm, and MOVERSCORE_LM is $moverscore_lm, from $moverscore_lm_from; both can be set to others"
}

extract() {
  local download=()
  if is_on DOWNLOAD; then
    download=(--download)
  fi
  bertloss extract "$CORPUS" --corpus "$corpus_kind" --source-lang "$source_lang" --target-lang "$target_lang" \
    "${splits[@]}" "${download[@]}" --destdir "$work/corpus"
}

step check "$pair: check the language models" check_language_models
# Both commands leave alone what they have done, and refuse another corpus than they did it with.
if [ -n "$CORPUS" ]; then
  say "$pair: extract the parallel text from $CORPUS"
  extract
elif [ ! -d "$work/corpus" ]; then
  give_up "name the WIT3 archive, CORPUS=PATH, or run a small experiment, SMALL=1"
fi
say "$pair: tokenize and run fairseq-preprocess"
prepare ${paper_pairs:+--expected-pairs "$paper_pairs"}
