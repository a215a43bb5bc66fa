"""Evaluation of fairseq-generate's output: the figures that people look at."""
