"""BERTScore as a loss: soft predictions, expected embeddings, matching. torch alone, on top of the language model."""
