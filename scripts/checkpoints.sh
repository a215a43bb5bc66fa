# shellcheck shell=bash
# A training goes on from checkpoint_last.pt, which fairseq copies from its newest checkpoint: whoever kills it in the
# middle of that leaves half of a file, and no training starts from it. For scripts to source.

# mend_checkpoint FOLDER: checkpoint_last.pt anew, if it is broken.
mend_checkpoint() {
  local last=$1/checkpoint_last.pt newest
  if [ ! -e "$last" ] || python -m zipfile -t "$last" >/dev/null 2>&1; then
    return
  fi
  newest=$(find "$1" -name 'checkpoint*[0-9].pt' -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2-)
  if [ -n "$newest" ]; then
    echo "$last is broken: its training was killed while it was written; going on from $newest" >&2
    cp "$newest" "$last.mended"
    mv "$last.mended" "$last"
  fi
}
