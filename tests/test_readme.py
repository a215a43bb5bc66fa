"""README's examples, run as they stand there; only the models' names and the length of training differ."""

import re
import subprocess
from pathlib import Path

from prepared import write_corpus

from fairseq_bertloss.evaluation.results import METRICS

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def example(language: str) -> str:
    """The fenced blocks of a language."""
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```$", README, re.M | re.S))


def replace(text: str, replacements: dict[str, str]) -> str:
    for old, new in replacements.items():
        assert old in text, f"README no longer has {old!r}"
        text = text.replace(old, new)
    return text


def test_commands(tiny_lm, tmp_path):
    write_corpus(tmp_path, repeats=60)  # more than one batch: no checkpoint of an interval is kept where an epoch ends
    for split in ("train", "valid", "test"):
        for side, language in (("source", "de"), ("target", "en")):
            prefix = "" if split == "train" else f"{split}-"
            (tmp_path / f"{prefix}{side}.txt").rename(tmp_path / f"{split}.{language}")
    script = replace(example("bash"), {
        "LM=bert-base-uncased LAYER=9": f"LM={tiny_lm('bert')} LAYER=2",
        "fairseq-bertloss/configs": str(REPOSITORY / "configs"),
        "--arch transformer_iwslt_de_en": "--arch transformer_tiny",
        "--max-epoch 60": "--max-update 2",
        "--max-epoch 10": "--max-update 1",
        "--save-interval-updates 500": "--save-interval-updates 1",
    })  # fmt: skip
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    table = [line for line in done.stdout.splitlines() if line.startswith("| fine-tuned")]
    assert table and len(re.findall(r"\d+\.\d+", table[0])) == len(METRICS) - 1, "empty outputs are a whole number"
    assert (tmp_path / "report.html").stat().st_size > 10000
    assert len(re.findall(r"^D-\d+\t", done.stdout, re.M)) == 3, "fairseq-interactive did not translate"
    assert (tmp_path / "dict.txt").is_file()


def test_python_example(minilm):
    variables = {}
    exec(replace(example("python"), {"bert-base-uncased": minilm, "layer=9": "layer=5"}), variables)
    assert variables["logits"].grad.abs().sum() > 0
    assert variables["score"].f1.shape == (2,)


def test_every_option_is_in_the_table():
    from fairseq_bertloss.training.criterion import BERTScoreCriterionConfig

    fields = BERTScoreCriterionConfig.__dataclass_fields__.values()
    own = [
        f for f in fields if f.name != "_name" and not str(f.default).startswith("${")
    ]  # "${group.name}" is fairseq's
    names = {f.metadata.get("argparse_alias", "--" + f.name.replace("_", "-")) for f in own}
    assert {name for name in names if f"`{name}" not in README} == set()
