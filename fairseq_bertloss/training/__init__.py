"""The criterion: fairseq's doors, the objectives `soft` and `risk`, what is logged and validated."""
