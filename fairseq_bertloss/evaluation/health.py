"""Figures that show a collapsed model whatever its scores are: how varied its output is, and how repetitive."""

from collections.abc import Sequence
from itertools import pairwise

from fairseq_bertloss.text import unspaced


def health(text: Sequence[str], by_character: bool = False) -> dict[str, float]:
    """How varied lines are, and how much they repeat themselves.

    Args:
        text: the lines.
        by_character: the characters of scripts without spaces are words.

    Returns:
        distinct: distinct lines in percent of all; empty: how many lines are empty; repeated: bigrams of words
        that occurred before in their line, in percent of all bigrams.
    """
    words = unspaced.words if by_character else str.split
    bigrams = [list(pairwise(words(line))) for line in text]
    total = sum(map(len, bigrams))
    repeated = total - sum(len(set(line)) for line in bigrams)
    return {
        "distinct": 100 * len(set(text)) / len(text),
        "empty": sum(not line.strip() for line in text),
        "repeated": 100 * repeated / max(1, total),
    }
