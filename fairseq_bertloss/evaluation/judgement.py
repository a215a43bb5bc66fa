"""Whether fine-tuned systems are as good as the control all round: in the scores, and without more repetitions."""

from typing import NamedTuple

from fairseq_bertloss.evaluation.limits import MOST_LOST, MOST_REPEATED
from fairseq_bertloss.evaluation.plain_text import listed, quoted
from fairseq_bertloss.evaluation.results import METRICS, Comparison, System


class Judgement(NamedTuple):
    """What keeps a system from being as good as the control: metric -> by how much it differs, nothing if all holds."""

    system: str
    misses: dict[str, float]

    @property
    def holds(self) -> bool:
        """Whether the system is as good as the control all round."""
        return not self.misses


def judge(comparison: Comparison) -> list[Judgement]:
    """Judges the means over runs of each fine-tuned system by the control's; without a control, none."""
    if comparison.control is None:
        return []
    control = comparison.system(comparison.control)
    return [Judgement(system.name, _misses(system, control)) for system in comparison.fine_tuned]


def judgement(comparison: Comparison) -> str:
    """What `judge` found, in a sentence."""
    if comparison.control is None:
        return "There is no control (`--control`): whether cross-entropy would have gained as much is not known."
    judged = judge(comparison)
    if not judged:
        return "There is no fine-tuned system to judge by the control."
    good = [quoted(found.system) for found in judged if found.holds]
    bad = [f"{quoted(found.system)} ({_in_words(found.misses)})" for found in judged if not found.holds]
    parts = [f"holds for {listed(good)}"] if good else []
    parts += [f"does not hold for {listed(bad)}"] if bad else []
    return f"As good as the control all round ({_meaning()}): {'; '.join(parts)}."


def rise(metric: str, ours: float, theirs: float) -> float:
    """A difference as tables print it, so that what reads as equal is equal."""
    return round(ours - theirs, METRICS[metric].digits)


def _misses(system: System, control: System) -> dict[str, float]:
    rises = {metric: rise(metric, system.mean(metric), control.mean(metric)) for metric in (*MOST_LOST, "repeated")}
    too_low = {metric: rises[metric] for metric, most in MOST_LOST.items() if rises[metric] < -most}
    return too_low | ({"repeated": rises["repeated"]} if rises["repeated"] > MOST_REPEATED else {})


def _meaning() -> str:
    """The thresholds in words."""
    equal = [METRICS[metric].title for metric, most in MOST_LOST.items() if not most]
    lower = [f"{METRICS[metric].title} no more than {most:g} lower" for metric, most in MOST_LOST.items() if most]
    repeated = f"repeated bigrams no more than {MOST_REPEATED:g} point higher"
    return ", ".join([f"{listed(equal)} no lower", *lower, repeated])


def _in_words(misses: dict[str, float]) -> str:
    return listed([_miss(metric, difference) for metric, difference in misses.items()])


def _miss(metric: str, difference: float) -> str:
    if metric == "repeated":
        return f"repeated bigrams {difference:.1f} points higher"
    return f"{METRICS[metric].title} {-difference:.{METRICS[metric].digits}f} lower"
