"""Several translations of each sentence: which of them are the same, and where they begin alike."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor


class TargetSide(NamedTuple):
    """A target side that is decoded: a candidate, a reference, or both."""

    sentence: int
    symbols: tuple[int, ...]  # </s> included


class Beginning(NamedTuple):
    """What a symbol of a sentence follows: no symbol at all, or another beginning and the symbol after it."""

    sentence: int
    shorter: int | None = None  # the number of the other beginning
    symbol: int | None = None


class SharedBeginnings(NamedTuple):
    """Beginnings of candidates, each different one of a sentence counted once."""

    first_token: Tensor  # (beginnings,), where each is decoded first, among the tokens of all target sides
    beginning_index: Tensor  # (candidates' tokens,), which beginning each symbol follows


@dataclass(frozen=True)
class TargetSides:
    """Candidates and references of some sentences; each different one is decoded once."""

    distinct: list[TargetSide]
    candidates: list[int]  # indices in `distinct`, sentence by sentence in the order they were drawn in
    places: list[int]  # of each candidate among those of its sentence
    references: list[int]  # indices in `distinct`, one a sentence

    @classmethod
    def of(
        cls, drawn: Sequence[Sequence[Sequence[int]]], references: Tensor, pad: int, with_references: bool
    ) -> "TargetSides":
        """From the symbols of each sentence's candidates, </s> included.

        Args:
            drawn: the candidates of each sentence; its reference stands in where there is none.
            references: (sentences, length), padded.
            pad: symbol.
            with_references: whether a reference is a candidate too, the last.
        """
        index: dict[TargetSide, int] = {}
        candidates = []
        places = []
        own_references = []
        for sentence, (found, padded) in enumerate(zip(drawn, references.tolist(), strict=True)):
            reference = TargetSide(sentence, tuple(symbol for symbol in padded if symbol != pad))
            own = dict.fromkeys(TargetSide(sentence, tuple(symbols)) for symbols in found)
            if with_references or not own:
                own[reference] = None
            candidates.extend(index.setdefault(side, len(index)) for side in own)
            places.extend(range(len(own)))
            own_references.append(index.setdefault(reference, len(index)))
        return cls(list(index), candidates, places, own_references)

    @cached_property
    def lengths(self) -> list[int]:
        """Symbols of each target side."""
        return [len(side.symbols) for side in self.distinct]

    @cached_property
    def sentence_of_candidate(self) -> list[int]:
        """Which sentence each candidate belongs to."""
        return [self.distinct[side].sentence for side in self.candidates]

    @cached_property
    def candidate_lengths(self) -> Tensor:
        """Symbols of each candidate, (candidates,)."""
        return torch.tensor([self.lengths[side] for side in self.candidates])

    @cached_property
    def _ends(self) -> list[int]:
        return list(itertools.accumulate(self.lengths))

    def tokens(self, side: int) -> range:
        """Where the tokens of a target side stand among those of all."""
        end = self._ends[side]
        return range(end - self.lengths[side], end)

    def tokens_of(self, sides: Sequence[int]) -> Tensor:
        """Where the tokens of some target sides stand, one side after the other."""
        return torch.tensor([token for side in sides for token in self.tokens(side)])

    def shared_beginnings(self) -> SharedBeginnings:
        """The beginnings that the candidates' symbols follow."""
        index: dict[Beginning, int] = {}
        first_token = []
        beginning_index = []
        for side in self.candidates:
            sentence, symbols = self.distinct[side]
            beginning = Beginning(sentence)
            for token, symbol in zip(self.tokens(side), symbols, strict=True):
                if beginning not in index:
                    index[beginning] = len(index)
                    first_token.append(token)
                beginning_index.append(index[beginning])
                beginning = Beginning(sentence, index[beginning], symbol)
        return SharedBeginnings(torch.tensor(first_token), torch.tensor(beginning_index))

    def table(self, values: Tensor, filling: float) -> Tensor:
        """Values of the candidates (candidates,) in a row for each sentence, (sentences, most candidates)."""
        sentence = torch.tensor(self.sentence_of_candidate).to(values.device)
        place = torch.tensor(self.places).to(values.device)
        table = values.new_full((len(self.references), 1 + max(self.places)), filling)
        return table.index_put((sentence, place), values)

    def longer_than(self, longest: Sequence[int]) -> Tensor:
        """Which drawn candidates have more symbols than that many beside </s>, (sentences, most candidates) bool.

        On the CPU.

        Args:
            longest: of each sentence.
        """
        references = set(self.references)
        longer = [
            side not in references and self.lengths[side] > longest[sentence]
            for side, sentence in zip(self.candidates, self.sentence_of_candidate, strict=True)
        ]
        return self.table(torch.tensor(longer), False)


def first_symbols(symbols: Tensor, pad: int) -> Tensor:
    """The first symbol of each sentence that is no padding, (sentences,), of (sentences, length)."""
    return symbols.gather(1, symbols.ne(pad).int().argmax(dim=1, keepdim=True)).squeeze(1)
