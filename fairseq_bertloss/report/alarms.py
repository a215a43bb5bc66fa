"""Signs that fine-tuning has made a system collapse, and that the baseline or the control is weak itself.

A collapse is what a fine-tuned system shows and the control does not: text that is far too short or too long, all
alike, empty or repeating itself, probabilities without entropy. Without a control, what the baseline does not show.
"""

from collections.abc import Sequence

from fairseq_bertloss.evaluation.health import health
from fairseq_bertloss.evaluation.judgement import rise
from fairseq_bertloss.evaluation.limits import (
    LEAST_BLEU,
    LEAST_DISTINCT,
    LEAST_ENTROPY,
    LENGTH_TOLERANCE,
    MOST_REPEATED,
    WEAK_DISTINCT,
    WEAK_LENGTH_RATIOS,
    WEAK_REPEATED,
)
from fairseq_bertloss.evaluation.plain_text import quoted
from fairseq_bertloss.evaluation.results import METRICS, Comparison, Entropy, System
from fairseq_bertloss.evaluation.tables import number

COLLAPSED = {
    "bleu": lambda ours, theirs: ours < LEAST_BLEU <= theirs,
    "length_ratio": lambda ours, theirs: rise("length_ratio", abs(ours - 1), abs(theirs - 1)) > LENGTH_TOLERANCE,
    "distinct": lambda ours, theirs: ours < LEAST_DISTINCT * theirs,
    "empty": lambda ours, theirs: ours > theirs,
    "repeated": lambda ours, theirs: rise("repeated", ours, theirs) > MOST_REPEATED,
}
"""Whether a figure is a sign of a collapse beside the control's."""

WEAK = {
    "bleu": lambda ours, references: ours < LEAST_BLEU,
    "length_ratio": lambda ours, references: not WEAK_LENGTH_RATIOS[0] <= ours <= WEAK_LENGTH_RATIOS[1],
    "distinct": lambda ours, references: ours < WEAK_DISTINCT * references["distinct"],
    "empty": lambda ours, references: ours > 0,
    "repeated": lambda ours, references: ours > references["repeated"] + WEAK_REPEATED,
}
"""Whether a system's figure is that of a weak model, given the health of the references."""

WORDS = {
    "bleu": "BLEU {}, hardly a translation, so that differences mean nothing",
    "length_ratio": "{} times as long as the references",
    "distinct": "{}% distinct outputs",
    "empty": "empty outputs: {}",
    "repeated": "{}% of the bigrams repeat one of their line",
}


def alarms(comparison: Comparison, entropies: Sequence[Entropy] = ()) -> dict[tuple[str, str], str]:
    """Signs of a collapse of the fine-tuned systems: (system, metric) -> the sign in words.

    Either the mean over runs is a sign beside the control's mean, or the figure of one run is one beside that of every
    run of the control.

    Args:
        comparison: systems on a test set.
        entropies: of the systems at inference, or none; the metric is "entropy" then.
    """
    other = comparison.yardstick
    signs = {
        (system.name, metric): f"{words} ({quoted(other.name)}: {_figure(metric, other.mean(metric))})"
        for system in comparison.fine_tuned
        for metric in COLLAPSED
        if (words := _sign(metric, system, other))
    }
    return signs | _without_entropy(comparison, entropies)


def weaknesses(comparison: Comparison) -> dict[tuple[str, str], str]:
    """Weaknesses of the baseline and the controls themselves: (system, metric) -> the weakness in words."""
    references = health(comparison.references, comparison.by_character)
    found = {}
    for system in comparison.systems:
        if system in comparison.fine_tuned:
            continue
        for metric in WEAK:
            if WEAK[metric](system.mean(metric), references):
                usual = f" (references: {_figure(metric, references[metric])})" if metric in references else ""
                found[system.name, metric] = _words(metric, system.mean(metric)) + usual
    return found


def _sign(metric: str, system: System, other: System) -> str:
    """A system's figure in words if it is a sign of a collapse beside another's, else nothing."""
    collapsed = COLLAPSED[metric]
    if collapsed(system.mean(metric), other.mean(metric)):
        return _words(metric, system.mean(metric))
    usual = [run.corpus[metric] for run in other.runs]
    for run in system.runs:
        if all(collapsed(run.corpus[metric], figure) for figure in usual):
            return f"{_words(metric, run.corpus[metric])} in one of {len(system.runs)} runs"
    return ""


def _without_entropy(comparison: Comparison, entropies: Sequence[Entropy]) -> dict[tuple[str, str], str]:
    means = {entropy.system: entropy.mean for entropy in entropies}
    name = comparison.yardstick.name
    return {
        (system.name, "entropy"): f"a mean entropy of {means[system.name]:.3f} nats ({quoted(name)}: {means[name]:.3f})"
        for system in comparison.fine_tuned
        if {system.name, name} <= means.keys() and means[system.name] < LEAST_ENTROPY * means[name]
    }


def _words(metric: str, figure: float) -> str:
    return WORDS[metric].format(_figure(metric, figure))


def _figure(metric: str, figure: float) -> str:
    digits = METRICS[metric].digits
    # The mean of counts is no whole number.
    return number(figure, digits if float(figure).is_integer() else max(1, digits))
