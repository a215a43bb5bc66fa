"""Warnings of subwords and of fairseq's unknown symbol in what should be text: every metric takes them for words."""

import logging
import re
from collections.abc import Sequence
from typing import NamedTuple

from fairseq_bertloss.language_model.vocabulary import FAIRSEQS_UNKNOWN

logger = logging.getLogger(__name__)


class Mark(NamedTuple):
    """How a tool marks subwords: its sign, the pattern of a word with it, and the least share of such words."""

    sign: str
    word: re.Pattern
    share: float


MARKS = (
    Mark("@@", re.compile(r"\S+@@"), 0.02),
    Mark("##", re.compile(r"##\S+"), 0.02),
    Mark("▁", re.compile(r"▁\S*"), 0.02),
    Mark("</w>", re.compile(r"\S+</w>"), 0.02),
    Mark("￭", re.compile(r"￭\S*|\S+￭"), 0.02),
    Mark("■", re.compile(r"■\S+|\S+■"), 0.02),  # alone it heads an item of a list
    Mark("Ġ", re.compile(r"\S*Ġ\S*"), 0.1),  # a letter of Maltese too
)
LEAST = 2
"""Fewer words with a mark may be what the text is about."""
SHOWN = 30
"""Characters of a word in a message; where marks stand for spaces it may be a line."""


def warn_of_subwords(path: str, lines: Sequence[str], least: int = LEAST) -> None:
    """Warns of text that is full of subwords, or of fairseq's unknown symbol; the arguments are those of marks_in."""
    for found in marks_in(lines, least).values():
        logger.warning(
            f"{path}: {found} and are scored as they stand: join the subwords to words first, or pass all that "
            "fairseq-generate printed"
        )
    words = [word for line in lines for word in line.split()]
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
    words = [word for line in lines for word in line.split()]
    said = {}
    for mark in MARKS:
        found = [word for word in words if mark.word.fullmatch(word)]
        if len(found) >= max(least, mark.share * len(words)):
            shown = f"{mark.sign} ({found[0][:SHOWN]})"
            said[mark.sign] = f"{len(found):,} of {len(words):,} words have the subword mark {shown}"
    return said
