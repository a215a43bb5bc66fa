"""What is called a collapse: what a fine-tuned system shows and the control does not."""

from dataclasses import replace

import pytest
from results import HEALTHY, OUTPUTS, SICK, comparison, entropies, system

from fairseq_bertloss.report.alarms import alarms, weaknesses

LOOPS = {"bleu": 2.0, "repeated": 40.0, "length_ratio": 1.5, "distinct": 5.0, "empty": 3}
LONG = {"length_ratio": 1.5, "repeated": 40.0}
EDGE = {"length_ratio": 0.85, "distinct": 20.0, "empty": 0, "repeated": 6.0}
"""The worst that is no sign beside HEALTHY."""


def of_three(baseline: dict, control: dict, tuned: dict):
    systems = [system(name, 30.0) for name in ("baseline", "control", "tuned")]
    for part, figures in zip(systems, (baseline, control, tuned), strict=True):
        part.runs[0].corpus.update(figures)
    return comparison(*systems)


@pytest.mark.parametrize("metric, bad", [*SICK.items(), ("bleu", 2.9)])
@pytest.mark.parametrize("control", ["control", None])
def test_each_sign(metric, bad, control):
    sick = system("tuned", 30.0)
    sick.runs[0].corpus[metric] = bad
    systems = [system("baseline", 30.0), *([system("control", 30.0)] if control else []), sick]
    assert list(alarms(comparison(*systems, control=control))) == [("tuned", metric)]


def test_the_healthy_have_none():
    assert alarms(of_three({}, {}, EDGE)) == {} and alarms(of_three({}, {}, {"length_ratio": 1.15})) == {}


def test_what_baseline_and_control_show_as_well_is_none():
    whole = of_three(LOOPS, LOOPS, LOOPS)
    assert alarms(whole) == {}
    of_models = {(name, metric) for name in ("baseline", "control") for metric in LOOPS}
    assert set(weaknesses(whole)) == of_models
    assert weaknesses(whole)["control", "repeated"] == "40.0% of the bigrams repeat one of their line (references: 0.0)"
    assert weaknesses(of_three({}, {}, LOOPS)) == {}


def test_the_control_decides_not_the_baseline():
    assert alarms(of_three({}, LOOPS, LOOPS)) == {}
    found = alarms(of_three(LOOPS, {}, LOOPS))
    assert {metric for _, metric in found} == set(LOOPS) and {name for name, _ in found} == {"tuned"}
    assert found["tuned", "repeated"] == "40.0% of the bigrams repeat one of their line (control: 5.0)"


def test_neither_baseline_nor_control_has_any():
    assert alarms(of_three(LOOPS, LOOPS, {})) == {} and alarms(of_three({}, LOOPS, {})) == {}
    assert alarms(comparison(system("baseline", 30.0, **LONG), control=None)) == {}
    weaker = comparison(system("baseline", 30.0), system("control", 30.0), system("dropout", 30.0, **LONG))
    assert alarms(replace(weaker, weaker_controls=["dropout"])) == {}
    assert {name for name, _ in weaknesses(replace(weaker, weaker_controls=["dropout"]))} == {"dropout"}


def runs(name: str, *repeated: float):
    whole = system(name, *[30.0] * len(repeated))
    for run, figure in zip(whole.runs, repeated, strict=True):
        run.corpus["repeated"] = figure
    return whole


@pytest.mark.parametrize(
    "control, tuned, words",
    [
        ((9.9, 5.3, 7.0), (10.8, 6.2, 8.0), None),  # each below its control plus one
        ((9.9, 5.3, 7.0), (5.3, 7.0, 10.9), None),  # another run of the control is as bad
        ((9.9, 5.3, 7.0), (11.0, 6.4, 8.1), "8.5% of the bigrams repeat one of their line (control: 7.4)"),
        (
            (9.9, 5.3, 7.0),
            (11.0, 4.0, 5.0),
            "11.0% of the bigrams repeat one of their line in one of 3 runs (control: 7.4)",
        ),
        ((9.9, 5.3, 7.0), (11.0,), "11.0% of the bigrams repeat one of their line (control: 7.4)"),
        ((7.4,), (7.5, 8.3), None),
        ((7.4,), (7.5, 8.5), "8.5% of the bigrams repeat one of their line in one of 2 runs (control: 7.4)"),
    ],
)
def test_several_runs(control, tuned, words):
    whole = comparison(system("baseline", 30.0), runs("control", *control), runs("tuned", *tuned))
    assert alarms(whole).get(("tuned", "repeated")) == words


def test_a_mean_of_counts_is_no_whole_number():
    tuned = system("tuned", 30.0, 30.0, 30.0)
    tuned.runs[1].corpus["empty"] = 1
    found = alarms(comparison(system("baseline", 30.0), system("control", 30.0), tuned))
    assert found == {("tuned", "empty"): "empty outputs: 0.3 (control: 0)"}


def test_a_distribution_without_entropy():
    whole = comparison()
    names = ["baseline", "control", "tuned"]
    for means, sign in (((0.1, 1.0, 0.19), True), ((1.0, 1.0, 0.2), False), ((1.0, 0.1, 0.05), False)):
        found = [replace(entropy, mean=mean) for entropy, mean in zip(entropies(*names), means, strict=True)]
        assert (("tuned", "entropy") in alarms(whole, found)) == sign
    assert alarms(whole, found[:2]) == alarms(whole, found[2:]) == {}, "one of the two was not measured"


def test_weak_models_on_both_sides_of_each_limit():
    """The references have no repeated bigrams and are distinct by a quarter."""
    assert HEALTHY["distinct"] == 25 and len(set(OUTPUTS)) == 5
    good = {"bleu": 3.0, "length_ratio": 0.8, "distinct": 12.5, "empty": 0, "repeated": 5.0}
    bad = {"bleu": 2.9, "length_ratio": 0.79, "distinct": 12.4, "empty": 1, "repeated": 5.1}
    assert weaknesses(of_three(good, good, {})) == {}
    assert set(weaknesses(of_three(good, bad, {}))) == {("control", metric) for metric in bad}
