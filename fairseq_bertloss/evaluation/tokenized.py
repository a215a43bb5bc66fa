"""A warning where translations are tokenized, as Moses leaves them, and references are not, or the other way round."""

import logging
import re
from collections.abc import Sequence
from typing import NamedTuple

from fairseq_bertloss.evaluation.hypotheses import Translations
from fairseq_bertloss.evaluation.pieces import are_pieces
from fairseq_bertloss.evaluation.references import ReferenceFile
from fairseq_bertloss.evaluation.unjoined import words_of

logger = logging.getLogger(__name__)

ESCAPES = re.compile(r"&(apos|quot|amp|lt|gt|bar|#91|#93|#124);|@-@")
"""What Moses' tokenizer writes for characters that mean something to Moses, and for hyphens."""

ENOUGH = 10
"""Fewer commas and full stops tell nothing."""
MOST_DIFFERENCE = 0.5
"""Between the shares of commas and full stops that stand apart: few languages have spaces before them, so that this is
also the most that a text by itself has."""


class Spacing(NamedTuple):
    """What tells tokenized text: how many commas and full stops end words or stand apart, and what Moses escaped."""

    marks: int
    apart: int
    escapes: int

    @property
    def share(self) -> float:
        """Of commas and full stops that stand apart."""
        return self.apart / self.marks

    def __str__(self) -> str:
        return f"{self.apart:,} of {self.marks:,} commas and full stops stand apart, {self.escapes:,} escapes"


def warn_of_tokenized(systems: Sequence[Translations], references: Sequence[ReferenceFile], tokenizer) -> None:
    """Warns once of translations that are tokenized where the references are not, or the other way round.

    Args:
        systems: translations of the references' test set.
        references: the files of the references.
        tokenizer: the language model's; how it joins its own pieces is no system's doing.
    """
    texts = [
        system
        for system in systems
        if system.generated is None or not are_pieces(system.generated.hypotheses, tokenizer)
    ]
    spacings = {file.path: spacing(file.text) for file in references}
    for system in texts:
        found = spacing(system.text)
        for path, expected in spacings.items():
            if is_more_tokenized(found, expected):
                kinds = "tokenized, and the references are not"
                advice = "generate with the --tokenizer that undoes it (moses), or pass text"
            elif is_more_tokenized(expected, found):
                kinds = "not tokenized, and the references are"
                advice = "pass references as people write them"
            else:
                continue
            logger.warning(f"{system.path} is {kinds} ({found}; {path}: {expected}): {advice}")
            return


def spacing(text: Sequence[str]) -> Spacing:
    """How commas and full stops stand in a text."""
    words = words_of(text)
    marks = [word for word in words if word.endswith((",", "."))]
    escapes = sum(ESCAPES.search(word) is not None for word in words)
    return Spacing(len(marks), sum(len(mark) == 1 for mark in marks), escapes)


def is_tokenized(found: Spacing) -> bool:
    """Whether a text that has nothing beside it is tokenized."""
    return (found.marks >= ENOUGH and found.share > MOST_DIFFERENCE) or found.escapes > 1


def is_more_tokenized(one: Spacing, other: Spacing) -> bool:
    """Whether of two versions of a text one alone is tokenized."""
    if min(one.marks, other.marks) >= ENOUGH and one.share - other.share > MOST_DIFFERENCE:
        return True
    return one.escapes > 1 and other.escapes == 0
