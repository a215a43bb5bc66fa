"""How systems were trained, as the report says it: real checkpoints of fairseq-train, whose commands are run again."""

import shlex
import subprocess
import sys
from argparse import Namespace
from html import unescape

import pytest
import torch
from results import comparison, system, write
from training import bertscore, fairseq, train

from fairseq_bertloss import cli
from fairseq_bertloss.checkpoints.averaging import average
from fairseq_bertloss.checkpoints.loading import load
from fairseq_bertloss.checkpoints.training_command import training_command

RISK = """--objective risk --reward-matching one-to-one --cross-entropy-weight 0.2 --finetune-from-model {baseline}
    --lr-scheduler inverse_sqrt --warmup-updates 5 --adam-betas (0.9,0.98) --lr 1e-3 --max-update 3 --disable-validation
    --update-freq 1,2 --batch-size 40 --save-interval-updates 1
    --share-decoder-input-output-embed"""


@pytest.fixture(scope="module")
def tuned(corpus, tiny_lm, tmp_path_factory):
    """The folder of a fine-tuning, with checkpoints along the way."""
    folder = tmp_path_factory.mktemp("tuned")
    start = folder / "start"
    train(corpus, start, "--criterion", "cross_entropy", "--share-decoder-input-output-embed", "--max-update", "1",
          "--disable-validation")  # fmt: skip
    options = RISK.format(baseline=start / "checkpoint_last.pt").split()
    train(corpus, folder / "run", *bertscore(tiny_lm("bert")), *options)
    return folder / "run"


def page(folder, *checkpoints: str) -> str:
    """The page of a report on a baseline and a system `tuned`, without entities."""
    runs = write(folder, comparison(system("baseline", 30.0), system("tuned", 31.0), control=None))
    named = [word for checkpoint in checkpoints for word in ("--checkpoint", checkpoint)]
    assert cli.main(["report", "--runs", runs, *named, "--output", str(folder / "report.html")]) == 0
    return unescape((folder / "report.html").read_text(encoding="utf-8"))


def test_the_command_trains_the_same_model(tuned, tmp_path):
    state = load(tuned / "checkpoint_last.pt")
    tool, *words = shlex.split(training_command(state))
    assert tool == "fairseq-train"
    words[words.index("--save-dir") + 1] = str(tmp_path)
    position = words.index("--user-dir")
    del words[position : position + 2]  # `fairseq` adds it
    fairseq("train", *words)
    again = load(tmp_path / "checkpoint_last.pt")
    assert all(torch.equal(parameter, again["model"][name]) for name, parameter in state["model"].items())


def test_the_command_has_what_was_given_and_little_else(tuned):
    words = shlex.split(training_command(load(tuned / "checkpoint_last.pt")))
    told = dict(zip(words, words[1:], strict=False))
    for option, value in {
        "--criterion": "bertscore_loss", "--objective": "risk", "--lr-scheduler": "inverse_sqrt", "--lr": "0.001",
        "--adam-betas": "(0.9,0.98)", "--update-freq": "1,2", "--cross-entropy-weight": "0.2", "--max-update": "3",
    }.items():  # fmt: skip
        assert told[option] == value
    assert "--share-decoder-input-output-embed" in words and "--cpu" in words
    assert not {"--candidates", "--label-smoothing", "--clip-norm", "--patience", "--beam"} & set(words)


def test_checkpoints_of_old_versions(tuned):
    """Before 0.10 they held one Namespace of all options."""
    state = load(tuned / "checkpoint_last.pt")
    groups = [vars(group) if isinstance(group, Namespace) else group for group in state["cfg"].values()]
    options = {name: value for group in groups if isinstance(group, dict) for name, value in group.items()}
    chosen = {name: state["cfg"][name]["_name"] for name in ("task", "criterion", "optimizer", "lr_scheduler")}
    old = state | {"cfg": None, "args": Namespace(**options | chosen)}
    assert training_command(old) == training_command(state)


def test_the_page_says_how_systems_were_trained(tuned, tmp_path):
    checkpoint = tuned / "checkpoint_last.pt"
    html = page(tmp_path, f"tuned={checkpoint}")
    assert f"{checkpoint}: 3 updates." in html
    assert f"<code>{training_command(load(checkpoint))}</code>" in html
    assert "How the systems were trained" not in page(tmp_path)


def test_the_page_says_what_was_averaged(tuned, tmp_path):
    both = sorted(tuned.glob("checkpoint_*_*.pt"))[-2:]
    mean, between, half = (tmp_path / f"{name}.pt" for name in ("mean", "between", "half"))
    average(both, mean)
    average(both, between, both[0], 0.25)
    average(both[1:], half, both[0])
    summaries = {
        mean: ": 3 updates, the mean of 2 checkpoints.",
        between: f": 3 updates, the mean of 2 checkpoints, interpolated: 0.75 of it and 0.25 of {both[0]}.",
        half: f": 3 updates, interpolated: 0.5 of it and 0.5 of {both[0]}.",
    }
    for checkpoint, summary in summaries.items():
        assert f"{checkpoint}{summary}" in page(tmp_path, f"baseline={both[0]}", f"tuned={checkpoint}")


@pytest.mark.parametrize(
    "argument, message",
    [
        ("other={tuned}", "--checkpoint other={tuned}: there is no system 'other', only baseline, tuned"),
        ("tuned=nowhere.pt", "there is no checkpoint nowhere.pt"),
        ("{tuned}", "--checkpoint {tuned} must be NAME=FILE, with the name of a system"),
        ("tuned={text}", "{text} is not a checkpoint of fairseq-train: it is damaged, or no file of torch's"),
        (
            "tuned={foreign}",
            "{foreign} is not a checkpoint of fairseq-train: its argument --criterion: invalid choice",
        ),
    ],
)
def test_bad_input(argument, message, tuned, tmp_path, capsys):
    files = {"tuned": tuned / "checkpoint_last.pt", "text": tmp_path / "text.pt", "foreign": tmp_path / "foreign.pt"}
    files["text"].write_text("no checkpoint")
    state = load(files["tuned"])
    state["cfg"]["criterion"]["_name"] = "my"
    torch.save(state, files["foreign"])
    runs = write(tmp_path, comparison(system("baseline", 30.0), system("tuned", 31.0), control=None))
    before = sorted(tmp_path.iterdir())
    line = ["report", "--runs", runs, "--checkpoint", argument.format(**files), "--output", str(tmp_path / "r.html")]
    assert cli.main(line) != 0
    assert message.format(**files) in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_a_system_named_twice(tuned, tmp_path, capsys):
    runs = write(tmp_path, comparison(system("baseline", 30.0), system("tuned", 31.0), control=None))
    named = ["--checkpoint", f"tuned={tuned / 'checkpoint_last.pt'}"] * 2
    assert cli.main(["report", "--runs", runs, *named, "--output", str(tmp_path / "report.html")]) == 2
    assert "two systems have the name 'tuned'" in capsys.readouterr().err


def test_a_report_without_checkpoints_needs_no_fairseq(tmp_path):
    """Its import takes seconds."""
    runs = write(tmp_path, comparison(system("baseline", 30.0), system("tuned", 31.0), control=None))
    script = (
        "import sys; from fairseq_bertloss.cli import main\n"
        "assert main(sys.argv[1:]) == 0 and 'fairseq' not in sys.modules"
    )
    line = [sys.executable, "-c", script, "report", "--runs", runs, "--output", str(tmp_path / "report.html")]
    subprocess.run(line, check=True)
