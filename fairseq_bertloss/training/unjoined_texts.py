"""A warning where symbols were not joined to words: rewards would judge marks of subwords, or numbers."""

import logging
from collections.abc import Sequence

from fairseq_bertloss.language_model.spaces import CONTINUES_WORD
from fairseq_bertloss.text.subwords import MARKS, Mark

logger = logging.getLogger(__name__)

SHOWN = 80
"""Characters of a text in the warning."""


def warn_of_unjoined(texts: Sequence[str], joined_by: str, whose: str = "candidates and references") -> None:
    """Warns if most texts have a subword mark, or nothing but numbers.

    Args:
        texts: to be judged, or to judge by.
        joined_by: what made words of symbols.
        whose: texts these are.
    """
    for mark in MARKS:
        if marked := _most(texts, [text for text in texts if mark.sign in text]):
            _warn(marked, texts, whose, f"the subword mark {mark.sign}", joined_by, _way_out(mark))
    if numbers := _most(texts, [text for text in texts if text and text.replace(" ", "").isdigit()]):
        _warn(numbers, texts, whose, "nothing but numbers", joined_by, "if they are byte-level pieces, take --bpe gpt2")


def _way_out(mark: Mark) -> str:
    if mark.post_process:
        return f"take --post-process {mark.post_process}"
    if mark.sign == CONTINUES_WORD:
        return "name the language model whose pieces they are with --bert-model, which joins them"
    return "fairseq's --post-process knows no way: take a --bpe that does"


def _most(texts: Sequence[str], some: list[str]) -> list[str]:
    """Some of the texts if they are most of them, else none."""
    return some if 2 * len(some) > len(texts) else []


def _warn(found: Sequence[str], texts: Sequence[str], whose: str, what: str, joined_by: str, way_out: str) -> None:
    logger.warning(
        f"{len(found)} of {len(texts)} texts of {whose} still have {what}, as in "
        f"{found[0][:SHOWN]!r}, and are judged as they stand. Symbols were joined by {joined_by}: {way_out} (said once)"
    )
