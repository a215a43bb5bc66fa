"""Subwords in what should be text: they are words to every metric, and no scores show it."""

import logging
import re
from collections.abc import Sequence
from typing import NamedTuple

logger = logging.getLogger(__name__)


class Mark(NamedTuple):
    """What a tool writes at the subwords of a line: its sign, a word that has it, and the least share of such words."""

    sign: str
    word: re.Pattern
    share: float


MARKS = (
    Mark("@@", re.compile(r"\S+@@"), 0.02),
    Mark("##", re.compile(r"##\S+"), 0.02),
    Mark("▁", re.compile(r"▁\S*"), 0.02),
    Mark("</w>", re.compile(r"\S+</w>"), 0.02),
    Mark("￭", re.compile(r"￭\S*|\S+￭"), 0.02),
    Mark("Ġ", re.compile(r"Ġ\S*"), 0.1),  # a letter of Maltese too
)
LEAST = 2
"""Fewer words with a mark may be what the text is about."""


def warn_of_subwords(path: str, lines: Sequence[str]) -> None:
    """Says of plain text that it is full of subwords."""
    words = [word for line in lines for word in line.split()]
    for mark in MARKS:
        found = [word for word in words if mark.word.fullmatch(word)]
        if len(found) >= max(LEAST, mark.share * len(words)):
            logger.warning(
                f"{path}: {len(found):,} of {len(words):,} words have the subword mark {mark.sign} ({found[0]}) and "
                "are scored as they stand: join the subwords to words first, or pass all that fairseq-generate printed"
            )
