#!/usr/bin/env bash
# English to Spanish, from the corpus to the report: CORPUS=2014-01.tgz scripts/en-es.sh, or SMALL=1 scripts/en-es.sh.
# What is finished is not repeated; scripts/experiment.sh names all settings.
exec "$(dirname "$0")/all_steps.sh" en-es "$@"
