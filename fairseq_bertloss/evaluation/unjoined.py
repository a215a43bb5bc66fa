"""Warnings of subwords and of fairseq's unknown symbol in what should be text: every metric takes them for words."""

import logging
from collections.abc import Sequence

from fairseq_bertloss.language_model.vocabulary import FAIRSEQS_UNKNOWN
from fairseq_bertloss.text.subwords import LEAST, Mark, marked_words

logger = logging.getLogger(__name__)

SHOWN = 30
"""Characters of a word in a message; where marks stand for spaces it may be a line."""


def warn_of_subwords(path: str, lines: Sequence[str], least: int = LEAST) -> None:
    """Warns of text that is full of subwords, or of fairseq's unknown symbol; the arguments are those of marks_in."""
    for found in marks_in(lines, least).values():
        logger.warning(
            f"{path}: {found} and are scored as they stand: join the subwords to words first, or pass all that "
            "fairseq-generate printed"
        )
    words = words_of(lines)
    unknown = [word for word in words if FAIRSEQS_UNKNOWN in word]
    if len(unknown) >= least:
        logger.warning(
            f"{path}: {len(unknown):,} of {len(words):,} words have fairseq's unknown symbol ({unknown[0][:SHOWN]}), "
            "which is scored as it is spelt: pass all that fairseq-generate printed"
        )


def marks_in(lines: Sequence[str], least: int = LEAST) -> dict[str, str]:
    """The signs of the marks that text is full of, and what is to be said of each.

    Args:
        lines: the text.
        least: words with the mark that are needed, whatever their share.
    """
    words = words_of(lines)
    return {mark.sign: found_mark(mark, found, words) for mark, found in marked_words(words, least).items()}


def found_mark(mark: Mark, found: Sequence[str], words: Sequence[str]) -> str:
    """What is to be said of the words, of all words, that have a mark."""
    return f"{len(found):,} of {len(words):,} words have the subword mark {mark.sign} ({found[0][:SHOWN]})"


def words_of(lines: Sequence[str]) -> list[str]:
    """What stands between spaces."""
    return [word for line in lines for word in line.split()]
