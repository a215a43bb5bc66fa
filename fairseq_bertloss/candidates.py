"""Several translations of each sentence: which of them are the same, where they begin alike, and what they risk."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Rows(NamedTuple):
    """Candidates and references of some sentences, each different one a row that is decoded once."""

    symbols: list[tuple[int, ...]]  # of each row, </s> included
    sentence: list[int]  # which each row belongs to
    candidates: list[int]  # rows, sentence by sentence in the order they were drawn in
    place: list[int]  # of each candidate among those of its sentence
    references: list[int]  # rows, one a sentence
    ends: list[int]  # how many tokens there are up to each row's end

    @classmethod
    def of(
        cls, drawn: Sequence[Sequence[Sequence[int]]], references: Tensor, pad: int, with_references: bool
    ) -> "Rows":
        """From the symbols of each sentence's candidates, </s> included.

        Args:
            drawn: of each sentence; one without any has its reference.
            references: (sentences, length), padded.
            pad: symbol.
            with_references: whether a reference is a candidate too, the last.
        """
        rows, candidates, place, own = {}, [], [], []
        for sentence, (found, reference) in enumerate(zip(drawn, references.tolist())):
            reference = (sentence, *(symbol for symbol in reference if symbol != pad))
            distinct = dict.fromkeys((sentence, *symbols) for symbols in found)
            if with_references or not distinct:
                distinct[reference] = None
            candidates += [rows.setdefault(row, len(rows)) for row in distinct]
            place += range(len(distinct))
            own.append(rows.setdefault(reference, len(rows)))
        ends = list(itertools.accumulate(len(row) - 1 for row in rows))
        return cls([row[1:] for row in rows], [row[0] for row in rows], candidates, place, own, ends)

    def tokens(self, row: int) -> range:
        """Where a row's tokens stand among those of all rows."""
        return range(self.ends[row] - len(self.symbols[row]), self.ends[row])

    def tokens_of(self, rows: Sequence[int]) -> Tensor:
        """Where the tokens of some rows stand, one row after the other."""
        return torch.tensor([token for row in rows for token in self.tokens(row)])

    def shared_beginnings(self) -> tuple[Tensor, Tensor]:
        """What the candidates' symbols follow: beginnings of their sentence, each different one counted once.

        Returns:
            Where each beginning is first decoded, among the tokens of all rows, (beginnings,); and which beginning
            each candidate's each symbol follows, (candidates' tokens,).
        """
        known, first, following = {}, [], []
        for row in self.candidates:
            beginning = known.setdefault((None, self.sentence[row]), len(known))
            for token, symbol in zip(self.tokens(row), self.symbols[row]):
                if beginning == len(first):
                    first.append(token)
                following.append(beginning)
                if token + 1 < self.ends[row]:
                    beginning = known.setdefault((beginning, symbol), len(known))
        return torch.tensor(first), torch.tensor(following)

    def table(self, values: Tensor, filling: float) -> Tensor:
        """Values of the candidates (candidates,) in a row for each sentence, (sentences, most candidates)."""
        indices = torch.tensor([[self.sentence[row] for row in self.candidates], self.place]).to(values.device)
        table = values.new_full((len(self.references), 1 + max(self.place)), filling)
        return table.index_put(tuple(indices), values)


def risk_of(log_p: Tensor, reward: Tensor, f: Tensor, alpha: float) -> tuple[Tensor, dict[str, Tensor]]:
    """The risk sum_k Q_k (1 - reward_k) of each sentence, Q = softmax_k(alpha * log_p).

    Args:
        log_p: log-probability per symbol of each candidate, (sentences, candidates), -inf where there is none.
            Gradients flow.
        reward: what each is worth in training, the same shape; anything finite where there is none.
        f: how good each is for the log, alike.
        alpha: > 0, sharpness.

    Returns:
        The risk, (sentences,), and sums over the sentences for the log: of f under Q, of the first candidate's and
        of the best one's, and the number of candidates.
    """
    drawn = log_p.detach() > -torch.inf
    q = torch.softmax(alpha * log_p, dim=-1)
    return 1 - (q * reward).sum(dim=-1), {
        "f_expected": (q.detach() * f).sum(),
        "f_first": f[:, 0].sum(),
        "f_best": f.masked_fill(~drawn, -torch.inf).amax(dim=-1).sum(),
        "candidates": drawn.sum(),
    }


RISK_SUMS = ("f_expected", "f_first", "f_best", "candidates")
"""What risk_of has for the log."""
