"""Whether a fine-tuned system is as good as the control all round: every threshold on both its sides."""

from dataclasses import replace

import pytest
from results import comparison, system

from fairseq_bertloss.evaluation import tables
from fairseq_bertloss.evaluation.judgement import judge, judgement

CONTROL = {"f_bert": 80.0, "moverscore": 60.0, "chrf": 50.0, "repeated": 7.2}
MEANING = (
    "F_BERT, MoverScore and chrF no lower, BLEU no more than 0.3 lower, repeated bigrams no more than 1 point higher"
)


def beside_the_control(bleu: float = 32.0, **figures: float):
    """A comparison whose fine-tuned system has these figures, else those of the control, which has BLEU 32."""
    tuned = system("tuned", bleu, **CONTROL | figures)
    return comparison(system("baseline", 31.0, **CONTROL), system("control", 32.0, **CONTROL), tuned)


@pytest.mark.parametrize(
    "figures",
    [
        {},
        {"bleu": 31.7},
        {"repeated": 8.2},
        {"f_bert": 79.996},  # the tables print no difference
        {"bleu": 33.0, "f_bert": 81.0, "moverscore": 61.0, "chrf": 51.0, "repeated": 0.0, "ter": 99.0},
    ],
)
def test_it_holds(figures):
    whole = beside_the_control(**figures)
    assert judge(whole) == [("tuned", {})] and judge(whole)[0].holds
    assert judgement(whole) == f"As good as the control all round ({MEANING}): holds for tuned."


@pytest.mark.parametrize(
    "figures, misses, words",
    [
        ({"bleu": 31.2}, {"bleu": -0.8}, "BLEU 0.80 lower"),
        ({"bleu": 31.69}, {"bleu": -0.31}, "BLEU 0.31 lower"),
        ({"f_bert": 79.99}, {"f_bert": -0.01}, "F_BERT 0.01 lower"),
        ({"moverscore": 59.9}, {"moverscore": -0.1}, "MoverScore 0.10 lower"),
        (
            {"chrf": 49.5, "repeated": 13.5},
            {"chrf": -0.5, "repeated": 6.3},
            "chrF 0.50 lower and repeated bigrams 6.3 points higher",
        ),
        ({"repeated": 8.3}, {"repeated": 1.1}, "repeated bigrams 1.1 points higher"),
    ],
)
def test_it_does_not_hold(figures, misses, words):
    whole = beside_the_control(**figures)
    assert judge(whole)[0].misses == pytest.approx(misses) and not judge(whole)[0].holds
    assert judgement(whole) == f"As good as the control all round ({MEANING}): does not hold for tuned ({words})."


def test_the_means_over_runs_count():
    control = system("control", 32.0, 33.0, 34.0, **CONTROL)
    for last, holds in ((33.8, True), (33.0, False)):
        tuned = system("tuned", 33.1, 31.5, last, **CONTROL)
        (found,) = judge(replace(comparison(system("baseline", 31.0, 32.0, 33.0), control, tuned), paired_runs=True))
        assert found.holds == holds


def test_each_fine_tuned_system_is_judged_by_the_control_alone():
    systems = [
        system(name, bleu, **CONTROL) for name, bleu in (("baseline", 20.0), ("weaker", 25.0), ("control", 32.0))
    ]
    tuned = [system(name, bleu, **CONTROL) for name, bleu in (("a", 32.0), ("b c", 31.0), ("d", 40.0))]
    whole = replace(comparison(*systems, *tuned), weaker_controls=["weaker"])
    assert [(found.system, found.holds) for found in judge(whole)] == [("a", True), ("b c", False), ("d", True)]
    assert judgement(whole).endswith(": holds for a and d; does not hold for “b c” (BLEU 1.00 lower).")


def test_without_a_control():
    whole = comparison(system("baseline", 30.0), system("tuned", 33.0), control=None)
    assert judge(whole) == []
    assert (
        judgement(whole)
        == "There is no control (`--control`): whether cross-entropy would have gained as much is not known."
    )


def test_the_printed_tables_end_with_it():
    whole = beside_the_control(bleu=31.2)
    assert tables.markdown(whole).endswith(f"\n\n{judgement(whole)}")
    alone = comparison(system("baseline", 30.0), control=None)
    assert "control" not in tables.markdown(alone)
