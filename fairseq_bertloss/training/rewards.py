"""Rewards of candidates: brought to one scale, and what unfinished candidates get."""

import torch
from torch import Tensor

SMALLEST_RANGE = 0.02
"""The smallest range of F, from a sentence's worst candidate to its best, that becomes a whole range of rewards."""

SMALLEST_DEVIATION = 0.01
"""The smallest standard deviation of F among a sentence's candidates that becomes a whole one."""


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
