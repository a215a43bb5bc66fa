"""What the evaluation commands hand to each other as JSON files: scores, tests, entropies and curves.

    bertloss compare ... --output DIR/comparison.json
    bertloss entropy ... --output DIR/entropy.json
    bertloss curve ... --output DIR/curve.json
    bertloss report --runs DIR --output report.html

Scores are in percent, as papers print them.
"""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

from fairseq_bertloss.files import whole


class Metric(NamedTuple):
    """A column: its title, digits after the point, and which way is better (0: neither)."""

    title: str
    digits: int = 2
    better: int = 1


METRICS = {
    "bleu": Metric("BLEU"),
    "f_bert": Metric("F_BERT"),
    "moverscore": Metric("MoverScore"),
    "chrf": Metric("chrF"),
    "ter": Metric("TER", better=-1),
    "p_bert": Metric("P_BERT"),
    "r_bert": Metric("R_BERT"),
    "length_ratio": Metric("length ratio", 3, 0),
    "distinct": Metric("distinct", 1),
    "empty": Metric("empty", 0, -1),
    "repeated": Metric("repeated", 1, -1),
}
"""Every figure of a system, by the name that it has in JSON."""

HEADLINE = ("bleu", "f_bert", "moverscore")
"""The metrics of the paper's table, which are also tested for significance and kept for each sentence."""


@dataclass(frozen=True)
class Run:
    """One output of a system on the test set.

    corpus has a figure for each of METRICS; sentences has a list for each of HEADLINE (BLEU smoothed and of
    effective order, since a sentence may lack 4-grams).
    """

    file: str
    hypotheses: list[str]
    corpus: dict[str, float]
    sentences: dict[str, list[float]]


@dataclass(frozen=True)
class System:
    """A row of the table: the runs of one system, which differ by their training seed alone.

    intervals has the 95% confidence interval of the mean of each of HEADLINE, once `bertloss compare` has found it.
    """

    name: str
    runs: list[Run]
    intervals: dict[str, list[float]] = field(default_factory=dict)

    def mean(self, metric: str) -> float:
        """Mean of a corpus figure over the runs."""
        return statistics.fmean(run.corpus[metric] for run in self.runs)

    def deviation(self, metric: str) -> float | None:
        """Standard deviation over the runs (of a sample); None for a single run."""
        return statistics.stdev(run.corpus[metric] for run in self.runs) if len(self.runs) > 1 else None


@dataclass(frozen=True)
class SignificanceTest:
    """How a system differs from another in one metric, and whether that could be chance.

    Every p is that of the one-sided hypothesis "not better", so one near 1 says that the system is worse. Where both
    systems have a single run, p_runs is None, and p_sacrebleu has the p of sacrebleu's own paired tests of BLEU by
    name, which look in both directions; else p_sacrebleu is empty.
    """

    system: str
    against: str
    metric: str
    difference: float
    interval: tuple[float, float]
    p_bootstrap: float
    p_randomization: float
    p_runs: float | None = None
    p_sacrebleu: dict[str, float] = field(default_factory=dict)

    @property
    def p(self) -> float:
        """The p that decides: over runs where there are several, else the more cautious of the other two.

        The bootstrap finds too much in a few dozen sentences, and a randomisation in a handful that differ.
        """
        if self.p_runs is not None:
            return self.p_runs
        both = self.p_bootstrap, self.p_randomization
        return max(both) if self.difference > 0 else min(both)

    def mark(self, level: float) -> str:
        """A dagger for significantly better, a double dagger for significantly worse."""
        if self.p < level:
            return "†"
        if self.p > 1 - level:
            return "‡"
        return ""


@dataclass(frozen=True)
class Similarity:
    """Cosines of the contextual embeddings of one hypothesis and its reference, as BERTScore matches them."""

    system: str
    sentence: int
    hypothesis_tokens: list[str]
    reference_tokens: list[str]
    cosine: list[list[float]]


@dataclass(frozen=True)
class Comparison:
    """What `bertloss compare` found: systems on one test set, the first of them the baseline.

    by_character says that the target language has no spaces, so that characters are counted in the place of words. Of
    several controls, control is the strongest in F_BERT and weaker_controls has the others. Of several references a
    sentence, references has the first.
    """

    reference_file: str
    references: list[str]
    baseline: str
    control: str | None
    systems: list[System]
    tests: list[SignificanceTest]
    level: float
    signatures: dict[str, str]
    similarities: list[Similarity]
    paired_runs: bool = False
    by_character: bool = False
    weaker_controls: list[str] = field(default_factory=list)
    further_reference_files: list[str] = field(default_factory=list)

    @property
    def fine_tuned(self) -> list[System]:
        """The systems that are neither the baseline nor a control."""
        others = (self.baseline, self.control, *self.weaker_controls)
        return [system for system in self.systems if system.name not in others]

    @property
    def yardstick(self) -> System:
        """What fine-tuned systems are judged by: the control, or the baseline where there is none."""
        return self.system(self.control or self.baseline)

    def system(self, name: str) -> System:
        """The system of a name."""
        return next(system for system in self.systems if system.name == name)

    def test(self, system: str, against: str | None, metric: str) -> SignificanceTest | None:
        """The test of a system against another, None where it was not made."""
        key = (system, against, metric)
        return next((test for test in self.tests if (test.system, test.against, test.metric) == key), None)


@dataclass(frozen=True)
class Entropy:
    """Distribution of the entropy (nats) of a system's probabilities while it makes its own output.

    counts is a histogram over all positions: counts[i] of them lie in [i, i + 1) times bin_width.
    """

    system: str
    subset: str
    vocabulary: int
    bin_width: float
    counts: list[int]
    mean: float
    median: float


@dataclass(frozen=True)
class Point:
    """A checkpoint of a fine-tuning: its number of updates (0: the baseline) and its scores by HEADLINE."""

    updates: int
    scores: dict[str, float]


@dataclass(frozen=True)
class Curve:
    """How a system's scores move while it is fine-tuned; epoch_ends holds the updates at which epochs ended."""

    system: str
    subset: str
    points: list[Point]
    epoch_ends: list[float]
    signatures: dict[str, str]


def write(path: str, results: Sequence) -> None:
    """Writes results of one of the classes above; the file appears whole or not at all.

    Raises:
        ValueError: a number is not finite.
    """
    try:
        text = to_json(results)
    except ValueError as error:
        raise ValueError(f"{path} is not written: {error}") from error
    with whole(path) as (partial,):
        partial.write_text(text + "\n", encoding="utf-8")


def to_json(results: Sequence) -> str:
    """Results of one of the classes above as one line.

    Raises:
        ValueError: a number is not finite.
    """
    kind = type(results[0]).__name__
    try:
        return json.dumps({"bertloss": kind, "results": list(map(_content, results))}, allow_nan=False)
    except ValueError as error:
        raise ValueError("a score is not a finite number") from error


def _content(result) -> dict:
    """What is written of a result; with one file of references nothing about further ones."""
    return {name: value for name, value in asdict(result).items() if name != "further_reference_files" or value}


def read(path: str, kind: type) -> list:
    """Reads what `write` wrote.

    Raises:
        ValueError: the file is missing, or holds something else.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    if not isinstance(content, dict) or content.get("bertloss") != kind.__name__:
        raise ValueError(f"{path} holds no results of the kind {kind.__name__!r}; was it written by `bertloss`?")
    try:
        return [PARTS[kind](result) for result in content["results"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged or of another version of bertloss: {error!r}; write it again") from error


def _comparison(content: dict) -> Comparison:
    systems = [System(s["name"], [Run(**run) for run in s["runs"]], s["intervals"]) for s in content["systems"]]
    tests = [SignificanceTest(**test | {"interval": tuple(test["interval"])}) for test in content["tests"]]
    similarities = [Similarity(**similarity) for similarity in content["similarities"]]
    return Comparison(**content | {"systems": systems, "tests": tests, "similarities": similarities})


PARTS = {
    Comparison: _comparison,
    Entropy: lambda content: Entropy(**content),
    Curve: lambda content: Curve(**content | {"points": [Point(**point) for point in content["points"]]}),
}
"""The function that builds results of each kind from JSON."""
