"""What changed from the baseline to a system: each sentence's scores, and the words that differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import NamedTuple

import numpy as np
import regex

from fairseq_bertloss.evaluation.results import Comparison, System
from fairseq_bertloss.text import unspaced

NO_CHANGE = 1e-3
"""Percentage points that say nothing; in results of earlier versions F_BERT of the same text moved by less."""

BUCKETS = 4
"""Groups of about equal size into which the references' lengths are divided."""

PUNCTUATION = r"!-/:-@\[-`{-~"
WORD = regex.compile(rf"(\s*)({unspaced.CHARACTER}|[{PUNCTUATION}]|(?:(?!{unspaced.CHARACTER})[^\s{PUNCTUATION}])+)")
"""The space before, and a character of a script without spaces, a punctuation mark, or a word of anything else."""


@dataclass(frozen=True, eq=False)
class Changes:
    """What a system's first run changed in the sentences of the baseline's first.

    Attributes:
        system: its name.
        bleu: difference in sentence BLEU, (sentences,), percentage points.
        f_bert: difference in F_BERT, (sentences,), percentage points.
    """

    system: str
    bleu: np.ndarray
    f_bert: np.ndarray

    @property
    def unchanged(self) -> np.ndarray:
        """Which sentences moved in neither metric, (sentences,), bool."""
        return (np.abs(self.bleu) < NO_CHANGE) & (np.abs(self.f_bert) < NO_CHANGE)

    def quadrant(self, bleu: int, f_bert: int) -> np.ndarray:
        """Which sentences moved this way in both metrics, (sentences,), bool; 1 is up, -1 down."""
        return (bleu * self.bleu >= NO_CHANGE) & (f_bert * self.f_bert >= NO_CHANGE)

    def largest(self, count: int, sign: int) -> list[int]:
        """The sentences with the largest gains (sign 1) or losses (sign -1) in F_BERT, the largest first."""
        order = np.argsort(-sign * self.f_bert, kind="stable")[:count]
        return [int(i) for i in order if sign * self.f_bert[i] >= NO_CHANGE]


def all_changes(comparison: Comparison) -> list[Changes]:
    """The changes of every system but the baseline."""
    return [changes(comparison, system) for system in comparison.systems if system.name != comparison.baseline]


def changes(comparison: Comparison, system: System) -> Changes:
    """The changes from the baseline's first run to a system's."""
    before = comparison.system(comparison.baseline).runs[0].sentences
    after = system.runs[0].sentences
    return Changes(
        system.name,
        bleu=np.subtract(after["bleu"], before["bleu"]),
        f_bert=np.subtract(after["f_bert"], before["f_bert"]),
    )


def length_buckets(references: Sequence[str], by_character: bool = False) -> list[tuple[str, np.ndarray]]:
    """Groups the sentences by the quartiles of their references' length.

    Args:
        references: one a sentence.
        by_character: the length is in characters, as in languages without spaces, and not in words.

    Returns:
        (name, which sentences, (sentences,) bool) of each group that has any.
    """
    unit, words = ("character", unspaced.words) if by_character else ("word", str.split)
    lengths = np.array([len(words(reference)) for reference in references])
    # inverted_cdf: the quartiles are lengths that occur, so that a group is a range of whole numbers.
    quartiles = np.quantile(lengths, np.arange(1, BUCKETS + 1) / BUCKETS, method="inverted_cdf").astype(int)
    buckets = []
    above = -1
    for end in dict.fromkeys(quartiles.tolist()):
        members = (lengths > above) & (lengths <= end)
        start = int(lengths[members].min())
        up_to = f"1 {unit}" if end == 1 else f"{end} {unit}s"
        buckets.append((up_to if start == end else f"{start}–{up_to}", members))
        above = end
    return buckets


class Piece(NamedTuple):
    """A part of a translation, and whether its words are missing from the other translation."""

    text: str
    differs: bool


def differences(before: str, after: str) -> tuple[list[Piece], list[Piece]]:
    """The words in which two translations differ.

    Returns:
        The pieces of `before` and those of `after`; joined they give the texts back, but for spaces at the end.
    """
    words_before = WORD.findall(before)
    words_after = WORD.findall(after)
    matcher = SequenceMatcher(
        None, [word for _, word in words_before], [word for _, word in words_after], autojunk=False
    )
    pieces_before, pieces_after = [], []
    for kind, start_before, end_before, start_after, end_after in matcher.get_opcodes():
        differs = kind != "equal"
        pieces_before += _pieces(words_before[start_before:end_before], differs)
        pieces_after += _pieces(words_after[start_after:end_after], differs)
    return pieces_before, pieces_after


def _pieces(words: Sequence[tuple[str, str]], differs: bool) -> list[Piece]:
    """Words that follow each other as one piece; the space before them is a piece of its own, which never differs."""
    if not words:
        return []
    first_space, _ = words[0]
    text = "".join(space + word for space, word in words)
    return [Piece(first_space, False), Piece(text.removeprefix(first_space), differs)]
