"""The frozen language model: how it is loaded, what it reads, what it has read before. transformers, no fairseq."""
