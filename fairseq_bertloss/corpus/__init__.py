"""Raw corpora -> the files that fairseq-preprocess reads."""
