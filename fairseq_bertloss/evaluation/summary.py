"""What a comparison found, in words."""

import re
from collections.abc import Sequence
from itertools import groupby

from fairseq_bertloss.evaluation.alarms import alarms
from fairseq_bertloss.evaluation.results import METRICS, Comparison, Test
from fairseq_bertloss.evaluation.tables import signed, test_set

BETTER, WORSE = "†", "‡"


def summary(comparison: Comparison) -> list[str]:
    """Paragraphs: what was compared, what differs significantly, and what looks wrong."""
    paragraphs = [_compared(comparison), *_verdicts(comparison)]
    found = groupby(alarms(comparison).items(), lambda alarm: alarm[0][0])
    warnings = [f"{_quoted(system)}: {', '.join(words for _, words in group)}" for system, group in found]
    if warnings:
        paragraphs.append(f"Warning, signs of a collapse. {'; '.join(warnings)}.")
    return paragraphs


def listed(words: Sequence[str], conjunction: str = "and") -> str:
    """'a, b and c'."""
    return f" {conjunction} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _compared(comparison: Comparison) -> str:
    names = listed([_with_role(comparison, system.name) for system in comparison.systems])
    counts = {len(system.runs) for system in comparison.systems}
    runs = "one run" if counts == {1} else f"{listed(list(map(str, sorted(counts))), 'or')} runs"
    sentences = f"{len(comparison.references):,} sentences of {test_set(comparison)}"
    return f"{sentences} were translated by {names}, with {runs}{' each' if len(comparison.systems) > 1 else ''}."


def _with_role(comparison: Comparison, system: str) -> str:
    if system == comparison.baseline:
        return system if system == "baseline" else f"{_quoted(system)} (the baseline)"
    if system == comparison.control:
        return f"{_quoted(system)} ({'' if system == 'control' else 'the control, '}cross-entropy continued)"
    return _quoted(system)


def _quoted(name: str) -> str:
    """A name, between quotation marks where it could be taken for several words of the sentence."""
    return name if re.fullmatch(r"[\w.+-]+", name) else f"“{name}”"


def _verdicts(comparison: Comparison) -> list[str]:
    """What differs significantly from the baseline and from the control."""
    tests, level = comparison.tests, comparison.level
    if not tests:
        return ["There is no other system to compare the baseline with."]
    others = dict.fromkeys(test.against for test in tests)
    if not any(test.mark(level) for test in tests):
        roles = listed([f"from the {_role(comparison, other)}" for other in others], "or")
        metrics = listed(list(dict.fromkeys(METRICS[test.metric].title for test in tests)), "or")
        difference = f"no system differs {roles} in {metrics} by more than chance may do"
        return [f"No significant difference: {difference} (p < {level:g})."]
    return [_verdict(comparison, other) for other in others]


def _verdict(comparison: Comparison, against: str) -> str:
    """Which systems differ significantly from one, and which do not."""
    tests = [test for test in comparison.tests if test.against == against]
    by_system = {name: list(group) for name, group in groupby(tests, lambda test: test.system)}
    differences = {name: _difference(group, comparison.level) for name, group in by_system.items()}
    sentences = [f"{_quoted(name)} is {text}" for name, text in differences.items() if text]
    alike = [_quoted(name) for name, text in differences.items() if not text]
    if alike:
        sentences.append(f"no significant difference for {listed(alike)}")
    return f"Against the {_role(comparison, against)} (p < {comparison.level:g}): {'; '.join(sentences)}."


def _role(comparison: Comparison, system: str) -> str:
    return "baseline" if system == comparison.baseline else "control"


def _difference(tests: Sequence[Test], level: float) -> str:
    """In what a system is significantly better or worse and in what neither; empty if in nothing."""
    parts = []
    for mark, word in ((BETTER, "significantly better"), (WORSE, "significantly worse")):
        metrics = [_with_difference(test) for test in tests if test.mark(level) == mark]
        if metrics:
            parts.append(f"{word} in {listed(metrics)}")
    neither = [METRICS[test.metric].title for test in tests if not test.mark(level)]
    if parts and neither:
        parts.append(f"not significantly different in {listed(neither)}")
    return ", ".join(parts)


def _with_difference(test: Test) -> str:
    metric = METRICS[test.metric]
    return f"{metric.title} ({signed(test.difference, metric.digits)})"
