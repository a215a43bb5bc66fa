"""Precision, recall and F1 by one-to-one matching: no position is matched twice.

Greedy matching pays for a word as often as it is said, since each repetition finds its best partner again. Here a
partner that is taken is taken, so that what a translation repeats is matched with whatever is left.
"""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from fairseq_bertloss.loss.matching import BERTScore, Comparison, greedy_match, score_of_sums


def one_to_one_match(pairs: Comparison) -> BERTScore:
    """Scores of each pair by the matching that has the largest sum of cosines.

    With weights 1, every position of the side that has fewer is matched with one of the other side (optimal
    assignment): precision is the sum divided by the predicted positions, recall by the reference's. A weight in general
    says how much of a position is to be matched, and as much is matched as the lighter side has (optimal partial
    transport). Positions of weight 0 take no part.

    The matching is a constant: gradients flow through the cosines that it picks, not through the weights.

    Returns:
        (batch,) each, in [-1, 1], in the cosines' precision; 0 where a side has no weight, NaN where a cosine between
        positions that count is not finite.
    """
    pairs = pairs._replace(
        predicted_weights=pairs.predicted_weights.detach(), reference_weights=pairs.reference_weights.detach()
    )
    amounts = _amounts(pairs)
    # Not a product alone: 0 times a padded NaN would be one.
    matched = (pairs.cosine * amounts).masked_fill(amounts == 0, 0.0).sum(dim=(1, 2))
    return score_of_sums(matched, matched, pairs)


MATCHINGS = {"greedy": greedy_match, "one-to-one": one_to_one_match}
"""What an objective may be computed by."""


def _amounts(pairs: Comparison) -> Tensor:
    """How much of each predicted position is matched with each of the reference, (batch, k, l)."""
    cosines = pairs.cosine.detach().cpu().numpy()
    predicted_weights = pairs.predicted_weights.cpu().numpy()
    reference_weights = pairs.reference_weights.cpu().numpy()
    amounts = np.zeros_like(cosines)
    sentences = zip(amounts, cosines, predicted_weights, reference_weights, strict=True)
    for amount, cosine, predicted, reference in sentences:
        counted = np.ix_(predicted > 0, reference > 0)
        amount[counted] = _optimum(cosine[counted], predicted[predicted > 0], reference[reference > 0])
    return torch.from_numpy(amounts).to(pairs.cosine.device, non_blocking=True)


def _optimum(cosine: np.ndarray, predicted: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The amounts, (k, l), that are worth most, of positions with positive weights (k,) and (l,)."""
    if not np.isfinite(cosine).all():
        return np.full_like(cosine, np.nan)
    if not cosine.size:
        return cosine
    all_alike = (predicted == predicted[0]).all() and (reference == predicted[0]).all()
    if all_alike:
        amount = np.zeros_like(cosine)
        amount[linear_sum_assignment(cosine, maximize=True)] = predicted[0]
        return amount
    return _transport(cosine.astype(np.float64), predicted.astype(np.float64), reference.astype(np.float64))


def _transport(cosine: np.ndarray, predicted: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The same as _optimum: a further position of either side takes, for nothing, the surplus of the other side."""
    import ot  # slow to import, and for idf weights alone

    k, l = cosine.shape
    excess = predicted.sum() - reference.sum()
    cost = np.zeros((k + 1, l + 1))
    cost[:k, :l] = -cosine
    predicted = np.append(predicted, max(-excess, 0.0))
    reference = np.append(reference, max(excess, 0.0))
    return ot.emd(predicted, reference, cost, center_dual=False, check_marginals=False)[:k, :l]
