"""Evaluation of models whose symbols are no language model's, through real fairseq commands."""

import json
import re
import shutil
import statistics
from pathlib import Path

import foreign
import pytest
import torch
from sacremoses import MosesDetokenizer

from fairseq_bertloss import cli
from fairseq_bertloss.evaluation import results
from fairseq_bertloss.evaluation.f_bert import FBertScorer
from fairseq_bertloss.evaluation.hypotheses import read_references, read_translations
from fairseq_bertloss.evaluation.results import Curve, Entropy
from fairseq_bertloss.forced_decoding import entropies
from fairseq_bertloss.language_model.vocabulary import load_tokenizer

KINDS = ("subword_nmt", "sentencepiece", "characters")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return {kind: foreign.make_model(tmp_path_factory.mktemp(kind), getattr(foreign, kind)) for kind in KINDS}


@pytest.fixture(scope="module")
def outputs(models, tiny_lm):
    """What fairseq-generate printed: with the options that make text, without any, and with --post-process."""
    moses = ["--tokenizer", "moses", "--source-lang", "de", "--target-lang", "en"]
    bpe = ["--bpe", "subword_nmt", "--bpe-codes", str(models["subword_nmt"].folder / "codes.en"), *moses]
    scoring = ["--scoring", "bertscore_lm", "--bertscore-lm", tiny_lm("bert"), "--bertscore-lm-layer", "2"]
    options = {"subword_nmt": bpe, "sentencepiece": [], "characters": ["--post-process", "sentencepiece"]}
    return {
        kind: foreign.generate(models[kind].data, models[kind].checkpoint, *foreign.RAW, *options[kind], *scoring)
        for kind in KINDS
    }


def printed(path: str, kind: str) -> list[str]:
    """fairseq-generate's lines of a kind in the order of the test set."""
    lines = re.findall(rf"^{kind}-(\d+)\t(?:\S+\t)?(.*)$", Path(path).read_text(encoding="utf-8"), re.M)
    return [line for _, line in sorted(lines, key=lambda pair: int(pair[0]))]


def by_hand(kind: str, symbols: str) -> str:
    """The text that a person makes of a hypothesis."""
    if kind == "subword_nmt":
        return MosesDetokenizer("en").detokenize(symbols.replace("@@ ", "").split())
    return symbols.replace(" ", "").replace("▁", " ").strip() if kind == "sentencepiece" else symbols


def targets(kind: str, path: str) -> list[str]:
    lines = printed(path, "T")
    return [by_hand(kind, line) for line in lines] if kind == "sentencepiece" else lines


def mean_f_bert(lm: str, text: list[str], references: list[str]) -> float:
    return 100 * statistics.fmean(FBertScorer(lm, 2).score(text, references).f_bert)


def test_score(models, outputs, tiny_lm, capsys):
    lm = tiny_lm("bert")
    command = ["score", "--json", "--lm", lm, "--layer", "2", "--reference", models["characters"].reference]
    assert cli.main([*command, *(f"{kind}={path}" for kind, path in outputs.items())]) == 0
    systems = json.loads(capsys.readouterr().out)["systems"]
    for kind, path in outputs.items():
        text = [by_hand(kind, line) for line in printed(path, "H")]
        expected = mean_f_bert(lm, text, foreign.ENGLISH)
        assert systems[kind][0]["scores"]["f_bert"] == pytest.approx(expected, abs=1e-5)
        assert len(set(text)) > 1


def test_fairseqs_own_scoring(outputs, tiny_lm):
    lm = tiny_lm("bert")
    for kind, path in outputs.items():
        text = [by_hand(kind, line) for line in printed(path, "H")]
        (figure,) = re.findall(r"F_BERT = (\d+\.\d\d) ", Path(path).read_text(encoding="utf-8"))
        assert float(figure) == pytest.approx(mean_f_bert(lm, text, targets(kind, path)), abs=0.0051)


def test_targets_are_references(outputs, minilm):
    tokenizer = load_tokenizer(minilm)
    for path in outputs.values():
        assert read_references(path, tokenizer) == foreign.ENGLISH


def test_curve(models, tiny_lm, tmp_path, capsys):
    """The baseline is the checkpoint itself, which is translated once."""
    model = models["subword_nmt"]
    lm = tiny_lm("bert")
    output = tmp_path / "curve.json"
    kept = Path(shutil.copy(model.kept, tmp_path))
    generation = "--dataset-impl raw --post-process subword_nmt --tokenizer moses --source-lang de --target-lang en"
    command = ["curve", model.data, "--gen-subset", "test", "--baseline", kept, "--run", f"r={tmp_path}",
               "--reference", model.reference, "--lm", lm, "--layer", "2", "--output", output,
               "--generation", generation]  # fmt: skip
    assert cli.main(list(map(str, command))) == 0
    (found,) = results.read(str(output), Curve)
    translated = printed(tmp_path / "test" / f"{kept.stem}.out", "D")
    assert "&" not in "".join(translated).replace(" & ", "") and "@@" not in "".join(translated)
    expected = mean_f_bert(lm, translated, foreign.ENGLISH)
    assert [point.scores["f_bert"] for point in found.points] == pytest.approx([expected] * 2, abs=1e-5)
    shown = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()]
    assert [line[0].split() for line in shown[2:]] == [["r"]] * 2
    assert [line[3].strip() for line in shown[2:]] == [f"{expected:.2f}"] * 2


def test_results_as_json_need_no_file(models, outputs, tmp_path, capsys):
    """What `bertloss entropy` prints, and writes for the report."""
    model, output = models["subword_nmt"], tmp_path / "entropy.json"
    command = ["entropy", model.data, "--gen-subset", "test", "--system", "a", model.checkpoint, outputs["subword_nmt"]]
    assert cli.main([*map(str, command), "--json", "--output", str(output)]) == 0
    printed_json = capsys.readouterr().out
    assert printed_json == output.read_text() and json.loads(printed_json)["bertloss"] == "Entropy"
    assert cli.main(list(map(str, command))) == 0
    (found,) = results.read(str(output), Entropy)
    assert f" {found.mean:.3f} | " in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["subword_nmt", "sentencepiece"])
def test_entropy(kind, models, outputs):
    """Of every symbol that fairseq-generate gave a probability: entropies() compares them with its own."""
    model = models[kind]
    (found,) = entropies(str(model.data), "test", [("a", str(model.checkpoint), outputs[kind])])
    assert sum(found.counts) == sum(len(line.split()) for line in printed(outputs[kind], "P"))


def test_symbols_that_were_joined_have_no_entropy(models, outputs):
    model = models["characters"]
    with pytest.raises(ValueError, match="not in the target dictionary: .* or with --post-process.*--bpe leaves"):
        entropies(str(model.data), "test", [("a", str(model.checkpoint), outputs["characters"])])


def test_symbols_of_languages(tiny_lm, tmp_path):
    """They are among the symbols that have probabilities, and in no text."""
    data = foreign.binarize(foreign.write_data(tmp_path, foreign.sentencepiece))
    task = "--task translation_multi_simple_epoch --langs de,en --lang-pairs de-en --decoder-langtok".split()
    checkpoint = foreign.train_on(data, *task, "--max-update", "3") / "checkpoint_last.pt"
    path = foreign.generate(data, checkpoint, *task, "--source-lang", "de", "--target-lang", "en")
    found = entropies(str(data), "test", [("a", str(checkpoint), path)], languages=("de", "en"))
    positions = sum(found[0].counts)
    assert positions == sum(len(line.split()) for line in printed(path, "P"))
    assert positions > sum(len(line.split()) + 1 for line in printed(path, "H"))
    text = read_translations(path, load_tokenizer(tiny_lm("bert"))).text
    assert text == [by_hand("sentencepiece", line) for line in printed(path, "H")]


def test_average(models, tmp_path):
    model = models["sentencepiece"]
    both = model.kept, model.checkpoint
    output = tmp_path / "average.pt"
    assert cli.main(["average", *map(str, both), "--output", str(output)]) == 0
    averaged, one, other = (torch.load(path)["model"] for path in (output, *both))
    for name, tensor in averaged.items():
        torch.testing.assert_close(tensor, (one[name] + other[name]) / 2)
