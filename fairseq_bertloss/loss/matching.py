"""Contextual embeddings, masks and weights -> cosines -> precision, recall and F1 by greedy matching.

one_to_one.py has the other matching, and MATCHINGS, which names both.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class BERTScore(NamedTuple):
    """Precision, recall and F1 of a batch, (batch,) each, fractions as in bert-score."""

    precision: Tensor
    recall: Tensor
    f1: Tensor

    def rescaled(self, baseline: tuple[float, float, float]) -> "BERTScore":
        """(score - b) / (1 - b), with a b for each field."""
        return BERTScore(*((score - b) / (1 - b) for score, b in zip(self, baseline, strict=True)))

    @classmethod
    def joined(cls, batches: Sequence["BERTScore"], order: Tensor) -> "BERTScore":
        """The scores of several batches as one, with sentence order[i] of all of them at i."""
        return cls(*(torch.cat(parts)[order] for parts in zip(*batches, strict=True)))


class Scores(NamedTuple):
    """Scores of the same sentences by two matchings."""

    reported: BERTScore  # bert-score's own, greedy: what is logged
    rewarded: BERTScore  # by the matching that the objective takes

    def rescaled(self, baseline: tuple[float, float, float]) -> "Scores":
        """Rescales both by the same baseline."""
        return Scores(self.reported.rescaled(baseline), self.rewarded.rescaled(baseline))


class Side(NamedTuple):
    """One side of a match: sentences as the language model understands them.

    A position counts as much as its weight, and padding has none.
    """

    embeddings: Tensor  # contextual, (batch, width, dim), of any scale
    weights: Tensor  # (batch, width), >= 0
    mask: Tensor  # (batch, width) bool, False for padding

    def check(self, name: str) -> None:
        """Raises ValueError, with the side's name, where shapes disagree."""
        if not self.embeddings.shape[:2] == self.weights.shape == self.mask.shape:
            raise ValueError(
                f"{name} embeddings {tuple(self.embeddings.shape)}, weights {tuple(self.weights.shape)} and "
                f"mask {tuple(self.mask.shape)} must agree on (batch, length)"
            )


class Comparison(NamedTuple):
    """Predictions beside their references, position by position: what a matching chooses from."""

    cosine: Tensor  # (batch, k, l), in float32 at least
    predicted_weights: Tensor  # (batch, k), >= 0
    reference_weights: Tensor  # (batch, l), >= 0
    predicted_mask: Tensor  # (batch, k) bool, False for padding
    reference_mask: Tensor  # (batch, l) bool

    @classmethod
    def of(cls, predicted: Side, reference: Side) -> "Comparison":
        """Compares each prediction with its reference; gradients flow to the predictions.

        Raises:
            ValueError: shapes disagree.
        """
        predicted.check("predicted")
        reference.check("reference")
        # Half precision would round the cosines; a cache's references are float32 whatever the predictions are.
        exact = torch.promote_types(predicted.embeddings.dtype, reference.embeddings.dtype)
        exact = torch.promote_types(exact, torch.float32)
        with torch.autocast(predicted.embeddings.device.type, enabled=False):
            rows = F.normalize(predicted.embeddings.to(exact), dim=-1)
            columns = F.normalize(reference.embeddings.to(exact), dim=-1)
            cosine = rows @ columns.transpose(1, 2)
        return cls(cosine, predicted.weights.to(exact), reference.weights.to(exact), predicted.mask, reference.mask)


def greedy_match(pairs: Comparison) -> BERTScore:
    """BERTScore of each pair by greedy matching (Zhang et al., 2020, section 3).

    Every position that the mask admits can be matched, also one of weight 0: bert-score matches words against [CLS]
    and [SEP] too.

    Returns:
        (batch,) each, in [-1, 1], in the cosines' precision; 0 where a side has no weight.
    """
    precision = _best_match(pairs.cosine, pairs.reference_mask) * pairs.predicted_weights
    recall = _best_match(pairs.cosine.transpose(1, 2), pairs.predicted_mask) * pairs.reference_weights
    return score_of_sums(precision.sum(dim=-1), recall.sum(dim=-1), pairs)


def score_of_sums(predicted: Tensor, reference: Tensor, pairs: Comparison) -> BERTScore:
    """Precision, recall and F1 of the matched cosines, summed by the weights of either side, (batch,) each."""
    weights = (pairs.predicted_weights.sum(dim=-1), pairs.reference_weights.sum(dim=-1))
    # What matches nothing but sentence markers would be worth something.
    empty = (weights[0] == 0) | (weights[1] == 0)
    precision, recall = (
        _mean(total, weight).masked_fill(empty, 0.0)
        for total, weight in zip((predicted, reference), weights, strict=True)
    )
    return BERTScore(precision, recall, _harmonic_mean(precision, recall))


def _best_match(cosine: Tensor, admitted: Tensor) -> Tensor:
    """The largest cosine of each row, (batch, k), among the columns admitted, (batch, l)."""
    # -inf, not a product with the mask: a padded 0 would beat a negative cosine.
    best = cosine.masked_fill(~admitted.unsqueeze(1), -torch.inf).amax(dim=-1)
    return best.masked_fill(~admitted.any(dim=-1, keepdim=True), 0.0)


def _mean(total: Tensor, weight: Tensor) -> Tensor:
    # The rounding of a normalised vector's length can carry a mean of ones past 1.
    return (total / weight.masked_fill(weight == 0, 1.0)).clamp(-1.0, 1.0)


def _harmonic_mean(precision: Tensor, recall: Tensor) -> Tensor:
    """2PR / (P + R) where P and R have one sign, else 0: between the signs it has no bound. NaN stays NaN."""
    opposed = precision * recall <= 0
    total = torch.where(opposed, 1.0, precision + recall)
    return torch.where(opposed, 0.0, 2 * precision * recall / total)
