"""Evaluation of models whose symbols are no language model's, through real fairseq commands."""

import json
import re
import statistics
from pathlib import Path

import foreign
import pytest
from sacremoses import MosesDetokenizer
from training import fairseq

from fairseq_bertloss import cli
from fairseq_bertloss.evaluation.f_bert import FBertScorer

KINDS = {kind.__name__: kind for kind in (foreign.subword_nmt, foreign.sentencepiece, foreign.characters)}


@pytest.fixture(scope="module", params=KINDS)
def model(request, tmp_path_factory):
    made = foreign.make_model(tmp_path_factory.mktemp(request.param), KINDS[request.param])
    made.kind = request.param
    return made


def generate(model, output: Path, *options: str) -> str:
    """What fairseq-generate prints with the model, in a file."""
    done = fairseq(
        "generate", model.data, "--dataset-impl", "raw", "--path", model.checkpoint, "--cpu", "--gen-subset", "test",
        "--required-batch-size-multiple", "1", "--max-len-b", "60", *options,
    )  # fmt: skip
    output.write_text(done.stdout, encoding="utf-8")
    return str(output)


def person(kind: str, symbols: str) -> str:
    """The text that a person makes of a hypothesis."""
    if kind == "subword_nmt":
        return MosesDetokenizer("en").detokenize(symbols.replace("@@ ", "").split())
    return symbols.replace(" ", "").replace("▁", " ").strip()


def hypotheses(path: str) -> list[str]:
    lines = re.findall(r"^H-(\d+)\t\S+\t(.*)$", Path(path).read_text(encoding="utf-8"), re.M)
    return [line for _, line in sorted(lines, key=lambda pair: int(pair[0]))]


def test_score(model, tiny_lm, tmp_path, capsys):
    raw = generate(model, tmp_path / "raw.out")
    text = generate(model, tmp_path / "text.out", *model.options)
    print(Path(text).read_text())
    capsys.readouterr()
    lm = tiny_lm("bert")
    line = ["score", "--json", "--lm", lm, "--layer", "2", "--reference", model.reference, f"text={text}", f"raw={raw}"]
    assert cli.main(line) == 0
    out, err = capsys.readouterr()
    print(err)
    systems = json.loads(out)["systems"]
    expected = [person(model.kind, line) for line in hypotheses(raw)]
    f_bert = 100 * statistics.fmean(FBertScorer(lm, 2).score(expected, foreign.ENGLISH).f_bert)
    print(systems, f_bert)
    assert 0
