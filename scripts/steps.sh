# shellcheck shell=bash disable=SC2034,SC2154
# What scripts have in common, to source: switches, and steps that are not done twice. What is
# finished is recorded in $work/done.

# is_on VARIABLE: set, and not to 0.
is_on() { [ "${!1:-0}" != 0 ]; }

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

# at_once ONE OTHER: two functions at the same time, with a thread each unless OMP_NUM_THREADS is set. They are the ends
# of a pipe through which nothing goes: Ctrl-C reaches both, unlike what `&` starts, and the failure of either counts.
at_once() {
  local -x OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
  { "$1" >&3 | "$2"; } 3>&1
}

# begin SETTINGS: makes $work, and refuses one in which steps were done with other settings.
begin() {
  mkdir -p "$work/done"
  [ -n "$(ls "$work/done")" ] || echo "$1" >"$work/settings"
  if ! diff "$work/settings" - <<<"$1" >&2; then
    echo "${0##*/}: $work holds a run with other settings (<, now >): remove it first" >&2
    exit 2
  fi
}

# mend FOLDER: makes what a killed training left there ready to go on; it left nothing before its first checkpoint.
mend() { ! compgen -G "$1/checkpoint*.pt" >/dev/null || bertloss mend "$1"; }
