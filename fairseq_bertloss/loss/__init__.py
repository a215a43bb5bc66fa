"""BERTScore as a loss and as a reward: soft predictions, expected embeddings, matching, minimum risk.

torch and numerics (scipy, POT, entmax) on top of the language model; no fairseq.
"""
