"""From fairseq-generate's output to the figures that people look at."""
