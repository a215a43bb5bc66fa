"""benchmarks/effect_table.py and effect_bar.py: made-up runs whose means, p and verdicts are known."""

import json
import math
import sys

import pytest
from conftest import import_benchmark

PERFECT = {"bleu": 30.0, "f_bert": 80.0, "f_bert_e5": 82.0, "f_bert_mpnet": 70.0, "chrf": 50.0, "ter": 60.0,
           "repeated": 2.0, "length_ratio": 0.95}  # fmt: skip
GAINS = {"bleu": 1.0, "f_bert": 0.5, "f_bert_e5": 0.5, "f_bert_mpnet": 0.25, "chrf": 1.0}


@pytest.fixture(scope="module")
def effect_table():
    """The tables as a module."""
    return import_benchmark("effect_table")


@pytest.fixture(scope="module")
def bar():
    """The module of differences and the bar."""
    return import_benchmark("effect_bar")


@pytest.fixture
def write(tmp_path):
    """Leaves a run's file in tmp_path."""

    def written(row, seed, scores, wall=3.0, sentences=(), decoding="averaged", **more):
        log = [
            {"kind": "valid"},
            {"kind": "train", "train_train_wall": wall},
            {"kind": "train", "train_train_wall": 1.0},
        ]
        kept = {"f_bert": list(sentences), "f_bert_e5": list(sentences)}
        run = {"row": row, "seed": seed, "decoding": decoding, "scores": scores, "sentences": kept, "log": log}
        run |= more
        (tmp_path / f"{row}.{seed}.{decoding}.json").write_text(json.dumps(run), encoding="utf-8")

    return written


def printed(effect_table, monkeypatch, capsys, *line) -> list[str]:
    """The lines that the command prints."""
    monkeypatch.setattr(sys, "argv", ["effect_table.py", *map(str, line)])
    effect_table.main()
    return capsys.readouterr().out.splitlines()


def test_parts(effect_table, write, monkeypatch, capsys, tmp_path):
    """A line for each part and row, before the means."""
    for row, bleu in (("no-dropout-control", 20.0), ("mix-0.2", 21.0)):
        write(row, 1, {"bleu": bleu}, parts={"talks": {"bleu": bleu - 10}, "manuals": {"bleu": bleu + 10}})
    line = [tmp_path, "--decoding", "averaged", "--rows", "mix-0.2"]
    assert printed(effect_table, monkeypatch, capsys, *line, "--parts")[:7] == [
        "| part | row | BLEU |",
        "|:--|--:|--:|",
        "| talks | no-dropout-control | 10.00 |",
        "| talks | mix-0.2 | 11.00 |",
        "| manuals | no-dropout-control | 30.00 |",
        "| manuals | mix-0.2 | 31.00 |",
        "",
    ]
    write("mix-0.2", 1, {"bleu": 21.0})
    write("no-dropout-control", 1, {"bleu": 20.0})
    with pytest.raises(ValueError, match="the corpus has no parts: leave --parts out"):
        printed(effect_table, monkeypatch, capsys, *line, "--parts")


def test_means_and_deviations(effect_table, write, monkeypatch, capsys, tmp_path):
    """The strong control comes along, and time is against it."""
    for seed, f_bert in ((1, 80.0), (2, 81.0)):
        write("no-dropout-control@1e-4", seed, {"f_bert": f_bert, "bleu": 30.0 + seed})
        write("mix-0.2@1e-4", seed, {"f_bert": f_bert + 0.5 * seed, "bleu": 30.0 + seed}, wall=11.0)
        write("baseline", seed, {"f_bert": 79.0, "bleu": 29.0}, wall=0.0)
    write("no-dropout-control@1e-4x20", 1, {"f_bert": 0.0, "bleu": 0.0})  # a longer name, which is another row
    line = [tmp_path, "--decoding", "averaged", "--rows", "baseline", "mix-0.2@1e-4"]
    assert printed(effect_table, monkeypatch, capsys, *line) == [
        "| row | BLEU | F_BERT | time |",
        "|:--|--:|--:|--:|",
        "| baseline | 29.00 ± 0.00 | 79.00 ± 0.00 |  |",
        "| no-dropout-control@1e-4 | 31.50 ± 0.71 | 80.50 ± 0.71 | 1.0 |",
        "| mix-0.2@1e-4 | 31.50 ± 0.71 | 81.25 ± 1.06 | 3.0 |",
    ]
    assert (
        printed(effect_table, monkeypatch, capsys, *line, "--seeds", 2)[-1] == "| mix-0.2@1e-4 | 32.00 | 82.00 | 3.0 |"
    )


def test_a_row_with_dropout_has_both_controls(effect_table):
    rows = ["baseline", "softmax@1e-4", "mix-0.2@1e-4"]
    assert effect_table.with_controls(rows) == [
        "baseline", "control@1e-4", "no-dropout-control@1e-4", "softmax@1e-4", "mix-0.2@1e-4"
    ]  # fmt: skip


def test_runs_that_are_missing(effect_table, write, monkeypatch, capsys, tmp_path):
    with pytest.raises(ValueError, match="there is no run no-dropout-control.SEED.beam5.json"):
        printed(effect_table, monkeypatch, capsys, tmp_path, "--rows", "mix-0.2")
    for row, seed in (("no-dropout-control", 1), ("no-dropout-control", 2), ("mix-0.2", 2)):
        write(row, seed, {"f_bert": 80.0}, decoding="beam5")
    with pytest.raises(ValueError, match=r"mix-0.2 has the seeds \[2\], no-dropout-control has \[1, 2\]"):
        printed(effect_table, monkeypatch, capsys, tmp_path, "--rows", "mix-0.2")


def test_differences_over_pairs(bar):
    """1, 2 and 3 have mean 2 and deviation 1: t is 2 sqrt(3).

    With two degrees of freedom p = 1/2 - t / (2 sqrt(2 + t²)).
    """
    seeds = range(1, 4)
    controls = [{"scores": {"bleu": 10.0 * seed, "ter": 10.0 * seed, "length_ratio": 1.1}} for seed in seeds]
    own = [{"scores": {"bleu": 11.0 * seed, "ter": 11.0 * seed, "length_ratio": 0.95}} for seed in seeds]
    p = 0.5 - 12**0.5 / (2 * 14**0.5)
    bleu, ter = (bar.difference(name, own, controls) for name in ("bleu", "ter"))
    assert (bleu.mean, bleu.p) == pytest.approx((2, p))
    assert (ter.mean, ter.p) == pytest.approx((2, 1 - p))
    assert bleu.gains(0.05) and not bleu.gains(0.03) and not ter.gains(0.05)
    assert bar.difference("length_ratio", own, controls).mean == pytest.approx(-0.05)
    alone = bar.difference("bleu", own[:1], controls[:1])
    assert alone.mean == 1 and math.isnan(alone.p) and not alone.gains(0.05)


def test_sentences_won_and_lost(bar):
    own, controls = (
        [{"sentences": {"f_bert": scores}} for scores in runs] for runs in ([[2, 2, 3], [1]], [[1, 2, 1], [5]])
    )
    assert bar.wins("f_bert", own, controls) == (50, 25)


def verdict(effect_table, write, monkeypatch, capsys, folder, change):
    """The last line of the tables where a row gains, but for a change of its scores."""
    for seed in range(1, 6):
        wobble = 0.01 * seed  # of the differences: without any there is no test
        control = {name: score + seed for name, score in PERFECT.items() if name != "length_ratio"} | {
            "length_ratio": 0.95
        }
        gains = {name: gain + wobble for name, gain in GAINS.items()} | change
        own = {name: score + gains.get(name, 0) for name, score in control.items()}
        write("no-dropout-control", seed, control, sentences=[1.0, 2.0, 3.0, 4.0])
        write("mix-0.2", seed, own, sentences=[2.0, 3.0, 3.0, 3.0])
    line = [folder, "--decoding", "averaged", "--rows", "mix-0.2", "--against", "no-dropout-control"]
    return printed(effect_table, monkeypatch, capsys, *line)


def test_the_bar_is_met(effect_table, write, monkeypatch, capsys, tmp_path):
    *_, heading, _, row, _, said = verdict(
        effect_table, write, monkeypatch, capsys, tmp_path, {"repeated": 0.5, "length_ratio": -0.005}
    )
    assert said == "mix-0.2: the bar is met"
    assert heading.startswith("| less no-dropout-control | BLEU | F_BERT |")
    assert row.startswith("| mix-0.2 | +1.03 (0.0000) | +0.53 (0.0000) |") and row.count("50 % won, 25 % lost") == 2


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        ({"f_bert": 0.0}, "f_bert is not higher with p < 0.01"),
        ({"chrf": -0.25}, "chrf is lower"),
        (
            {"bleu": 0.0, "chrf": 0.0, "f_bert_e5": 0.0},
            "1 of bleu, chrf, f_bert_e5, f_bert_mpnet are higher with p < 0.05, not 2",
        ),
        ({"repeated": 0.75}, "repeated is higher by more than 0.5"),
        ({"length_ratio": 0.125}, "length_ratio is further from 1 by more than 0.01"),
    ],
)
def test_the_bar_is_missed(effect_table, write, monkeypatch, capsys, tmp_path, change, missed):
    """By one of its conditions alone."""
    said = verdict(effect_table, write, monkeypatch, capsys, tmp_path, change)[-1]
    assert said == f"mix-0.2: the bar is missed: {missed}"


def test_a_judge_is_missing(effect_table, write, monkeypatch, capsys, tmp_path):
    monkeypatch.delitem(PERFECT, "f_bert_mpnet")
    assert (
        verdict(effect_table, write, monkeypatch, capsys, tmp_path, {})[-1] == "mix-0.2: the bar needs f_bert_mpnet too"
    )
