"""Symbols of any dictionary as the language model would read them: each as the pieces that spell it.

pieces = spelt(symbols, load_tokenizer("bert-base-uncased"))
pieces.mean(lm.embedding_table)
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from tokenizers.decoders import ByteLevel
from torch import Tensor

from fairseq_bertloss.choices import SYMBOLS_AS, check_choice
from fairseq_bertloss.language_model.spaces import CONTINUES_WORD
from fairseq_bertloss.language_model.tokenization import encode
from fairseq_bertloss.language_model.vocabulary import (
    ADDED_SYMBOL,
    FAIRSEQS_SPECIALS,
    Specials,
    align,
    special_ids,
    unaligned,
)
from fairseq_bertloss.text.subwords import SPACE, most_marked

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BYTES = "Ġ"
"""The mark of words in dictionaries of bytes, whose symbols are no letters but stand for bytes."""

BEGINS = (SPACE, BYTES, "■")
"""Marks in front of symbols that begin a word; the others go on with one."""

CONTINUES = (CONTINUES_WORD, "￭")
"""Marks in front of symbols that go on with a word; the others begin one."""

OPENINGS = 12
"""Letters that are tried for the beginning of a word that a symbol goes on with."""


class SymbolPieces(NamedTuple):
    """The pieces of the language model that each symbol of a vocabulary is read as, one or more."""

    ids: Tensor  # (pieces,), the language model's, of one symbol after the other
    counts: Tensor  # (vocabulary,), how many of them each symbol has

    @classmethod
    def one_each(cls, ids: Tensor) -> "SymbolPieces":
        """Symbols that are pieces themselves, from the id of each."""
        return cls(ids, torch.ones_like(ids))

    @property
    def are_symbols(self) -> bool:
        """Whether each symbol is one piece."""
        return len(self.ids) == len(self.counts)

    def mean(self, table: Tensor) -> Tensor:
        """Of each symbol the mean of its pieces' rows, (vocabulary, ...), in the table's precision."""
        rows = table[self.ids.to(table.device)]
        if self.are_symbols:
            return rows
        exact = rows.to(torch.promote_types(rows.dtype, torch.float32))
        return torch.segment_reduce(exact, "mean", lengths=self.counts.to(table.device)).to(table.dtype)


def pieces_of(
    symbols: Sequence[str], tokenizer: "PreTrainedTokenizerBase", specials: Specials, symbols_as: str
) -> SymbolPieces:
    """What the symbols are read as, "pieces" or by their "spelling"; of the language model's own symbols both are one.

    Args:
        symbols: the target dictionary's, in its order.
        tokenizer: the language model's.
        specials: which of the symbols play the four roles.
        symbols_as: one of choices.SYMBOLS_AS.

    Raises:
        ValueError: symbols are no pieces and have to be, a special is not there, or a spelling cannot be found.
    """
    check_choice("symbols_as", symbols_as, SYMBOLS_AS)
    if symbols_as == "spelling" and unaligned(symbols, tokenizer, specials):
        return spelt(symbols, tokenizer, specials)
    return SymbolPieces.one_each(align(symbols, tokenizer, specials))


def spelt(
    symbols: Sequence[str], tokenizer: "PreTrainedTokenizerBase", specials: Specials = FAIRSEQS_SPECIALS
) -> SymbolPieces:
    """The pieces that spell each symbol; arguments as for vocabulary.align.

    The marks of most symbols say which begin a word and which go on with one. Where marks cannot say it (`ment` beside
    `ter@@`), a symbol is read in the way that takes fewer pieces, as a word where both take as many. What has no
    spelling gets [UNK].

    Raises:
        ValueError: a special is not there, or the symbols are numbers, which spell nothing.
    """
    by_name = [symbol for symbol in symbols if symbol in specials or ADDED_SYMBOL.fullmatch(symbol)]
    own = dict(zip(by_name, align(by_name, tokenizer, specials).tolist(), strict=True))
    words = [symbol for symbol in symbols if symbol not in own]
    _check_letters(words)
    marked = most_marked(words)
    sign = marked[0].sign if marked else None
    read = _Reader(tokenizer)
    pieces = [[own[symbol]] if symbol in own else _pieces(symbol, sign, read) for symbol in symbols]
    return SymbolPieces(torch.tensor([i for those in pieces for i in those]), torch.tensor(list(map(len, pieces))))


def _check_letters(words: Sequence[str]) -> None:
    """Raises ValueError for the dictionaries of fairseq's --bpe gpt2, whose symbols are numbers of pieces."""
    if 2 * sum(word.isdecimal() for word in words) > len(words):
        raise ValueError(
            "the target dictionary's symbols are numbers, as --bpe gpt2 makes them, which do not say how they are "
            "spelt: take --objective risk, which reads candidates as text"
        )


def _pieces(symbol: str, sign: str | None, read: "_Reader") -> list[int]:
    """Ids of a symbol of a dictionary that has a tool's marks, or none."""
    if sign is None:
        return read.word(symbol)
    spelling = symbol.removeprefix(sign).removesuffix(sign)
    if sign == BYTES:
        spelling = ByteLevel().decode([spelling])
    if sign in BEGINS or sign in CONTINUES:
        begins = symbol.startswith(sign) == (sign in BEGINS)
        return read.word(spelling) if begins else read.rest(spelling)
    return min(read.word(spelling), read.rest(spelling), key=len)


class _Reader:
    """Reads the spelling of a symbol as a word or as the rest of one, whose beginning is not there."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase"):
        self._tokenizer = tokenizer
        self._unknown = special_ids(tokenizer).unk
        # A rest is read after one letter. The rarer the letter, the less the two become one piece.
        pieces = Counter(letter for piece in tokenizer.get_vocab() for letter in set(piece) if letter.isalpha())
        rarest = sorted(pieces, key=lambda letter: (pieces[letter], letter))
        known = (letter for letter in rarest if letter.islower() and self._unknown not in self._ids(letter))
        self._openings = {letter: self._ids(letter) for letter, _ in zip(known, range(OPENINGS), strict=False)}

    def word(self, spelling: str) -> list[int]:
        """Ids of a spelling after a space."""
        return self._ids(spelling) or [self._unknown]

    def rest(self, spelling: str) -> list[int]:
        """Ids of a spelling inside of a word; those of a word where it melts into every letter before it."""
        for letter, opening in self._openings.items():
            ids = self._ids(letter + spelling)
            if ids[: len(opening)] == opening:
                return ids[len(opening) :] or [self._unknown]
        return self.word(spelling)

    def _ids(self, text: str) -> list[int]:
        return encode(self._tokenizer, [text])[0][1:-1]
