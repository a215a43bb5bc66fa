"""How a tokenizer's pieces tell where words begin: by Ġ or ▁ after a space, or by ## inside of a word.

space_mark(tokenizer) == "▁"
"""

import functools
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CONTINUES_WORD = "##"
"""What WordPiece puts before a piece that goes on with a word."""


@functools.lru_cache(maxsize=8)
def space_mark(tokenizer: "PreTrainedTokenizerBase") -> str:
    """What a piece that follows a space begins with, such as Ġ or ▁; empty where pieces record no spaces."""
    marked = re.fullmatch(r".*a(\S+)b", "".join(tokenizer.tokenize("a b")))
    return marked[1] if marked else ""


def line_mark(tokenizer: "PreTrainedTokenizerBase") -> str:
    """What the first piece of every line begins with: the space mark, or nothing (DeBERTa has no space there)."""
    mark = space_mark(tokenizer)
    return mark if tokenizer.tokenize("a")[0].startswith(mark) else ""


def is_word_piece(tokenizer: "PreTrainedTokenizerBase") -> bool:
    """Whether the pieces inside of words are marked, as WordPiece has it, and not those after spaces."""
    return tokenizer.convert_tokens_to_string(["a", f"{CONTINUES_WORD}b"]) == "ab"


@functools.lru_cache(maxsize=8)
def loses_spaces(tokenizer: "PreTrainedTokenizerBase") -> bool:
    """Whether "it's" comes back from word pieces as "it ' s"."""
    probe = tokenizer.convert_tokens_to_string(tokenizer.tokenize("it's"))
    return len(probe.split()) > 1
