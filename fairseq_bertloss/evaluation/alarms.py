"""Signs that a system has collapsed: text that is too short or too long, all alike, empty or repeating itself."""

from collections.abc import Iterator

from fairseq_bertloss.evaluation.health import health
from fairseq_bertloss.evaluation.results import Comparison, Run, System

LENGTH_RATIOS = 0.8, 1.2
LEAST_DISTINCT = 0.8
"""Share of the baseline's distinct outputs."""

LEAST_DISTINCT_OF_REFERENCES = 0.5
"""Share of the distinct references, which the baseline is held against too."""

MOST_REPEATED = 2.0, 1.0
"""So many times the baseline's repeated bigrams, and percentage points more."""

MOST_REPEATED_OVER_REFERENCES = 5.0
"""Percentage points of repeated bigrams above the references', which the baseline is held against too."""


LEAST_BLEU = 3.0
"""Below it, systems hardly translate, and which of them is better says nothing about those that do."""


def alarms(comparison: Comparison) -> dict[tuple[str, str], str]:
    """What looks wrong: (system, metric) -> in words, of the first run in which it does."""
    found = {}
    baseline = comparison.system(comparison.baseline)
    references = health(comparison.references, comparison.by_character)
    for system in comparison.systems:
        for run in system.runs:
            for metric, words in _signs(run, baseline, references):
                found.setdefault((system.name, metric), words)
    return found


def _signs(run: Run, baseline: System, references: dict[str, float]) -> Iterator[tuple[str, str]]:
    length, distinct, empty, repeated = (run.corpus[name] for name in ("length_ratio", "distinct", "empty", "repeated"))
    usual = baseline.mean("distinct")
    if run.corpus["bleu"] < LEAST_BLEU:
        yield "bleu", f"BLEU {run.corpus['bleu']:.1f}, which is hardly a translation: its differences mean nothing"
    if not LENGTH_RATIOS[0] <= length <= LENGTH_RATIOS[1]:
        yield "length_ratio", f"{length:.2f} times as long as the references"
    if distinct < max(LEAST_DISTINCT * usual, LEAST_DISTINCT_OF_REFERENCES * references["distinct"]):
        yield (
            "distinct",
            f"{distinct:.1f}% distinct outputs (baseline {usual:.1f}%, references {references['distinct']:.1f}%)",
        )
    if empty:
        yield "empty", f"{empty:.0f} empty outputs"
    usual = baseline.mean("repeated")
    limits = MOST_REPEATED[0] * usual + MOST_REPEATED[1], references["repeated"] + MOST_REPEATED_OVER_REFERENCES
    if repeated > min(limits):
        yield (
            "repeated",
            f"{repeated:.1f}% of the bigrams repeat one of their line (baseline {usual:.1f}%, references "
            f"{references['repeated']:.1f}%)",
        )
