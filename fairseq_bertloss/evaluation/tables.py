"""Tables of a comparison, as text: Markdown (aligned in a terminal too), LaTeX and JSON.

comparison = results.read("runs/comparison.json", Comparison)[0]
print(tables.markdown(comparison))
"""

import json
import os
from collections.abc import Sequence
from typing import NamedTuple

from fairseq_bertloss.evaluation.judgement import judgement
from fairseq_bertloss.evaluation.plain_text import aligned, printable
from fairseq_bertloss.evaluation.results import (
    HEADLINE,
    METRICS,
    Comparison,
    Curve,
    Entropy,
    SignificanceTest,
    System,
)

FURTHER = tuple(name for name in METRICS if name not in HEADLINE)
"""The metrics that are not tested for significance."""


class Cell(NamedTuple):
    """A number as text, the dagger that belongs to it, and whether it is the best of its column."""

    text: str
    mark: str = ""
    is_best: bool = False


class Column(NamedTuple):
    """A column of the main table: a metric, or its difference from the system that plays a role."""

    metric: str
    role: str | None
    against: str | None

    @property
    def title(self) -> str:
        """The metric's title, or what the difference is from."""
        return METRICS[self.metric].title if self.role is None else f"Δ {self.role}"


def main_columns(comparison: Comparison) -> list[Column]:
    """For each headline metric the score, its difference from the baseline and, if there is one, from the control."""
    roles = {None: None, "baseline": comparison.baseline, "control": comparison.control}
    if comparison.control is None:
        del roles["control"]
    if len(comparison.systems) == 1:
        roles = {None: None}
    return [Column(metric, role, against) for metric in HEADLINE for role, against in roles.items()]


def main_cell(comparison: Comparison, system: System, column: Column) -> Cell:
    """A score, marked by its test against the baseline, or a difference; that from the control has its own mark."""
    metric = column.metric
    if column.role is None:
        mark = _mark(comparison, system.name, comparison.baseline, metric)
        return Cell(score(system, metric), mark, _is_best(comparison, system, metric))
    if column.against == system.name or (column.role == "control" and system.name == comparison.baseline):
        return Cell("")
    difference = system.mean(metric) - comparison.system(column.against).mean(metric)
    mark = _mark(comparison, system.name, column.against, metric) if column.role == "control" else ""
    return Cell(signed(difference, METRICS[metric].digits), mark)


def _is_best(comparison: Comparison, system: System, metric: str) -> bool:
    """Whether no other system has a better mean, as far as the digits show; nothing is best that is alone."""
    digits = METRICS[metric].digits
    values = [METRICS[metric].better * round(other.mean(metric), digits) for other in comparison.systems]
    return len(values) > 1 and METRICS[metric].better * round(system.mean(metric), digits) == max(values)


def score(system: System, metric: str) -> str:
    """The mean over the runs, and the standard deviation where there are several."""
    deviation = system.deviation(metric)
    digits = METRICS[metric].digits
    if deviation is None:
        return number(system.mean(metric), digits)
    digits = max(1, digits)  # the mean of counts is no whole number
    return f"{number(system.mean(metric), digits)} ± {number(deviation, digits)}"


def interval_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Titles and rows of the table of the scores' own confidence intervals."""
    rows = [
        [system.name, *(_interval(*system.intervals[metric], METRICS[metric].digits) for metric in HEADLINE)]
        for system in comparison.systems
        if system.intervals
    ]
    return ["95% interval", *(METRICS[metric].title for metric in HEADLINE)], rows


def _interval(low: float, high: float, digits: int) -> str:
    return f"[{number(low, digits)}, {number(high, digits)}]"


def test_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Titles and rows of the table of significance tests; a column that would be empty is left out."""
    packages = dict.fromkeys(name for test in comparison.tests for name in test.p_sacrebleu)
    titles = ["system", "against", "metric", "Δ", "95% interval", "p bootstrap", "p randomization", "p runs"]
    titles += [f"p sacrebleu {name}" for name in packages] + [""]
    rows = [_test_row(test, packages, comparison.level) for test in comparison.tests]
    filled = [i for i in range(len(titles)) if i < 5 or any(row[i] for row in rows)]
    return [titles[i] for i in filled], [[row[i] for i in filled] for row in rows]


def further_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Titles and rows of the metrics that are not tested."""
    titles = ["system", *(METRICS[metric].title for metric in FURTHER)]
    return titles, [[system.name, *(score(system, metric) for metric in FURTHER)] for system in comparison.systems]


def entropy_table(entropies: Sequence[Entropy]) -> tuple[list[str], list[list[str]]]:
    """Titles and rows of the table of entropies."""
    rows = [[e.system, f"{sum(e.counts):,}", f"{e.mean:.3f}", f"{e.median:.3f}"] for e in entropies]
    return ["system", "positions", "mean (nats)", "median (nats)"], rows


def curve_table(curves: Sequence[Curve]) -> tuple[list[str], list[list[str]]]:
    """Titles and rows of the table of scores along trainings."""
    rows = [
        [curve.system, f"{point.updates:,}", *(number(point.scores[name], METRICS[name].digits) for name in HEADLINE)]
        for curve in curves
        for point in curve.points
    ]
    return ["system", "updates", *(METRICS[name].title for name in HEADLINE)], rows


def notes(comparison: Comparison) -> list[str]:
    """What a reader of the main table has to know, in sentences."""
    several = max(len(system.runs) for system in comparison.systems) > 1
    sentences = [
        f"{len(comparison.references):,} sentences of {test_set(comparison)}{_against(comparison)}; scores in percent"
        + (", mean ± standard deviation over runs that differ by their training seed." if several else ".")
    ]
    if len(comparison.systems) == 1:
        return sentences
    control = comparison.control
    paired = "paired " if comparison.paired_runs else ""
    weaker = len(comparison.weaker_controls)
    strongest = f" (the strongest of {1 + weaker} controls in F_BERT)" if weaker else ""
    sentences += [
        f"Δ baseline: difference from {comparison.baseline}"
        + (f"; Δ control: difference from {control}, cross-entropy continued{strongest}." if control else "."),
        f"† significantly better, ‡ significantly worse than {comparison.baseline}"
        + (f" or, beside Δ control, than {control}" if control else "")
        + f": one-sided p < {comparison.level:g} by "
        + (f"the test over {paired}runs where there are several, else " if several else "")
        + "both the paired bootstrap and the randomization, not corrected for the number of tests.",
    ]
    if any(len(system.runs) == 1 for system in comparison.systems):
        sentences.append(
            "The tests of a single run are about its sentences: another training seed may give another result."
        )
    return sentences


def _against(comparison: Comparison) -> str:
    further = len(comparison.further_reference_files)
    return f", against {1 + further} files of references" if further else ""


def test_set(comparison: Comparison) -> str:
    """The name of the references' file, of several the first, without its folder."""
    return os.path.basename(comparison.reference_file)


def markdown(comparison: Comparison) -> str:
    """The main table with its notes, the tests, the further metrics, the signatures and the judgement."""
    tables = [aligned(*_main_table(comparison)), "\n".join(map(printable, notes(comparison)))]
    tables.append(aligned(*interval_table(comparison)))
    if comparison.tests:
        tables.append(aligned(*test_table(comparison), left=3))
    tables.append(aligned(*further_table(comparison)))
    tables.append("\n".join(printable(f"    {name} {value}") for name, value in comparison.signatures.items()))
    if len(comparison.systems) > 1:
        tables.append(printable(judgement(comparison)))
    return "\n\n".join(tables)


def to_json(comparison: Comparison, **more: object) -> str:
    """Every figure of the tables as JSON, unrounded, and more under the names that they are given by."""
    content = {
        "reference": comparison.reference_file,
        **({"further_references": further} if (further := comparison.further_reference_files) else {}),
        "sentences": len(comparison.references),
        "baseline": comparison.baseline,
        "control": comparison.control,
        "weaker_controls": comparison.weaker_controls,
        "level": comparison.level,
        "paired_runs": comparison.paired_runs,
        "systems": [_system_content(comparison, system) for system in comparison.systems],
        "signatures": comparison.signatures,
    }
    return json.dumps(content | more, indent=2)


def number(value: float, digits: int) -> str:
    """A number with so many digits after the point, and a true minus sign."""
    return f"{value:.{digits}f}".replace("-", "−")


def signed(difference: float, digits: int) -> str:
    """A difference with its sign, none where it rounds to zero."""
    text = f"{difference:+.{digits}f}".replace("-", "−")
    return text if any(char in "123456789" for char in text) else text[1:]


def p_value(p: float | None) -> str:
    """A probability with four digits; empty where there is none."""
    if p is None:
        return ""
    if p < 0.0001:
        return "<0.0001"
    if p > 0.9999:
        return ">0.9999"
    return f"{p:.4f}"


def _main_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Titles and rows of the main table."""
    columns = main_columns(comparison)
    cells = [[main_cell(comparison, system, column) for column in columns] for system in comparison.systems]
    # A column with a dagger has a space in its place in the other rows, so that the digits stay in line.
    room = [max(len(cell.mark) for cell in column) for column in zip(*cells, strict=True)]
    rows = [[cell.text + cell.mark.ljust(size) for cell, size in zip(row, room, strict=True)] for row in cells]
    titles = ["system", *(column.title for column in columns)]
    return titles, [[system.name, *row] for system, row in zip(comparison.systems, rows, strict=True)]


def _mark(comparison: Comparison, system: str, against: str, metric: str) -> str:
    test = comparison.test(system, against, metric)
    return test.mark(comparison.level) if test else ""


def _test_row(test: SignificanceTest, packages: Sequence[str], level: float) -> list[str]:
    metric = METRICS[test.metric]
    low, high = (signed(end, metric.digits) for end in test.interval)
    numbers = [test.p_bootstrap, test.p_randomization, test.p_runs, *(test.p_sacrebleu.get(name) for name in packages)]
    difference = signed(test.difference, metric.digits)
    texts = [test.system, test.against, metric.title, difference, f"[{low}, {high}]"]
    return [*texts, *map(p_value, numbers), test.mark(level)]


def _system_content(comparison: Comparison, system: System) -> dict:
    tests = [test for test in comparison.tests if test.system == system.name]
    return {
        "name": system.name,
        "files": [run.file for run in system.runs],
        "scores": {
            metric: {
                "mean": system.mean(metric),
                "deviation": system.deviation(metric),
                "runs": [run.corpus[metric] for run in system.runs],
            }
            for metric in METRICS
        },
        "tests": [_test_content(test, comparison.level) for test in tests],
    }


def _test_content(test: SignificanceTest, level: float) -> dict:
    return {
        "against": test.against,
        "metric": test.metric,
        "difference": test.difference,
        "interval": list(test.interval),
        "p_bootstrap": test.p_bootstrap,
        "p_randomization": test.p_randomization,
        "p_runs": test.p_runs,
        "p_sacrebleu": test.p_sacrebleu,
        "mark": test.mark(level),
    }
