"""The frozen language model: how it is loaded, which symbols it reads, what it has read before. transformers, no fairseq."""
