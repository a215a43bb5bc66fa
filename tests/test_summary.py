"""What the report says in words: what differs, and what looks like a collapse."""

import re

import pytest
from results import SICK, comparison, system

from fairseq_bertloss.evaluation.alarms import alarms
from fairseq_bertloss.evaluation.summary import summary


def test_summary_says_plainly_that_nothing_differs():
    paragraphs = summary(comparison())
    assert paragraphs[0] == (
        "20 sentences of test.en were translated by baseline, control (cross-entropy continued) and tuned, "
        "with one run each."
    )
    assert paragraphs[1:] == [
        "No significant difference: no system differs from the baseline or from the control in BLEU, F_BERT or "
        "MoverScore by more than chance may do (p < 0.01)."
    ]


def test_summary_says_what_differs():
    p = {("tuned", "baseline", "bleu"): 0.001, ("tuned", "baseline", "moverscore"): 0.995}
    _, baseline, control = summary(comparison(p=p))
    assert re.fullmatch(
        r"Against the baseline \(p < 0.01\): tuned is significantly better in BLEU \(\+3.25\), significantly worse in "
        r"MoverScore \(\S+\), not significantly different in F_BERT; no significant difference for control\.",
        baseline,
    )
    assert control == "Against the control (p < 0.01): no significant difference for tuned."


@pytest.mark.parametrize("metric, bad", [*SICK.items(), ("bleu", 2.9)])
def test_alarms(metric, bad):
    sick = system("sick", 30.0, 30.0)
    sick.runs[1].corpus[metric] = bad  # one run of two is enough
    whole = comparison(system("baseline", 30.0), sick, control=None)
    assert list(alarms(whole)) == [("sick", metric)]
    assert summary(whole)[-1].startswith("Warning, signs of a collapse. sick: ")


def test_no_alarm_for_the_healthy():
    edge = {"length_ratio": 0.8, "distinct": 20.0, "empty": 0, "repeated": 5.0}
    assert alarms(comparison(system("baseline", 30.0), system("edge", 30.0, **edge), control=None)) == {}
    collapsed = comparison(system("baseline", 30.0, distinct=5.0), control=None)  # the references: 25% distinct
    assert list(alarms(collapsed)) == [("baseline", "distinct")]
    loops = comparison(system("baseline", 30.0, repeated=5.1), control=None)  # the references: nothing repeated
    assert list(alarms(loops)) == [("baseline", "repeated")]
