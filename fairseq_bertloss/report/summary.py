"""The summary at the top of the report: what a comparison found, in sentences, the most wanted first."""

from collections.abc import Sequence
from itertools import groupby

from fairseq_bertloss.evaluation.judgement import judgement
from fairseq_bertloss.evaluation.plain_text import listed, quoted
from fairseq_bertloss.evaluation.results import METRICS, Comparison, Entropy, SignificanceTest, System
from fairseq_bertloss.evaluation.tables import signed, test_set
from fairseq_bertloss.report.alarms import alarms, weaknesses

BETTER = "†"
WORSE = "‡"
UNTESTED = "chrf", "ter"


def summary(comparison: Comparison, entropies: Sequence[Entropy] = ()) -> list[str]:
    """Paragraphs: how each fine-tuned system differs from the control, if it is as good all round, if it has collapsed.

    Then what is wrong with the models in any case, how systems differ from the baseline, and what was compared.

    Args:
        comparison: systems on a test set; without a control the baseline takes its place.
        entropies: of the systems at inference, or none.
    """
    if len(comparison.systems) == 1:
        return [_compared(comparison), "There is no other system to compare the baseline with.", *_weak(comparison)]
    return [
        *(_verdict(comparison, system) for system in comparison.fine_tuned),
        judgement(comparison),
        *_collapsed(comparison, entropies),
        *_weak(comparison),
        *([_against_the_baseline(comparison)] if comparison.control else []),
        _compared(comparison),
    ]


def _verdict(comparison: Comparison, system: System) -> str:
    """What a fine-tuned system is better in than the control, what it is worse in, and what the tests leave open."""
    other = comparison.yardstick
    tests = [test for test in comparison.tests if (test.system, test.against) == (system.name, other.name)]
    better, worse, neither = (_metrics(tests, mark, comparison.level) for mark in (BETTER, WORSE, ""))
    name = quoted(system.name)
    role = _role(comparison, other.name)
    certainty = _certainty(comparison, system, other)
    untested = [_with_difference(metric, system.mean(metric) - other.mean(metric)) for metric in UNTESTED]
    sentences = [
        f"{name} is better than {role} in {listed(better)}, by more than chance ({certainty})."
        if better
        else f"{name} is not shown to be better than {role} in anything ({certainty}).",
        f"It is worse in {listed(worse)}, by more than chance." if worse else "Nothing is worse by more than chance.",
        f"May be chance: {listed(neither)}." if neither else "",
        f"Not tested: {listed(untested)}.",
    ]
    return " ".join(filter(None, sentences))


def _metrics(tests: Sequence[SignificanceTest], mark: str, level: float) -> list[str]:
    """The metrics whose tests have a mark, each with its difference."""
    return [_with_difference(test.metric, test.difference) for test in tests if test.mark(level) == mark]


def _certainty(comparison: Comparison, system: System, other: System) -> str:
    """What the tests of a system against another are about."""
    runs = max(len(system.runs), len(other.runs))
    trained = "one training run" if runs == 1 else f"{runs} {'paired ' if comparison.paired_runs else ''}training runs"
    return f"p < {comparison.level:g}; {len(comparison.references):,} sentences, {trained}"


def _collapsed(comparison: Comparison, entropies: Sequence[Entropy]) -> list[str]:
    found = _by_system(alarms(comparison, entropies))
    role = _role(comparison, comparison.yardstick.name)
    return [f"Warning, signs of a collapse that {role} does not show. {found}."] if found else []


def _weak(comparison: Comparison) -> list[str]:
    found = _by_system(weaknesses(comparison))
    return [f"Weak models even without fine-tuning on BERTScore. {found}."] if found else []


def _by_system(found: dict[tuple[str, str], str]) -> str:
    groups = groupby(found.items(), lambda entry: entry[0][0])
    return "; ".join(f"{quoted(system)}: {', '.join(words for _, words in group)}" for system, group in groups)


def _against_the_baseline(comparison: Comparison) -> str:
    """Which systems differ significantly from the baseline, and which do not."""
    tests = [test for test in comparison.tests if test.against == comparison.baseline]
    by_system = {name: list(group) for name, group in groupby(tests, lambda test: test.system)}
    differences = {name: _difference(group, comparison.level) for name, group in by_system.items()}
    sentences = [f"{quoted(name)} is {text}" for name, text in differences.items() if text]
    alike = [quoted(name) for name, text in differences.items() if not text]
    if alike:
        sentences.append(f"no significant difference for {listed(alike)}")
    role = _role(comparison, comparison.baseline)
    return f"Against {role} (p < {comparison.level:g}): {'; '.join(sentences)}."


def _difference(tests: Sequence[SignificanceTest], level: float) -> str:
    """What a system is significantly better and worse in, and what in neither; empty if in nothing."""
    better, worse = (_metrics(tests, mark, level) for mark in (BETTER, WORSE))
    parts = [f"significantly better in {listed(better)}"] if better else []
    parts += [f"significantly worse in {listed(worse)}"] if worse else []
    neither = [METRICS[test.metric].title for test in tests if not test.mark(level)]
    if parts and neither:
        parts.append(f"not significantly different in {listed(neither)}")
    return ", ".join(parts)


def _with_difference(metric: str, difference: float) -> str:
    """A metric and its difference; where less is better, in words too."""
    title, digits, better = METRICS[metric]
    change = signed(difference, digits)
    if better < 0 and change[0] in "+−":
        change += ", worse" if difference > 0 else ", better"
    return f"{title} ({change})"


def _role(comparison: Comparison, system: str) -> str:
    """What a baseline or control is called in a sentence."""
    role = "baseline" if system == comparison.baseline else "control"
    return f"the {role}" if system == role else f"the {role} {quoted(system)}"


def _compared(comparison: Comparison) -> str:
    names = listed([_with_role(comparison, system.name) for system in comparison.systems])
    counts = {len(system.runs) for system in comparison.systems}
    runs = "one run" if counts == {1} else f"{listed(list(map(str, sorted(counts))), 'or')} runs"
    sentences = f"{len(comparison.references):,} sentences of {test_set(comparison)}"
    return f"{sentences} were translated by {names}, with {runs}{' each' if len(comparison.systems) > 1 else ''}."


def _with_role(comparison: Comparison, system: str) -> str:
    if system == comparison.baseline:
        return system if system == "baseline" else f"{quoted(system)} (the baseline)"
    if system in comparison.weaker_controls:
        return f"{quoted(system)} (a weaker control)"
    if system == comparison.control:
        strongest = ", the strongest control in F_BERT" if comparison.weaker_controls else ""
        return f"{quoted(system)} ({'' if system == 'control' else 'the control, '}cross-entropy continued{strongest})"
    return quoted(system)
