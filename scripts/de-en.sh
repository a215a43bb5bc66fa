#!/usr/bin/env bash
# German to English, from the corpus to the report: CORPUS=2014-01.tgz scripts/de-en.sh, or SMALL=1 scripts/de-en.sh.
# What is finished is not repeated; scripts/experiment.sh names all settings.
exec "$(dirname "$0")/all_steps.sh" de-en "$@"
