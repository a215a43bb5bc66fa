"""How tools mark the parts of words: which marks a text or a dictionary is full of, and how fairseq undoes them."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Mark(NamedTuple):
    """How a tool marks subwords.

    sign: the mark; word: the pattern of a word with it; share: the least share of such words; post_process: what
    fairseq's --post-process calls the undoing of it, None where it has no name for that.
    """

    sign: str
    word: re.Pattern
    share: float
    post_process: str | None = None


SPACE = "▁"
"""SentencePiece's mark; fairseq's characters have it too, as a symbol of its own."""

MARKS = (
    Mark("@@", re.compile(r"\S+@@"), 0.02, "subword_nmt"),
    Mark("##", re.compile(r"##\S+"), 0.02),
    Mark(SPACE, re.compile(rf"{SPACE}\S*"), 0.02, "sentencepiece"),
    Mark("</w>", re.compile(r"\S+</w>"), 0.02),
    Mark("￭", re.compile(r"￭\S*|\S+￭"), 0.02),
    Mark("■", re.compile(r"■\S+|\S+■"), 0.02),  # alone it heads an item of a list
    Mark("Ġ", re.compile(r"\S*Ġ\S*"), 0.1),  # a letter of Maltese too
)
LEAST = 2
"""Fewer words with a mark may be what the text is about."""


def marked_words(words: Sequence[str], least: int = LEAST) -> dict[Mark, list[str]]:
    """The marks that words are full of, and the words that have them.

    Args:
        words: of a text, or the symbols of a dictionary.
        least: words with the mark that are needed, whatever their share.
    """
    found = {mark: [word for word in words if mark.word.fullmatch(word)] for mark in MARKS}
    return {mark: those for mark, those in found.items() if len(those) >= max(least, mark.share * len(words))}


def most_marked(words: Sequence[str], least: int = LEAST) -> tuple[Mark, list[str]] | None:
    """The mark that most words have of those that they are full of, and these words; the arguments are the same."""
    return max(marked_words(words, least).items(), key=lambda item: len(item[1]), default=None)


def kind_of(symbols: Iterable[str], least: int = LEAST) -> str | None:
    """fairseq's --post-process for the marks that symbols are full of.

    Args:
        symbols: of a dictionary, or the words of a text.
        least: symbols with the mark that are needed, whatever their share.

    Returns:
        "subword_nmt" or "sentencepiece"; None where there are no marks, or others come first, for which fairseq has no
        name.
    """
    symbols = list(symbols)
    if are_characters(symbols):
        return "sentencepiece"
    most = most_marked(symbols, least)
    return most[0].post_process if most else None


def are_characters(symbols: Sequence[str]) -> bool:
    """Whether symbols are those of fairseq's --bpe characters; in a dictionary the space is only one of them."""
    return SPACE in symbols and 2 * sum(len(symbol) == 1 for symbol in symbols) > len(symbols)


def join(line: str, kind: str) -> str:
    """A line of subwords without their marks, as fairseq's --post-process has it, whose name `kind_of` gives."""
    if kind == "sentencepiece":
        return line.replace(" ", "").replace(SPACE, " ").strip()
    return f"{line} ".replace("@@ ", "").rstrip()
