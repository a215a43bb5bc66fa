#!/usr/bin/env bash
# Chinese to English, from the corpus to the report: CORPUS=2014-01.tgz scripts/zh-en.sh, or SMALL=1 scripts/zh-en.sh.
# What is finished is not repeated; scripts/experiment.sh names all settings.
exec "$(dirname "$0")/all_steps.sh" zh-en "$@"
