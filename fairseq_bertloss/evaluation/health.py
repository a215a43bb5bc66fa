"""Signs of life in a system's output, which a model that has collapsed lacks whatever its scores are."""

from collections.abc import Sequence
from itertools import pairwise


def health(text: Sequence[str]) -> dict[str, float]:
    """How varied lines are, and how much they repeat themselves.

    Returns:
        distinct: distinct lines in percent of all; empty: how many lines are empty; repeated: bigrams of words
        that stood in their line before, in percent of all bigrams.
    """
    bigrams = [list(pairwise(line.split())) for line in text]
    total = sum(map(len, bigrams))
    repeated = total - sum(len(set(line)) for line in bigrams)
    return {
        "distinct": 100 * len(set(text)) / len(text),
        "empty": sum(not line.strip() for line in text),
        "repeated": 100 * repeated / max(1, total),
    }
