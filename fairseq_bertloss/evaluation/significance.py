"""Whether one system is better than another, or was only lucky with the sentences or with the training seed.

    system = [bleu_evidence(bleu, hypotheses, references)]
    compare(system, [bleu_evidence(bleu, baseline_hypotheses, references)]).p_bootstrap

A side of a comparison is a list of runs of one system. docs/significance.md says what each p means.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from fairseq_bertloss.evaluation.evidence import Evidence

CHUNK = 2**21
"""Entries of the largest matrix (resamples, sentences) held at once: 16 MB."""

TIE = 1e-12
"""Scores that are closer than this, relative to their size, are equal but for rounding."""


@dataclass(frozen=True)
class SignificanceResult:
    """How a system differs from a baseline. Every p is one-sided: near 0 the system is better, near 1 worse.

    Attributes:
        difference: system less baseline, each the mean over its runs of the corpus score.
        interval: 95% confidence interval of the difference: percentiles of the bootstrap; where a side has
            several runs, that of the test over runs.
        p_bootstrap: of the paired bootstrap over sentences, these runs taken as they are.
        p_randomization: of paired approximate randomisation over sentences, these runs taken as they are.
        p_runs: of the test over sentences and runs, or pairs of runs; None where both sides have a single run. A side
            that has one is taken as it is: the conclusion is about that run, not about its training.
    """

    difference: float
    interval: tuple[float, float]
    p_bootstrap: float
    p_randomization: float
    p_runs: float | None


def compare(
    system: Sequence[Evidence],
    baseline: Sequence[Evidence],
    *,
    paired_runs: bool = False,
    resamples: int = 10_000,
    seed: int = 12345,
) -> SignificanceResult:
    """Tests whether a system is better than a baseline on one test set.

    Paired bootstrap: the share of resamples of the sentences in which the difference exceeds twice the observed
    one (Berg-Kirkpatrick et al., 2012, figure 1). Paired approximate randomisation: the share of random swaps of
    the two sides' outputs, sentence by sentence, in which it exceeds the observed one (Riezler and Maxwell,
    2005). In both ties count half and the observed difference is one of the outcomes, so that identical systems
    have p = 0.5. Over runs: see `_p_over_runs`.

    Args:
        system, baseline: their runs, all on the same sentences in the same order.
        paired_runs: run i of the one has the seed of run i of the other; a side with a single run is taken as it is.
        resamples: number of resamples, and of swaps.
        seed: the same seed gives the same result.

    Raises:
        ValueError: a side without runs, runs that do not belong together or have no partner, or no resamples.
    """
    _check([system, baseline], resamples)
    if paired_runs and len(system) != len(baseline) and 1 not in (len(system), len(baseline)):
        raise ValueError(f"runs are paired where there are as many of each side, not {len(system)} and {len(baseline)}")
    bootstrap, randomization = np.random.default_rng(seed).spawn(2)
    estimate = _estimate([system, baseline], resamples, bootstrap, paired_runs)
    swapped = _randomize(system, baseline, resamples, randomization)
    return SignificanceResult(
        estimate.value,
        _interval(estimate),
        _share_above(estimate.value, estimate.deviations, estimate.rounding),
        _share_above(estimate.value, swapped, estimate.rounding),
        _p_over_runs(estimate) if len(estimate.variances) > 1 else None,
    )


def interval(runs: Sequence[Evidence], *, resamples: int = 10_000, seed: int = 12345) -> tuple[float, float]:
    """95% confidence interval of a system's own score, the mean over its runs; arguments as of `compare`."""
    _check([runs], resamples)
    return _interval(_estimate([runs], resamples, np.random.default_rng(seed)))


def sacrebleu_p(
    bleu,
    system: Sequence[str],
    baseline: Sequence[str],
    references: Sequence[str],
    *more: Sequence[str | None],
    seed: int = 12345,
) -> dict[str, float]:
    """What sacrebleu's own paired tests say of BLEU, with its numbers of resamples (1,000) and swaps (10,000).

    They look for a difference in either direction, and give identical outputs the smallest p that they can.

    Args:
        bleu: a sacrebleu.metrics.BLEU.
        system, baseline, references: one sentence an entry.
        more: further references, None where a sentence has no more.
        seed: at least 1; sacrebleu takes 0 for none.

    Returns:
        p of its "bootstrap" and its "randomization".

    Raises:
        ValueError: lengths differ, or the seed is out of range.
    """
    from sacrebleu.significance import PairedTest

    if not len(system) == len(baseline) == len(references):
        raise ValueError(f"there are {len(system)} and {len(baseline)} hypotheses and {len(references)} references")
    if seed < 1:
        raise ValueError(f"the seed of sacrebleu's tests must be at least 1, not {seed}")
    p = {}
    for name, kind in (("bootstrap", "bs"), ("randomization", "ar")):
        systems = [("baseline", baseline), ("system", system)]
        test = PairedTest(systems, {"BLEU": bleu}, [references, *more], test_type=kind)
        test._seed = seed  # it would ask the environment, which is not ours to change
        p[name] = test()[1]["BLEU"][1].p_value
    return p


def _check(sides: Sequence[Sequence[Evidence]], resamples: int) -> None:
    if not all(sides):
        raise ValueError("each side of a comparison needs at least one run")
    if resamples < 1:
        raise ValueError(f"the number of resamples must be at least 1, not {resamples}")
    shapes = {run.statistics.shape for side in sides for run in side}
    if len(shapes) > 1:
        raise ValueError(f"runs differ in their (sentences, statistics): {' and '.join(map(str, sorted(shapes)))}")


class _Estimate(NamedTuple):
    """A side's score, or the difference of two; values closer than rounding are equal.

    deviations, (resamples,), are those of the bootstrap. Each of variances has its degrees of freedom beside it: first
    the sentences', then that of each side that has several runs, or where runs are paired that of their differences.
    """

    value: float
    deviations: np.ndarray
    variances: list[tuple[float, int]]
    rounding: float


def _estimate(
    sides: Sequence[Sequence[Evidence]], resamples: int, rng: np.random.Generator, paired_runs: bool = False
) -> _Estimate:
    scores = [np.array([run.score() for run in side]) for side in sides]
    signs = (1, -1)[: len(sides)]
    contrast = np.concatenate([np.full(len(side), sign / len(side)) for side, sign in zip(sides, signs, strict=True)])
    # No product with the contrast, whose order of addition is the BLAS's: exchanged sides change the sign alone.
    value = scores[0].mean() - sum(side.mean() for side in scores[1:])
    rounding = TIE * np.abs(np.concatenate(scores)).max()
    value = float(value) if abs(value) > rounding else 0.0
    runs = [run for side in sides for run in side]
    deviations = contrast @ _bootstrap(runs, resamples, rng) - value
    sentences = len(runs[0].statistics)
    sentence_variance = deviations.var() * sentences / (sentences - 1)
    in_pairs = paired_runs and min(map(len, scores)) > 1
    samples = [np.subtract(*scores)] if in_pairs else scores
    if len(sides) > 1 and _outputs(sides[0]) == _outputs(sides[1]):  # the seeds are the same ones, and add nothing
        samples = [np.zeros_like(sample) for sample in samples]
    run_variances = [(sample.var(ddof=1) / len(sample), len(sample) - 1) for sample in samples if len(sample) > 1]
    return _Estimate(value, deviations, [(sentence_variance, sentences - 1), *run_variances], rounding)


def _outputs(side: Sequence[Evidence]) -> list[bytes]:
    """What says whether two sides have the same runs, in whatever order."""
    return sorted(run.statistics.tobytes() for run in side)


def _bootstrap(runs: Sequence[Evidence], resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Scores of each run, (runs, resamples); a resample has the same sentences for all of them."""
    sentences = len(runs[0].statistics)
    parts = []
    for size in _chunks(resamples, sentences):
        drawn = rng.integers(sentences, size=(size, sentences)) + sentences * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)
        parts.append([run.aggregate(counts @ run.statistics) for run in runs])
    return np.concatenate(parts, axis=1)


def _randomize(
    system: Sequence[Evidence], baseline: Sequence[Evidence], resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Differences, (resamples,), after the outputs of each sentence have changed sides, or not, by a coin.

    The difference is the mean over all pairs of a run of each side, and all pairs are swapped by the same coins:
    all runs of a side go together, and the sides need not have as many.
    """
    sentences = len(system[0].statistics)
    parts = []
    for size in _chunks(resamples, sentences):
        coins = rng.integers(2, size=(size, sentences), dtype=np.int8).astype(np.float64)
        differences = []
        for run, other in product(system, baseline):
            moved = coins @ (other.statistics - run.statistics)
            mine = run.statistics.sum(axis=0) + moved
            theirs = other.statistics.sum(axis=0) - moved
            differences.append(run.aggregate(mine) - other.aggregate(theirs))
        parts.append(np.mean(differences, axis=0))
    return np.concatenate(parts)


def _chunks(resamples: int, sentences: int) -> Iterator[int]:
    """Numbers of resamples to hold at once."""
    size = max(1, CHUNK // sentences)
    for start in range(0, resamples, size):
        yield min(size, resamples - start)


def _share_above(observed: float, values: np.ndarray, tie: float) -> float:
    """Share of the values, and the observed one, that are above the observed one; ties count half."""
    above = np.count_nonzero(values > observed + tie)
    ties = 1 + np.count_nonzero(np.abs(values - observed) <= tie)
    return float((above + ties / 2) / (1 + len(values)))


def _half_width(p: float, variances: Sequence[tuple[float, int]]) -> float:
    """How far from 0 a difference must be for a one-sided p, whatever the ratios of the variances (Banerjee, 1960).

    Each variance comes with a quantile of its own degrees of freedom: sqrt(sum of t(p, degrees)^2 * variance).
    """
    from scipy.stats import t

    return sum(t.isf(p, degrees) ** 2 * variance for variance, degrees in variances) ** 0.5


def _p_over_runs(estimate: _Estimate) -> float:
    """The one-sided p at which the difference is `_half_width` away from 0."""
    from scipy.optimize import brentq

    def excess(exponent: float) -> float:
        return _half_width(10**exponent, estimate.variances) - abs(estimate.value)

    if estimate.value == 0:
        return 0.5
    smallest = -50.0
    largest = np.log10(0.5)
    p = 10 ** (brentq(excess, smallest, largest) if excess(smallest) > 0 else smallest)
    return p if estimate.value > 0 else 1 - p


def _interval(estimate: _Estimate) -> tuple[float, float]:
    half = _half_width(0.025, estimate.variances)
    low, high = (-half, half) if len(estimate.variances) > 1 else np.quantile(estimate.deviations, [0.025, 0.975])
    # Equal outputs deviate by rounding alone, which is no uncertainty.
    return tuple(float(estimate.value + (end if abs(end) > estimate.rounding else 0)) for end in (low, high))
