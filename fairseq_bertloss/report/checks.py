"""Checks that results from a file can be shown: a file that was edited or cut may hold anything."""

import math
from collections.abc import Iterator
from dataclasses import asdict
from numbers import Real

from fairseq_bertloss.evaluation.results import HEADLINE, METRICS, Comparison, Curve, Entropy, Run, Similarity


def check(path: str, results: list) -> None:
    """Makes sure that results of one kind are whole, fit together and are finite.

    Raises:
        ValueError: they are not; names the file and the first fault.
    """
    for result in results:
        try:
            fault = next(FAULTS[type(result)](result), None) or next(_not_finite(asdict(result)), None)
        except (TypeError, AttributeError) as error:
            fault = f"a value is of the wrong kind ({error})"
        if fault:
            raise ValueError(f"{path} cannot be shown: {fault}; write it again with `bertloss`")


def _comparison(comparison: Comparison) -> Iterator[str]:
    names = [system.name for system in comparison.systems]
    if len(set(names)) < len(names):
        yield "two systems have the same name"
    roles = comparison.baseline, comparison.control, *comparison.weaker_controls
    for name in (*roles, *(test.system for test in comparison.tests)):
        if name is not None and name not in names:
            yield f"it has no system {name!r}"
    for test in comparison.tests:
        if test.metric not in METRICS or test.against not in names:
            yield f"{test.system!r} is tested for {test.metric!r} against {test.against!r}, one of which is unknown"
    if not comparison.references:
        yield "it has no sentences"
    for system in comparison.systems:
        if not system.runs:
            yield f"system {system.name!r} has no runs"
        for run in system.runs:
            yield from _run(run, len(comparison.references))
    if not all(isinstance(path, str) for path in (comparison.reference_file, *comparison.further_reference_files)):
        yield "a file of references has no name"
    for name in ("paired_runs", "by_character"):
        if not isinstance(getattr(comparison, name), bool):
            yield f"{name} is neither true nor false: {getattr(comparison, name)!r}"
    for similarity in comparison.similarities:
        yield from _similarity(similarity)


def _run(run: Run, sentences: int) -> Iterator[str]:
    if not METRICS.keys() <= run.corpus.keys():
        yield f"{run.file} lacks a metric"
    if not all(
        isinstance(score, Real) for scores in (run.corpus.values(), *run.sentences.values()) for score in scores
    ):
        yield f"{run.file} has a score that is no number"
    if {len(run.hypotheses), *(len(run.sentences.get(metric, ())) for metric in HEADLINE)} != {sentences}:
        yield f"{run.file} does not have {sentences} translations and as many scores"


def _similarity(similarity: Similarity) -> Iterator[str]:
    widths = [len(similarity.reference_tokens)] * len(similarity.hypothesis_tokens)
    if not widths or not widths[0] or [len(row) for row in similarity.cosine] != widths:
        yield f"the similarities of {similarity.system!r} are not a row for each token of the hypothesis"


def _entropy(entropy: Entropy) -> Iterator[str]:
    if not isinstance(entropy.system, str) or not all(isinstance(count, int) for count in entropy.counts):
        yield f"the histogram of {entropy.system!r} is not one of counts"
        return
    if not sum(entropy.counts) > 0 or min(entropy.counts) < 0 or not entropy.bin_width > 0 or entropy.vocabulary < 1:
        yield f"the histogram of {entropy.system!r} is empty or negative"


def _curve(curve: Curve) -> Iterator[str]:
    if not isinstance(curve.system, str) or not all(isinstance(end, Real) for end in curve.epoch_ends):
        yield f"the curve of {curve.system!r} has an end of an epoch that is no number, or no name"
    if not curve.points:
        yield f"{curve.system!r} has no checkpoints"
    for point in curve.points:
        numbers = [point.updates, *(point.scores.get(metric) for metric in HEADLINE)]
        if not all(isinstance(number, Real) for number in numbers):
            yield f"{curve.system!r} lacks a score, or the updates are no number, at {point.updates!r} updates"


def _not_finite(value: object) -> Iterator[str]:
    """The numbers in nested dicts and lists that are infinite or NaN."""
    if isinstance(value, float):
        if not math.isfinite(value):
            yield f"a number is {value}"
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _not_finite(part)


FAULTS = {Comparison: _comparison, Entropy: _entropy, Curve: _curve}
