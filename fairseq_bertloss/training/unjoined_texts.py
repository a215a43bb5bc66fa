"""A warning where symbols were not joined to words: rewards would judge marks of subwords, or numbers."""

import logging
from collections.abc import Sequence

from fairseq_bertloss.text.subwords import MARKS

logger = logging.getLogger(__name__)

SHOWN = 80
"""Characters of a text in the warning."""


def warn_of_unjoined(texts: Sequence[str], joined_by: str) -> None:
    """Warns if most texts have a subword mark, or nothing but numbers.

    Args:
        texts: of candidates and references.
        joined_by: what made words of symbols.
    """
    for mark in MARKS:
        if marked := _most(texts, [text for text in texts if mark.sign in text]):
            way_out = (
                f"take --post-process {mark.post_process}"
                if mark.post_process
                else "fairseq's --post-process knows no way: take a --bpe that does"
            )
            _warn(marked, texts, f"the subword mark {mark.sign}", joined_by, way_out)
    if numbers := _most(texts, [text for text in texts if text and text.replace(" ", "").isdigit()]):
        _warn(numbers, texts, "nothing but numbers", joined_by, "if they are byte-level pieces, take --bpe gpt2")


def _most(texts: Sequence[str], some: list[str]) -> list[str]:
    """Some of the texts if they are most of them, else none."""
    return some if 2 * len(some) > len(texts) else []


def _warn(found: Sequence[str], texts: Sequence[str], what: str, joined_by: str, way_out: str) -> None:
    logger.warning(
        f"{len(found)} of {len(texts)} texts of candidates and references still have {what}, as in "
        f"{found[0][:SHOWN]!r}, and are judged as they stand. Symbols were joined by {joined_by}: {way_out} (said once)"
    )
