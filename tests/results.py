"""Results as `bertloss compare`, `entropy` and `curve` write them, made up but whole, for tests of the report."""

import math
import statistics
from dataclasses import replace
from pathlib import Path

from fairseq_bertloss.evaluation import results
from fairseq_bertloss.evaluation.results import (
    HEADLINE,
    METRICS,
    Comparison,
    Curve,
    Entropy,
    Point,
    Run,
    Similarity,
    System,
)
from fairseq_bertloss.evaluation.results import Test as Difference  # pytest would collect a Test

REFERENCES = ["a cat", "the dog runs home", "two men sit on a roof", "it is", "a hat , a coat and a red scarf"] * 4
OUTPUTS = ["a cat", "the dog runs", "two men sat on the roof", "it was", "a hat and a red coat"] * 4
SIGNATURES = {"BLEU": "case:lc|version:2.6.0", "F_BERT": "model_L5_no-idf", "tests": "1000 resamples, seed 7"}
HEALTHY = {"length_ratio": 0.95, "distinct": 25.0, "empty": 0, "repeated": 5.0}

SICK = {"length_ratio": 0.849, "distinct": 19.9, "empty": 1, "repeated": 6.1}
"""Each just beyond what is no sign of a collapse beside HEALTHY."""


def run(outputs: list[str], bleu: float, gain: float = 0.0, file: str = "test.out", **corpus: float) -> Run:
    """A run whose sentences, but for every fifth, score `gain` more than those of a run without gain."""
    sentences = {
        metric: [30.0 + 5 * (i % 7) + base + (gain * (i % 5 - 1.5) if i % 5 else 0) for i in range(len(outputs))]
        for base, metric in enumerate(HEADLINE)
    }
    means = {metric: statistics.fmean(scores) for metric, scores in sentences.items()}
    return Run(file, outputs, dict.fromkeys(METRICS, 50.0) | means | HEALTHY | {"bleu": bleu} | corpus, sentences)


def system(name: str, *bleu: float, outputs: list[str] = OUTPUTS, gain: float = 0.0, **corpus: float) -> System:
    """A system with a run for each BLEU."""
    runs = [run(outputs, score, gain, f"{name}-{i}.out", **corpus) for i, score in enumerate(bleu)]
    return System(name, runs, {metric: [10.0 + i, 90.0 + i] for i, metric in enumerate(HEADLINE)})


def difference(ours: System, theirs: System, metric: str, p: float) -> Difference:
    """A test with a given p, over runs where there are several."""
    value = ours.mean(metric) - theirs.mean(metric)
    several = len(ours.runs) + len(theirs.runs) > 2
    p_bootstrap, p_runs = (0.4321, p) if several else (p, None)
    packages = {"bootstrap": 0.0625} if metric == "bleu" and not several else {}
    return Difference(
        ours.name, theirs.name, metric, value, (value - 1.5, value + 1.5), p_bootstrap, p, p_runs, packages
    )


def comparison(*systems: System, control: str | None = "control", p: dict[tuple[str, str, str], float] | None = None):
    """A comparison with the first system; every p is 0.4 but those given by (system, against, metric)."""
    if not systems:
        systems = (system("baseline", 30.0), system("control", 31.5), system("tuned", 33.25, gain=2.0))
    baseline, *others = systems
    pairs = [(ours, theirs) for theirs in systems if theirs.name in (baseline.name, control) for ours in others]
    tests = [
        difference(ours, theirs, metric, (p or {}).get((ours.name, theirs.name, metric), 0.4))
        for ours, theirs in pairs
        if ours is not theirs
        for metric in HEADLINE
    ]
    similarities = [
        similarity(name.name, ["a", "cat"], ["the", "cat", "sits"]) for name in systems[:: len(others) or 1]
    ]
    return Comparison(
        "corpus/test.en", REFERENCES, baseline.name, control, list(systems), tests, 0.01, SIGNATURES, similarities
    )


def similarity(name: str, hypothesis: list[str], reference: list[str]) -> Similarity:
    """Cosines that are largest on the diagonal."""
    cosine = [[math.cos(i - j) for j in range(len(reference))] for i in range(len(hypothesis))]
    return Similarity(name, 0, hypothesis, reference, cosine)


def entropies(*names: str) -> list[Entropy]:
    """Distributions that fall off from zero, each system's sooner than the one's before."""
    histograms = [[int(4000 * math.exp(-(0.01 + 0.01 * k) * i)) for i in range(800)] for k in range(len(names))]
    return [
        Entropy(name, "test", 4000, 0.01, counts, 0.75, 0.5) for name, counts in zip(names, histograms, strict=True)
    ]


def curves(*names: str) -> list[Curve]:
    """Scores at five checkpoints."""
    return [
        Curve(
            name, "valid", [Point(u, dict.fromkeys(HEADLINE, 30 + k * u / 50)) for u in range(0, 101, 25)], [40, 80], {}
        )
        for k, name in enumerate(names)
    ]


def write(folder: Path, whole: Comparison, distributions: list[Entropy] = (), lines: list[Curve] = ()) -> str:
    """Writes what there is into a folder for `bertloss report --runs`."""
    for name, parts in (("comparison", [whole]), ("entropy", distributions), ("curve", lines)):
        if parts:
            results.write(str(folder / f"{name}.json"), parts)
    return str(folder)


def with_outputs(whole: Comparison, name: str, outputs: list[str]) -> Comparison:
    """The comparison, but with other translations of one system."""
    systems = [
        replace(part, runs=[replace(run, hypotheses=outputs) for run in part.runs]) if part.name == name else part
        for part in whole.systems
    ]
    return replace(whole, systems=systems)
