"""Minimum risk: a model's own candidates become the more probable the better they are, whatever judges them.

Candidates stand in a row for each sentence, (sentences, candidates), as many as the sentence with the most of them has;
a mask says where there is one.

minimum_risk(log_probabilities, lengths, rewards, mask, scale="min-max").mean().backward()
"""

from typing import NamedTuple

import torch
from torch import Tensor

from fairseq_bertloss.choices import SCALES, check_choice

SMALLEST_RANGE = 0.02
"""The smallest range of F, from a sentence's worst candidate to its best, that becomes a whole range of rewards."""

SMALLEST_DEVIATION = 0.01
"""The smallest standard deviation of F among a sentence's candidates that becomes a whole one."""


def minimum_risk(
    log_probabilities: Tensor,
    lengths: Tensor,
    rewards: Tensor,
    mask: Tensor,
    *,
    alpha: float = 1.0,
    scale: str = "none",
) -> Tensor:
    """The risk of each sentence: sum_k Q_k (1 - R_k) over its candidates, Q = softmax_k(alpha * log p(k) / length(k)).

    To minimise it is to make those candidates more probable whose reward R is above their sentence's mean under Q (Shen
    et al., 2016; Edunov et al., 2018). A sentence's candidates should differ: one that stands there twice counts twice.

    Args:
        log_probabilities: log p, the sum over a candidate's symbols, (sentences, candidates). Gradients flow.
        lengths: symbols of each candidate, its end included, the same shape.
        rewards: what each candidate earns, the more the better, the same shape, of any number type; F_BERT is a
            fraction, as the bounds of `scaled` are. No gradient flows.
        mask: where there is a candidate, the same shape, bool; what stands elsewhere does not count.
        alpha: > 0, sharpness.
        scale: as for `scaled`; one of choices.SCALES.

    Returns:
        (sentences,); 1, without a gradient, where a sentence has no candidate.

    Raises:
        ValueError: shapes disagree, a candidate's reward is not finite, alpha is not above 0, or there is no such
            scale.
    """
    if not log_probabilities.shape == lengths.shape == rewards.shape == mask.shape:
        raise ValueError(
            f"log_probabilities {tuple(log_probabilities.shape)}, lengths {tuple(lengths.shape)}, "
            f"rewards {tuple(rewards.shape)} and mask {tuple(mask.shape)} must agree on (sentences, candidates)"
        )
    # Scales have fractions, which counts have not; rewards that are finer than log_probabilities stay so.
    rewards = rewards.detach().to(torch.promote_types(rewards.dtype, log_probabilities.dtype))
    _check_finite(rewards[mask])
    weights = candidate_weights(log_probabilities, lengths, mask, alpha)
    gains = scaled(rewards, mask, scale).masked_fill(~mask, 0.0)  # NaN where a sentence has no candidate
    return 1 - (weights * gains).sum(dim=1)


def _check_finite(rewards: Tensor) -> None:
    bad = int((~rewards.isfinite()).sum())
    if bad:
        are = "is" if bad == 1 else "are"
        raise ValueError(f"a candidate's reward must be a finite number: {bad} of {len(rewards)} {are} not")


def candidate_weights(log_probabilities: Tensor, lengths: Tensor, mask: Tensor, alpha: float) -> Tensor:
    """Q of minimum_risk, (sentences, candidates), 0 where there is no candidate; arguments as there."""
    if not alpha > 0:
        raise ValueError(f"alpha must be above 0, not {alpha}")
    scores = alpha * per_symbol(log_probabilities, lengths)
    # Not -inf: a sentence without a candidate would be NaN.
    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return torch.softmax(scores, dim=1).masked_fill(~mask, 0.0)


def cross_entropy_of_best(log_probabilities: Tensor, lengths: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """Minus the log-probability per symbol of the candidate with the highest reward, (sentences,).

    Arguments as for minimum_risk.
    """
    best = rewards.masked_fill(~mask, -torch.inf).argmax(dim=1, keepdim=True)
    return -per_symbol(log_probabilities, lengths).gather(1, best).squeeze(1)


def per_symbol(log_probabilities: Tensor, lengths: Tensor) -> Tensor:
    """Log-probabilities of candidates divided by their lengths, which may be 0 where there is none."""
    return log_probabilities / lengths.clamp(min=1)


def scaled(reward: Tensor, drawn: Tensor, scale: str) -> Tensor:
    """Brings the rewards of each sentence's candidates to one scale for all sentences.

    Args:
        reward: (sentences, candidates).
        drawn: where there is a candidate, (sentences, candidates) bool.
        scale: one of choices.SCALES. "min-max" makes the lowest 0 and the highest 1, "std" makes the mean 0 and the
            standard deviation 1. Neither blows up a difference below SMALLEST_RANGE or SMALLEST_DEVIATION.

    Raises:
        ValueError: there is no such scale.
    """
    check_choice("scale", scale, SCALES)
    reward = reward.masked_fill(~drawn, 0.0)
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


class Treated(NamedTuple):
    """What without_unfinished makes of mask and rewards."""

    mask: Tensor
    rewards: Tensor


def without_unfinished(mask: Tensor, rewards: Tensor, unfinished: Tensor, treatment: str) -> Treated:
    """Mask and rewards after unfinished candidates were treated.

    Where no candidate of a sentence has ended, all have the same reward.

    Args:
        mask: where there is a candidate, (sentences, candidates) bool.
        rewards: (sentences, candidates).
        unfinished: the candidates that were cut, (sentences, candidates) bool.
        treatment: one of choices.UNFINISHED.
    """
    if treatment == "scored":
        return Treated(mask, rewards)
    finished = mask & ~unfinished
    any_finished = finished.any(dim=1, keepdim=True)
    lowest = torch.where(any_finished, rewards.masked_fill(~finished, torch.inf).amin(dim=1, keepdim=True), 0.0)
    rewards = torch.where(unfinished, lowest, rewards)
    if treatment == "left-out":
        mask = mask & ~(unfinished & any_finished)
    return Treated(mask, rewards)
