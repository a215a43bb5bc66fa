"""Warnings where symbols did not become text: rewards would judge marks of subwords, numbers, or tokens of Moses'."""

import logging
from collections.abc import Sequence

from fairseq_bertloss.evaluation.tokenized import is_tokenized, spacing
from fairseq_bertloss.evaluation.unjoined import words_of
from fairseq_bertloss.language_model.spaces import CONTINUES_WORD
from fairseq_bertloss.text.subwords import Mark, marked_words

logger = logging.getLogger(__name__)

SHOWN = 80
"""Characters of a text in the warning."""


def warn_of_unjoined(texts: Sequence[str], joined_by: str, whose: str = "candidates and references") -> None:
    """Warns if texts are full of a subword mark, or most are nothing but numbers.

    Args:
        texts: to be judged, or to judge by.
        joined_by: what made words of symbols.
        whose: texts these are.
    """
    for mark in marked_words(words_of(texts)):
        marked = [text for text in texts if mark.sign in text]
        _warn(marked, texts, whose, f"the subword mark {mark.sign}", joined_by, _way_out(mark))
    numbers = [text for text in texts if text and text.replace(" ", "").isdigit()]
    if 2 * len(numbers) > len(texts):
        _warn(numbers, texts, whose, "nothing but numbers", joined_by, "if they are byte-level pieces, take --bpe gpt2")


def warn_of_tokens(texts: Sequence[str], joined_by: str) -> None:
    """Warns if texts are tokenized as Moses does it; the arguments are those of `warn_of_unjoined`."""
    found = spacing(texts)
    if not is_tokenized(found):
        return
    counts = [spacing([text]) for text in texts]
    example = max(range(len(texts)), key=lambda i: counts[i].apart + counts[i].escapes)
    logger.warning(
        f"translations and references are tokenized ({found}), as {texts[example][:SHOWN]!r} is, and are judged as "
        f"they stand. Symbols were joined by {joined_by}: if words came from Moses' tokenizer, add --tokenizer moses, "
        "with -s and -t (said once)"
    )


def _way_out(mark: Mark) -> str:
    if mark.post_process:
        return f"take --post-process {mark.post_process}"
    if mark.sign == CONTINUES_WORD:
        return "name the language model whose pieces they are with --bert-model, which joins them"
    return "fairseq's --post-process knows no way: take a --bpe that does"


def _warn(found: Sequence[str], texts: Sequence[str], whose: str, what: str, joined_by: str, way_out: str) -> None:
    logger.warning(
        f"{len(found)} of {len(texts)} texts of {whose} still have {what}, as in "
        f"{found[0][:SHOWN]!r}, and are judged as they stand. Symbols were joined by {joined_by}: {way_out} (said once)"
    )
