"""Rewards of candidates: by BERTScore and functions of text, brought to one scale, and what unfinished ones get."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fairseq_bertloss.training.judges import PieceJudge, TextJudge
from fairseq_bertloss.training.reading import Reading
from fairseq_bertloss.training.reward_functions import RewardFunction, scores_of
from fairseq_bertloss.training.reward_weights import BERTSCORE
from fairseq_bertloss.training.sums import F_SUMS, REWARD
from fairseq_bertloss.training.texts import TextReader, Texts

SMALLEST_RANGE = 0.02
"""The smallest range of F, from a sentence's worst candidate to its best, that becomes a whole range of rewards."""

SMALLEST_DEVIATION = 0.01
"""The smallest standard deviation of F among a sentence's candidates that becomes a whole one."""


class Earned(NamedTuple):
    """What candidates earn, (sentences, candidates) each."""

    reward: Tensor  # what trains
    f: Tensor | None  # F_BERT by greedy matching (or precision or recall); None where BERTScore is no reward
    sums: dict[str, Tensor]  # over all candidates, for the log: each reward by its name


class Rewards(nn.Module):
    """What candidates earn: one reward as it is, or the weighted mean of several, each brought to one scale.

    Args:
        weights: of the rewards, by their names.
        judge: gives BERTScore; None where that is none of them.
        functions: give the others.
        texts: makes the text that they read; None where nothing does.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        judge: PieceJudge | TextJudge | None,
        functions: Mapping[str, RewardFunction],
        texts: TextReader | None,
    ):
        super().__init__()
        self.judge = judge
        self.texts = texts
        self._weights = weights
        self._functions = functions

    @property
    def sums(self) -> tuple[str, ...]:
        """The names of what is logged of them."""
        names = tuple(REWARD + name.rpartition(":")[2] for name in self._weights)
        return names if self.judge is None else (*F_SUMS, *names)

    def forward(self, reading: Reading, sample: dict, chosen: Tensor) -> Earned:
        """What the candidates of some of a batch's sentences earn.

        Args:
            reading: the candidates.
            sample: the batch.
            chosen: indices of the sentences.

        Raises:
            ValueError: a reward fails.
        """
        sides = reading.sides
        texts = None if self.texts is None else self.texts(reading, sample, chosen, self.training)
        scores = None if self.judge is None else self.judge(reading, texts)
        earned = {
            name: self.judge.bertscore.maximised(scores.rewarded)
            if name == BERTSCORE
            else self._by_function(name, texts).to(reading.features.device)
            for name in self._weights
        }
        drawn = sides.table(torch.ones(len(sides.candidates), dtype=torch.bool), False).to(reading.features.device)
        tables = {name: sides.table(values, 0.0) for name, values in earned.items()}
        return Earned(
            combined(tables, self._weights, drawn),
            None if scores is None else sides.table(self.judge.bertscore.maximised(scores.reported), 0.0),
            {REWARD + name.rpartition(":")[2]: values.sum() for name, values in earned.items()},
        )

    def _by_function(self, name: str, texts: Texts) -> Tensor:
        references, sources = texts.by_candidate(texts.references), texts.by_candidate(texts.sources)
        return scores_of(name, self._functions[name], texts.hypotheses, references, sources)


def combined(rewards: Mapping[str, Tensor], weights: Mapping[str, float], drawn: Tensor) -> Tensor:
    """One reward as it is; of several the weighted mean of what "min-max" makes of each.

    Args:
        rewards: (sentences, candidates) each, by name.
        weights: > 0, by name.
        drawn: as for scaled.
    """
    if len(rewards) == 1:
        return next(iter(rewards.values()))
    weighted = (weights[name] * scaled(reward, drawn, "min-max") for name, reward in rewards.items())
    return sum(weighted) / sum(weights.values())


def scaled(reward: Tensor, drawn: Tensor, scale: str) -> Tensor:
    """Brings the rewards of each sentence's candidates to one scale for all sentences.

    Args:
        reward: (sentences, candidates).
        drawn: where there is a candidate, (sentences, candidates) bool.
        scale: one of choices.SCALES. "min-max" makes the lowest 0 and the highest 1, "std" makes the mean 0 and the
            standard deviation 1. Neither blows up a difference below SMALLEST_RANGE or SMALLEST_DEVIATION.
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
    """Log-probabilities and rewards after unfinished candidates were treated.

    Where no candidate of a sentence has ended, all have the same reward.

    Args:
        log_p: (sentences, candidates), -inf where there is none.
        reward: (sentences, candidates).
        unfinished: the candidates that were cut, (sentences, candidates) bool.
        treatment: one of choices.UNFINISHED.
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
