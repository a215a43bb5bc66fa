"""Soft predictions x the language model's embedding table -> expected embeddings."""

from torch import Tensor


def expected_embeddings(probabilities: Tensor, table: Tensor) -> Tensor:
    """The expectation of a symbol's embedding under each soft prediction.

    Args:
        probabilities: (..., vocabulary), rows on the simplex; gradients flow.
        table: (vocabulary, size), one row a symbol.

    Returns:
        (..., size) in the table's precision.
    """
    return probabilities.to(table.dtype) @ table
