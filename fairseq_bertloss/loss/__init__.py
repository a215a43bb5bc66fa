"""BERTScore as a loss: soft predictions, expected embeddings, matching.

torch and numerics (scipy, POT, entmax) on top of the language model; no fairseq.
"""
