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

    def longer_than(self, longest: Sequence[int]) -> Tensor:
        """Which drawn candidates have more symbols than that many beside </s>, (sentences, most candidates) bool, on the CPU.

        Args:
            longest: of each sentence.
        """
        references = set(self.references)
        longer = [
            row not in references and len(self.symbols[row]) > longest[self.sentence[row]] for row in self.candidates
        ]
        return self.table(torch.tensor(longer), False)


SCALES = ("none", "min-max", "std")
"""How the rewards of a sentence's candidates are brought to one scale."""

SMALLEST_RANGE = 0.02
"""Of F, between a sentence's best and worst candidate: smaller differences are not blown up to a whole range of rewards."""

SMALLEST_DEVIATION = 0.01
"""The same for a sentence's standard deviation."""

UNFINISHED = ("scored", "left-out", "lowest")
"""What becomes of candidates that were cut at their longest length: scored as if they had ended there, left out, or given
their sentence's lowest reward."""


def scaled(reward: Tensor, drawn: Tensor, scale: str) -> Tensor:
    """Rewards of each sentence's candidates, on one scale for all sentences.

    Args:
        reward: (sentences, candidates).
        drawn: where there is a candidate, (sentences, candidates) bool.
        scale: of SCALES. "min-max": from 0, the lowest, to 1, the highest. "std": of mean 0 and standard deviation 1.
            Where candidates hardly differ, neither makes much of it: SMALLEST_RANGE and SMALLEST_DEVIATION.
    """
    if scale == "min-max":
        lowest = reward.masked_fill(~drawn, torch.inf).amin(dim=1, keepdim=True)
        highest = reward.masked_fill(~drawn, -torch.inf).amax(dim=1, keepdim=True)
        return (reward - lowest) / (highest - lowest).clamp(min=SMALLEST_RANGE)
    if scale == "std":
        count = drawn.sum(dim=1, keepdim=True)
        centred = reward - (reward * drawn).sum(dim=1, keepdim=True) / count
        variance = (centred.square() * drawn).sum(dim=1, keepdim=True) / count
        return centred / variance.sqrt().clamp(min=SMALLEST_DEVIATION)
    return reward


def without_unfinished(log_p: Tensor, reward: Tensor, unfinished: Tensor, treatment: str) -> tuple[Tensor, Tensor]:
    """Log-probabilities and rewards, as UNFINISHED says. Where no candidate of a sentence has ended, none is better.

    Args:
        log_p: (sentences, candidates), -inf where there is none.
        reward: (sentences, candidates).
        unfinished: the candidates that were cut, (sentences, candidates) bool.
        treatment: of UNFINISHED.
    """
    if treatment == "scored":
        return log_p, reward
    finished = ~unfinished & (log_p.detach() > -torch.inf)
    any_finished = finished.any(dim=1, keepdim=True)
    lowest = torch.where(any_finished, reward.masked_fill(~finished, torch.inf).amin(dim=1, keepdim=True), 0.0)
    reward = torch.where(unfinished, lowest, reward)
    if treatment == "left-out":
        log_p = log_p.masked_fill(unfinished & any_finished, -torch.inf)
    return log_p, reward


def risk_of(log_p: Tensor, reward: Tensor, alpha: float) -> Tensor:
    """The risk sum_k Q_k (1 - reward_k) of each sentence, Q = softmax_k(alpha * log_p), (sentences,).

    Args:
        log_p: log-probability per symbol of each candidate, (sentences, candidates), -inf where there is none.
            Gradients flow.
        reward: what each is worth in training, the same shape; anything finite where there is none.
        alpha: > 0, sharpness.
    """
    return 1 - (torch.softmax(alpha * log_p, dim=-1) * reward).sum(dim=-1)


def cross_entropy_of_best(log_p: Tensor, reward: Tensor) -> Tensor:
    """Minus the log-probability per symbol of the candidate with the highest reward, (sentences,); as risk_of."""
    best = reward.masked_fill(log_p.detach() == -torch.inf, -torch.inf).argmax(dim=1, keepdim=True)
    return -log_p.gather(1, best).squeeze(1)


def risk_sums(log_p: Tensor, f: Tensor, unfinished: Tensor, alpha: float) -> dict[str, Tensor]:
    """Sums over the sentences for the log: RISK_SUMS.

    Args:
        log_p: as for risk_of.
        f: F_BERT of each candidate, (sentences, candidates).
        unfinished: the candidates that were cut, (sentences, candidates) bool.
        alpha: as for risk_of.
    """
    log_p = log_p.detach()
    drawn = log_p > -torch.inf
    sums = (
        (torch.softmax(alpha * log_p, dim=-1) * f).sum(),
        f[:, 0].sum(),
        f.masked_fill(~drawn, -torch.inf).amax(dim=-1).sum(),
        drawn.sum(),
        (unfinished & drawn).sum(),
    )
    return dict(zip(RISK_SUMS, sums, strict=True))


RISK_SUMS = ("f_expected", "f_first", "f_best", "candidates", "unfinished")
"""F under Q, of the first candidate and of the best one; the number of candidates, and of those that were cut."""
