"""Differences between the runs of two rows of benchmarks/effect.py, seed by seed, and whether they are a gain.

The bar: F_BERT is higher with p < 0.01; BLEU, chrF and F_BERT by both foreign judges (e5 and mpnet) are not lower in
the mean, and two of these four at least are higher with p < 0.05; bigrams are repeated no more than 0.5 points above
the control; the length ratio is as far from 1 as the control's plus 0.01 at most. p is one-sided, of a t-test over
pairs of seeds.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from scipy.stats import ttest_rel

F_BERT = "f_bert"
OTHERS = ("bleu", "chrf", "f_bert_e5", "f_bert_mpnet")
OTHERS_TO_GAIN = 2
F_BERT_P, OTHERS_P = 0.01, 0.05
REPEATED_MORE, LENGTH_FURTHER = 0.5, 0.01

LOWER_IS_BETTER = ("ter", "repeated", "length_ratio")
"""The length ratio counts by its distance from 1."""


@dataclass(frozen=True)
class Difference:
    """A score's mean difference, and how probable one so much better, or more, is where there is none."""

    mean: float
    p: float  # nan where there is but one pair, or no difference at all

    def gains(self, p: float) -> bool:
        """Whether it is better by more than chance."""
        return self.p < p


def difference(name: str, own: list[dict], controls: list[dict]) -> Difference:
    """The difference in a score between runs and their controls, which are in the same order."""
    ours, theirs = ([_value(name, run) for run in side] for side in (own, controls))
    better = "less" if name in LOWER_IS_BETTER else "greater"
    mean = statistics.fmean(ours) - statistics.fmean(theirs)
    return Difference(mean, float(ttest_rel(ours, theirs, alternative=better).pvalue) if len(own) > 1 else float("nan"))


def wins(name: str, own: list[dict], controls: list[dict]) -> tuple[float, float]:
    """The shares of sentences, of all pairs together, with a higher and with a lower score, in percent."""
    pairs = [
        pair
        for run, control in zip(own, controls, strict=True)
        for pair in zip(run["sentences"][name], control["sentences"][name], strict=True)
    ]
    return tuple(100 * statistics.fmean(won) for won in ([a > b for a, b in pairs], [a < b for a, b in pairs]))


def shortfalls(difference_in: Callable[[str], Difference]) -> list[str]:
    """What keeps a row from the bar; nothing where it is met.

    Args:
        difference_in: the difference in each score.
    """
    missed = [] if difference_in(F_BERT).gains(F_BERT_P) else [f"{F_BERT} is not higher with p < {F_BERT_P}"]
    missed += [f"{name} is lower" for name in OTHERS if difference_in(name).mean < 0]
    gained = [name for name in OTHERS if difference_in(name).gains(OTHERS_P)]
    if len(gained) < OTHERS_TO_GAIN:
        missed.append(f"{len(gained)} of {', '.join(OTHERS)} are higher with p < {OTHERS_P}, not {OTHERS_TO_GAIN}")
    if difference_in("repeated").mean > REPEATED_MORE:
        missed.append(f"repeated is higher by more than {REPEATED_MORE}")
    if difference_in("length_ratio").mean > LENGTH_FURTHER:
        missed.append(f"length_ratio is further from 1 by more than {LENGTH_FURTHER}")
    return missed


def _value(name: str, run: dict) -> float:
    value = run["scores"][name]
    return abs(value - 1) if name == "length_ratio" else value
