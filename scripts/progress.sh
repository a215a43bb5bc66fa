# shellcheck shell=bash disable=SC2154
# How scripts go on: switches, messages, and steps that are not done twice. $work/done records what has finished.

# is_on VARIABLE: set, and not to 0.
is_on() { [ "${!1:-0}" != 0 ]; }

# give_up MESSAGE...
give_up() {
  echo "${0##*/}: $*" >&2
  exit 2
}

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

# at_once ONE OTHER: runs two functions at the same time, with one thread each unless OMP_NUM_THREADS is set. They are
# the two ends of a pipe that carries nothing. Unlike jobs started by `&`, both get Ctrl-C, and the failure of either
# counts.
at_once() {
  local -x OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
  { "$1" >&3 | "$2"; } 3>&1
}

# begin SETTINGS: makes $work, and refuses a folder whose steps were done with other settings.
begin() {
  mkdir -p "$work/done"
  [ -n "$(ls "$work/done")" ] || echo "$1" >"$work/settings"
  diff "$work/settings" - <<<"$1" >&2 || give_up "$work holds a run with other settings (<, now >): remove it first"
}
