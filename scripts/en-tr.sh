#!/usr/bin/env bash
# English to Turkish, from the corpus to the report: CORPUS=2014-01.tgz scripts/en-tr.sh, or SMALL=1 scripts/en-tr.sh.
# What is finished is not repeated; scripts/experiment.sh names all settings.
exec "$(dirname "$0")/all_steps.sh" en-tr "$@"
