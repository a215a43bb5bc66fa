"""benchmarks/language_model.py: whole, on a tiny language model; its F is bert-score's."""

import sys

import bert_score
import lms
import pytest
import torch
from conftest import import_benchmark

from fairseq_bertloss.language_model.frozen import FrozenLanguageModel
from fairseq_bertloss.language_model.vocabulary import load_tokenizer


@pytest.fixture(scope="module")
def benchmark():
    """The benchmark as a module."""
    return import_benchmark("language_model")


def test_its_pairs_are_scored_as_bert_score_does(benchmark, minilm, real_pairs):
    hypotheses, references = (side[90:110] for side in real_pairs)
    tokenizer = load_tokenizer(minilm)
    lm = FrozenLanguageModel.from_pretrained(minilm, 5, "float32")
    pairs = [*zip(hypotheses, references, strict=True)]
    batches = benchmark.make_batches(pairs, tokenizer, lm.embedding_table, max_tokens=200)
    assert len(batches) > 2 and all(side.mask.numel() <= 200 for batch in batches for side in batch)
    exact = benchmark.score(lm, batches, None)
    _, _, expected = bert_score.score(hypotheses, references, model_type=minilm, num_layers=5)
    torch.testing.assert_close(exact.f1, expected, atol=1e-5, rtol=0)

    rounded = benchmark.score(lm, batches, torch.float16)
    assert 0 < (rounded.f1 - exact.f1).abs().max() < 1e-4
    assert 0 < (rounded.gradient - exact.gradient).norm() < 1e-3 * exact.gradient.norm()


def test_whole(benchmark, tiny_lm, tmp_path, monkeypatch, capsys):
    folder = tiny_lm("bert")
    for name, lines in (("reference", lms.TEXT), ("hypotheses", [line.replace("the ", "a ") for line in lms.TEXT])):
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    files = [f"--reference={tmp_path}/reference", f"--hypotheses={tmp_path}/hypotheses"]
    options = [f"--lm={folder}", "--layer=2", *files, "--max-tokens=99", "--rounds=2"]
    monkeypatch.setattr(sys, "argv", ["language_model.py", *options])
    benchmark.main()
    rows = [line.split(" | ")[0].strip("| ") for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    stored = ", references stored in float16"
    assert [row for row in rows if row and not row.startswith("--")] == [
        *("float32", "bfloat16", "float16", "matching"),
        *("float32", f"float32{stored}", "bfloat16", f"bfloat16{stored}", "float16", f"float16{stored}"),
    ]
