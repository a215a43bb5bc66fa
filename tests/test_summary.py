"""What the report says in words, and in which order."""

from dataclasses import replace

import pytest
from results import SICK, comparison, entropies, system

from fairseq_bertloss.evaluation.judgement import judgement
from fairseq_bertloss.report.summary import summary

COMPARED = (
    "20 sentences of test.en were translated by baseline, control (cross-entropy continued) and tuned, "
    "with one run each."
)


def three(**corpus: float):
    """Systems of one quality but for the figures of the fine-tuned one."""
    return system("baseline", 30.0), system("control", 31.5), system("tuned", 33.25, **corpus)


def test_better_than_the_control_comes_first():
    p = {
        ("tuned", "control", "bleu"): 0.001,
        ("tuned", "control", "moverscore"): 0.995,
        ("tuned", "baseline", "bleu"): 0.001,
        ("tuned", "baseline", "f_bert"): 0.001,
    }
    systems = three(f_bert=50.5, moverscore=40.0, chrf=51.0, ter=52.5)
    for other in systems[:2]:
        other.runs[0].corpus.update(f_bert=50.0, moverscore=41.0)
    whole = comparison(*systems, p=p)
    assert summary(whole) == [
        "tuned is better than the control in BLEU (+1.75), by more than chance (p < 0.01; 20 sentences, one training "
        "run). It is worse in MoverScore (−1.00), by more than chance. May be chance: F_BERT (+0.50). "
        "Not tested: chrF (+1.00) and TER (+2.50, worse).",
        judgement(whole),
        "Against the baseline (p < 0.01): tuned is significantly better in BLEU (+3.25) and F_BERT (+0.50), not "
        "significantly different in MoverScore; no significant difference for control.",
        COMPARED,
    ]


def test_what_is_better_than_the_baseline_alone_is_not_called_better():
    p = {("tuned", "baseline", metric): 0.001 for metric in ("bleu", "f_bert", "moverscore")}
    first, *_ = summary(comparison(*three(), p=p))
    assert first == (
        "tuned is not shown to be better than the control in anything (p < 0.01; 20 sentences, one training run). "
        "Nothing is worse by more than chance. May be chance: BLEU (+1.75), F_BERT (0.00) and MoverScore (0.00). "
        "Not tested: chrF (0.00) and TER (0.00)."
    )


def test_a_metric_without_a_test_is_not_spoken_of():
    whole = comparison(*three(), p={("tuned", "control", "f_bert"): 0.001})
    whole = replace(whole, tests=[test for test in whole.tests if test.metric != "moverscore"])
    assert "MoverScore" not in summary(whole)[0] and "better than the control in F_BERT" in summary(whole)[0]


def test_without_a_control_the_baseline_takes_its_place():
    systems = three()
    whole = comparison(systems[0], systems[2], control=None, p={("tuned", "baseline", "bleu"): 0.001})
    first, second, last = summary(whole)
    assert first.startswith("tuned is better than the baseline in BLEU (+3.25), by more than chance (")
    assert second.startswith("There is no control (`--control`)") and last.startswith("20 sentences")


@pytest.mark.parametrize("paired, words", [(True, "3 paired training runs"), (False, "3 training runs")])
def test_several_seeds(paired, words):
    systems = [system(name, 30.0, 31.0, 32.0) for name in ("baseline", "control", "tuned")]
    whole = replace(comparison(*systems, p={("tuned", "control", "f_bert"): 0.001}), paired_runs=paired)
    assert f"by more than chance (p < 0.01; 20 sentences, {words})." in summary(whole)[0]


def test_a_collapse_and_weak_models():
    sick = comparison(*three(**SICK))
    (warning,) = [text for text in summary(sick) if text.startswith("Warning")]
    assert warning == (
        "Warning, signs of a collapse that the control does not show. tuned: 0.849 times as long as the references "
        "(control: 0.950), 19.9% distinct outputs (control: 25.0), empty outputs: 1 (control: 0), 6.1% of the bigrams "
        "repeat one of their line (control: 5.0)."
    )
    all_loop = comparison(*(system(name, 30.0, repeated=15.6) for name in ("baseline", "control", "tuned")))
    assert not [text for text in summary(all_loop) if "collapse" in text]
    assert summary(all_loop)[2] == (
        "Weak models even without fine-tuning on BERTScore. baseline: 15.6% of the bigrams repeat one of "
        "their line (references: 0.0); control: 15.6% of the bigrams repeat one of their line (references: 0.0)."
    )


def test_an_entropy_collapse():
    found = entropies("baseline", "control", "tuned")
    measured = [replace(part, mean=mean) for part, mean in zip(found, (1.0, 1.0, 0.1), strict=True)]
    assert "tuned: a mean entropy of 0.100 nats (control: 1.000)." in summary(comparison(*three()), measured)[2]


def test_two_controls():
    systems = (
        system("mle", 30.0),
        system("dropout", 31.0),
        system("no-dropout control", 32.0),
        system("a", 33.0),
        system("b", 33.0),
    )
    whole = replace(comparison(*systems, control="no-dropout control"), weaker_controls=["dropout"])
    first, second, _, baseline, compared = summary(whole)
    for name, text in (("a", first), ("b", second)):
        assert text.startswith(f"{name} is not shown to be better than the control “no-dropout control” in anything")
    assert baseline.startswith(
        "Against the baseline mle (p < 0.01): no significant difference for dropout, “no-dropout control”, a"
    )
    assert compared == (
        "20 sentences of test.en were translated by mle (the baseline), dropout (a weaker control), “no-dropout "
        "control” (the control, cross-entropy continued, the strongest control in F_BERT), a and b, with one run each."
    )
