"""Contextual embeddings, masks and weights -> precision, recall and F1 by greedy matching."""

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


def greedy_cosine_match(
    predicted: Tensor,
    reference: Tensor,
    predicted_weights: Tensor,
    reference_weights: Tensor,
    predicted_mask: Tensor,
    reference_mask: Tensor,
) -> BERTScore:
    """BERTScore of each pair by greedy matching (Zhang et al., 2020, section 3).

    A position counts as much as its weight, and every position that the mask admits can be matched,
    also one of weight 0: bert-score matches words against [CLS] and [SEP] too.

    Args:
        predicted: contextual embeddings, (batch, k, dim), any scale; gradients flow.
        reference: contextual embeddings, (batch, l, dim).
        predicted_weights: importance of each position, (batch, k), >= 0.
        reference_weights: the same for the reference, (batch, l).
        predicted_mask: (batch, k) bool, False for padding, whose weight must be 0.
        reference_mask: (batch, l) bool.

    Returns:
        (batch,) each, in [-1, 1], in float32 at least; 0 where a side has no weight.

    Raises:
        ValueError: shapes disagree.
    """
    _check_shapes(predicted, predicted_weights, predicted_mask, "predicted")
    _check_shapes(reference, reference_weights, reference_mask, "reference")
    # Half precision would round the cosines; a cache's references are float32 whatever the predictions are.
    exact = torch.promote_types(torch.promote_types(predicted.dtype, reference.dtype), torch.float32)
    with torch.autocast(predicted.device.type, enabled=False):
        predicted, reference = (F.normalize(side.to(exact), dim=-1) for side in (predicted, reference))
        cosine = predicted @ reference.transpose(1, 2)  # (batch, k, l)
    precision = _weighted_mean(_best_match(cosine, reference_mask), predicted_weights)
    recall = _weighted_mean(_best_match(cosine.transpose(1, 2), predicted_mask), reference_weights)
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


def _weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    weights = weights.to(values.dtype)
    total = weights.sum(dim=-1)
    mean = (values * weights).sum(dim=-1) / total.masked_fill(total == 0, 1.0)
    # The rounding of a normalised vector's length can carry a mean of ones past 1.
    return mean.clamp(-1.0, 1.0)


def _harmonic_mean(precision: Tensor, recall: Tensor) -> Tensor:
    """2PR / (P + R) where P and R have one sign, else 0: between the signs it has no bound. NaN stays NaN."""
    opposed = precision * recall <= 0
    total = torch.where(opposed, 1.0, precision + recall)
    return torch.where(opposed, 0.0, 2 * precision * recall / total)
