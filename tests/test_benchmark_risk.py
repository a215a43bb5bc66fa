"""benchmarks/risk.py and risk_growth.py: updates of a real (tiny) model by a real (tiny) language model."""

import re
import sys

import pytest
from conftest import import_benchmark

from fairseq_bertloss.forced_decoding import load_model


@pytest.fixture
def run(corpus, baseline, tiny_lm, monkeypatch, capsys):
    """A function that runs one of the two with more options, and returns what it prints."""

    def run_benchmark(name: str, *arguments: str) -> str:
        line = [name, str(corpus), "--checkpoint", str(baseline), "--lm", tiny_lm("bert"), "--layer", "2"]
        monkeypatch.setattr(sys, "argv", [*line, "--rounds", "1", *arguments])
        import_benchmark(name).main()
        return capsys.readouterr().out

    return run_benchmark


def parts(printed: str) -> dict[str, float]:
    """Of an update, by what they are."""
    return {name: float(ratio) for ratio, name in re.findall(r"^  ([\d.]+)  (.+)$", printed, re.M)}


def test_parts_of_an_update(run):
    printed = run("risk", "--batches", "1", "--max-tokens", "400")
    together = float(re.search(r"takes ([\d.]+) times one by cross-entropy", printed)[1])
    assert sum(parts(printed).values()) == pytest.approx(together, abs=0.05)
    assert parts(printed)["candidates drawn"] > 0


def test_kept_candidates_are_not_drawn(run, baseline, tmp_path):
    kept = ["--finetune-from-model", str(baseline), "--cache-candidates", str(tmp_path)]
    found = parts(run("risk", "--batches", "1", "--max-tokens", "400", *kept))
    assert found["candidates drawn"] == 0 and found["backward and optimizer"] > 0


def test_growth(run, monkeypatch, tmp_path):
    growth = import_benchmark("risk_growth")
    monkeypatch.setattr(growth, "SIZES", {"candidates": (2, 3), "sentences": (4, 64)})
    printed = run("risk_growth", "--plot", str(tmp_path / "growth.svg"))
    assert re.findall(r"^\| s, by (.+?) \| (\d+) \| (\d+) \| exponent \|$", printed, re.M) == [
        ("candidates", "2", "3"),
        ("sentences", "4", "64"),
    ]
    together = [[float(cell) for cell in cells] for cells in re.findall(r"together \| (.+?) \| (.+?) \|", printed)]
    assert together[1][1] > together[1][0] > 0
    assert "candidates drawn" in (tmp_path / "growth.svg").read_text(encoding="utf-8")


def test_sentences_of_a_length(corpus, baseline):
    growth = import_benchmark("risk_growth")
    _, task = load_model(str(baseline), str(corpus))
    task.load_dataset("train")
    dataset = task.dataset("train")
    (batch,) = growth.of_length(dataset, 12, 40)
    distances = abs(dataset.tgt_sizes - 12)
    assert len(set(batch)) == 40 and distances[batch].max() <= sorted(distances)[39]
