"""BERTScore as the training objective of fairseq translation models."""
