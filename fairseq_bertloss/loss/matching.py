"""Contextual embeddings, masks and weights -> cosines -> precision, recall and F1 by greedy matching."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class BERTScore(NamedTuple):
    """Precision, recall and F1 of a batch, (batch,) each."""

    precision: Tensor
    recall: Tensor
    f1: Tensor

    def rescaled(self, baseline: tuple[float, float, float]) -> "BERTScore":
        """(score - b) / (1 - b), with a b for each field."""
        return BERTScore(*((score - b) / (1 - b) for score, b in zip(self, baseline)))


class Scores(NamedTuple):
    """Of the same sentences by two matchings."""

    reported: BERTScore  # bert-score's own, greedy: what is logged
    rewarded: BERTScore  # by the matching that the objective takes

    def rescaled(self, baseline: tuple[float, float, float]) -> "Scores":
        """Both alike."""
        return Scores(*(score.rescaled(baseline) for score in self))


class Comparison(NamedTuple):
    """Predictions beside their references, position by position: what a matching chooses from.

    A position counts as much as its weight, and padding has none.
    """

    cosine: Tensor  # (batch, k, l), in float32 at least
    predicted_weights: Tensor  # (batch, k), >= 0
    reference_weights: Tensor  # (batch, l), >= 0
    predicted_mask: Tensor  # (batch, k) bool, False for padding
    reference_mask: Tensor  # (batch, l) bool

    @classmethod
    def of(
        cls,
        predicted: Tensor,
        reference: Tensor,
        predicted_weights: Tensor,
        reference_weights: Tensor,
        predicted_mask: Tensor,
        reference_mask: Tensor,
    ) -> "Comparison":
        """From contextual embeddings of any scale.

        Args:
            predicted: (batch, k, dim); gradients flow.
            reference: (batch, l, dim).
            predicted_weights, reference_weights, predicted_mask, reference_mask: as above.

        Raises:
            ValueError: shapes disagree.
        """
        _check_shapes(predicted, predicted_weights, predicted_mask, "predicted")
        _check_shapes(reference, reference_weights, reference_mask, "reference")
        # Half precision would round the cosines; a cache's references are float32 whatever the predictions are.
        exact = torch.promote_types(torch.promote_types(predicted.dtype, reference.dtype), torch.float32)
        with torch.autocast(predicted.device.type, enabled=False):
            predicted, reference = (F.normalize(side.to(exact), dim=-1) for side in (predicted, reference))
            cosine = predicted @ reference.transpose(1, 2)
        weights = predicted_weights.to(exact), reference_weights.to(exact)
        return cls(cosine, *weights, predicted_mask, reference_mask)


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
    precision, recall = _mean(predicted, pairs.predicted_weights), _mean(reference, pairs.reference_weights)
    return BERTScore(precision, recall, _harmonic_mean(precision, recall))


def _check_shapes(embeddings: Tensor, weights: Tensor, mask: Tensor, side: str) -> None:
    if not embeddings.shape[:2] == weights.shape == mask.shape:
        raise ValueError(
            f"{side} embeddings {tuple(embeddings.shape)}, weights {tuple(weights.shape)} and "
            f"mask {tuple(mask.shape)} must agree on (batch, length)"
        )


def _best_match(cosine: Tensor, admitted: Tensor) -> Tensor:
    """The largest cosine of each row, (batch, rows), among the columns admitted, (batch, columns)."""
    # -inf, not a product with the mask: a padded 0 would beat a negative cosine.
    best = cosine.masked_fill(~admitted.unsqueeze(1), -torch.inf).amax(dim=-1)
    return best.masked_fill(~admitted.any(dim=-1, keepdim=True), 0.0)


def _mean(total: Tensor, weights: Tensor) -> Tensor:
    weight = weights.sum(dim=-1)
    # The rounding of a normalised vector's length can carry a mean of ones past 1.
    return (total / weight.masked_fill(weight == 0, 1.0)).clamp(-1.0, 1.0)


def _harmonic_mean(precision: Tensor, recall: Tensor) -> Tensor:
    """2PR / (P + R) where P and R have one sign, else 0: between the signs it has no bound. NaN stays NaN."""
    opposed = precision * recall <= 0
    total = torch.where(opposed, 1.0, precision + recall)
    return torch.where(opposed, 0.0, 2 * precision * recall / total)
