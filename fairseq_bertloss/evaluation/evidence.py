"""What significance tests resample: a metric's figures of each sentence, and how their sums become the score."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np


@dataclass(frozen=True, eq=False)
class Evidence:
    """One output of a system under one metric, higher being better, in a form that can be resampled by sentence.

    Attributes:
        statistics: (sentences, k), float64; what the metric adds up over sentences.
        aggregate: statistics summed over sentences, (..., k), to the corpus score, (...).

    Raises:
        ValueError: not that shape, fewer than two sentences, or not finite.
    """

    statistics: np.ndarray
    aggregate: Callable[[np.ndarray], np.ndarray]

    def __post_init__(self):
        if self.statistics.ndim != 2 or len(self.statistics) < 2:
            raise ValueError(f"statistics must be (at least two sentences, k), not of shape {self.statistics.shape}")
        broken = np.flatnonzero(~np.isfinite(self.statistics).all(axis=1))
        if broken.size:
            raise ValueError(f"the score of sentence {broken[0] + 1} is not a finite number")

    def score(self) -> float:
        """The corpus score."""
        return float(self.aggregate(self.statistics.sum(axis=0)))


def mean_evidence(scores: Sequence[float]) -> Evidence:
    """Evidence for a metric that is the mean of its sentences' scores, as F_BERT and MoverScore are."""
    scores = np.asarray(scores, dtype=np.float64)
    return Evidence(np.stack([scores, np.ones_like(scores)], axis=-1), lambda sums: sums[..., 0] / sums[..., 1])


def bleu_evidence(bleu, hypotheses: Sequence[str], references: Sequence[str], *more: Sequence[str | None]) -> Evidence:
    """Evidence for corpus BLEU (Papineni et al., 2002): lengths and n-gram counts of each sentence.

    Args:
        bleu: a sacrebleu.metrics.BLEU that smooths by 'exp' or not at all.
        hypotheses, references: one a sentence.
        more: further references, None where a sentence has no more.

    Raises:
        ValueError: not as many hypotheses as references, or an option of bleu that is not supported.
    """
    if len(hypotheses) != len(references):
        raise ValueError(f"there are {len(hypotheses)} hypotheses and {len(references)} references")
    if bleu.smooth_method not in ("exp", "none") or bleu.effective_order:
        raise ValueError("significance of BLEU needs smooth_method 'exp' or 'none', and no effective_order")
    rows = zip(hypotheses, references, *more, strict=True)
    scores = [bleu.corpus_score([hypothesis], [[reference] for reference in own]) for hypothesis, *own in rows]
    statistics = [[score.sys_len, score.ref_len, *score.counts, *score.totals] for score in scores]
    aggregate = partial(bleu_from_statistics, smooth_method=bleu.smooth_method)
    return Evidence(np.array(statistics, dtype=np.float64), aggregate)


def bleu_from_statistics(sums: np.ndarray, smooth_method: str = "exp") -> np.ndarray:
    """BLEU in percent, equal to sacrebleu's.

    Args:
        sums: (..., 2 + 2 * orders): length of the hypotheses, length of the references, n-grams matched of each
            order, n-grams in the hypotheses of each order.
        smooth_method: 'exp': orders without a match count half a match, a quarter and so on (Chen and Cherry,
            2014, smoothing 3); 'none': BLEU is 0 where an order has no match.
    """
    orders = (sums.shape[-1] - 2) // 2
    length = sums[..., 0]
    reference_length = sums[..., 1]
    matched = sums[..., 2 : 2 + orders]
    total = sums[..., 2 + orders :]
    smoothed = matched
    if smooth_method == "exp":
        smoothed = np.where(matched > 0, matched, 0.5 ** np.cumsum(matched == 0, axis=-1))
    precision = np.prod(smoothed / np.maximum(total, 1), axis=-1) ** (1 / orders)
    brevity_penalty = np.exp(np.minimum(0, 1 - reference_length / np.maximum(length, 1)))
    defined = matched.any(axis=-1) & total.all(axis=-1)
    return np.where(defined, 100 * brevity_penalty * precision, 0)
