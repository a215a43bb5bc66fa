"""Which pieces of a sentence MoverScore compares."""

import re
import string
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from fairseq_bertloss.language_model.spaces import CONTINUES_WORD, is_word_piece, space_mark

PUNCTUATION = set(string.punctuation)
UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff"
    r"\U00020000-\U0003ffff]"
)
"""Letters written without spaces between words: Thai, Lao, Burmese, Khmer, kana, ideographs."""


class WordFinder:
    """Finds the positions that are compared: [CLS], [SEP] and the first piece of every word that is not punctuation.

    WordPiece marks the pieces that continue a word (##), after it has split the text at white space, punctuation and
    ideographs. Other tokenizers mark the pieces that follow a space (▁, Ġ); a piece without the mark begins a word
    where it stands beside punctuation or in a script without spaces.

    Raises:
        ValueError: the tokenizer marks neither.
    """

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer
        self._mark = _space_mark(tokenizer)
        self._known = {}

    def __call__(self, ids: Sequence[int]) -> list[int]:
        """Positions in the ids of a sentence that has its [CLS] and [SEP]."""
        positions = [0]
        begins = True
        for position, token_id in enumerate(ids[1:-1], 1):
            piece = self._known.get(token_id) or self._known.setdefault(token_id, self._piece(token_id))
            if piece.is_word and (begins or piece.begins):
                positions.append(position)
            begins = piece.ends
        return [*positions, len(ids) - 1]

    def _piece(self, token_id: int) -> "_Piece":
        piece = self._tokenizer.convert_ids_to_tokens(token_id)
        if self._mark is None:
            return _Piece(not piece.startswith(CONTINUES_WORD), False, piece not in PUNCTUATION)
        inner = piece.removeprefix(self._mark)
        text = self._tokenizer.convert_tokens_to_string([inner]).strip() if inner else ""
        if not text:
            return _Piece(True, True, False)
        begins = piece.startswith(self._mark) or _stands_alone(text[0])
        return _Piece(begins, _stands_alone(text[-1]), not set(text) <= PUNCTUATION)


class _Piece(NamedTuple):
    """What a piece says of words: begins one wherever it stands, ends one, is (part of) one."""

    begins: bool
    ends: bool
    is_word: bool


def _stands_alone(char: str) -> bool:
    """Whether BERT would split the text before and after the character."""
    return char in PUNCTUATION or unicodedata.category(char).startswith("P") or UNSPACED.match(char) is not None


def _space_mark(tokenizer) -> str | None:
    """What a piece that follows a space begins with; None for WordPiece, which marks the others."""
    if is_word_piece(tokenizer):
        return None
    if mark := space_mark(tokenizer):
        return mark
    raise ValueError(
        f"the tokenizer {tokenizer.name_or_path!r} marks neither the pieces that begin a word (▁, Ġ) nor those "
        "that continue one (##), so MoverScore cannot find the words: take another language model"
    )
