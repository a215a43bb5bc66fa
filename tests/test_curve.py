"""Curves of a real fine-tuning, translated by the real fairseq-generate."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from sacrebleu.metrics import BLEU, CHRF
from training import logged, train
from waiting import HANG, wait_for

from fairseq_bertloss import cli, curve
from fairseq_bertloss.curve import Checkpoint, curves, epoch_ends, find_checkpoints, text_options
from fairseq_bertloss.evaluation.hypotheses import read_translations
from fairseq_bertloss.evaluation.metrics import Evaluation
from fairseq_bertloss.evaluation.results import HEADLINE, Run
from fairseq_bertloss.language_model.vocabulary import load_tokenizer


class SmallEvaluator:
    """Three quick figures under the names of the headline metrics."""

    def __init__(self, lm):
        self.tokenizer = load_tokenizer(lm)

    def score(self, systems, *references):
        runs = []
        for system in systems:
            metrics = BLEU(), CHRF(), CHRF(word_order=2)
            figures = [metric.corpus_score(system.text, references).score for metric in metrics]
            runs.append(Run(system.path, system.text, dict(zip(HEADLINE, figures, strict=True), empty=0.0), {}))
        return Evaluation(runs, {"BLEU": "small"}, None)


@pytest.fixture(scope="module")
def tuning(corpus, tiny_lm, tmp_path_factory):
    """A training of four epochs and a half, batches in groups of two: checkpoints at updates 14 and 18, and a start."""
    folder = tmp_path_factory.mktemp("tuning")
    done = train(corpus, folder / "run", "--criterion", "cross_entropy", "--batch-size", "32", "--update-freq", "2",
                 "--save-interval-updates", "14", "--max-update", "18", "--num-workers", "1")  # fmt: skip
    (folder / "start").mkdir()
    baseline = folder / "start" / "untrained.pt"
    first = find_checkpoints(str(folder / "run"))[0]
    state = torch.load(first.path)
    for weights in state["model"].values():
        weights.mul_(0.5)
    torch.save(state, baseline)
    return SimpleNamespace(
        done=done, run=str(folder / "run"), baseline=str(baseline), data=str(corpus), lm=tiny_lm("bert"),
        reference=str(corpus.parent / "valid-target.txt"), evaluator=SmallEvaluator(tiny_lm("bert")),
    )  # fmt: skip


@pytest.fixture(scope="module")
def curve_of(tuning):
    """A function that makes the curve of the training; translations are made once."""

    def make(**changes):
        settings = {
            "data": tuning.data, "subset": "valid", "baseline": tuning.baseline, "runs": {"tuned": tuning.run},
            "reference_paths": [tuning.reference], "evaluator": tuning.evaluator, "word_pieces_lm": tuning.lm,
        }  # fmt: skip
        return curves(**settings | changes)

    return make


def translations(tuning):
    """The files that a curve's translations are kept in, by step."""
    folder = Path(tuning.run)
    names = {14: "checkpoint_4_14", 18: "checkpoint_last"}
    return {0: Path(tuning.baseline).parent / "valid" / "untrained.out"} | {
        updates: folder / "valid" / f"{name}.out" for updates, name in names.items()
    }


def test_epoch_ends_are_those_that_fairseq_logged(tuning):
    ends = [epoch["train_num_updates"] for epoch in logged(tuning.done, "train")]
    assert len(ends) == 5 and ends[-1] == 18, "the training did not stop within its fifth epoch"
    checkpoints = find_checkpoints(tuning.run)
    assert [checkpoint.updates for checkpoint in checkpoints] == [14, 18]
    assert epoch_ends(checkpoints) == pytest.approx(ends[:-1])


def test_curve(tuning, curve_of):
    lines = []
    (found,) = curve_of(report=lines.append)
    assert (found.system, found.subset, found.signatures) == ("tuned", "valid", {"BLEU": "small"})
    assert [point.updates for point in found.points] == [0, 14, 18]
    assert found.epoch_ends == pytest.approx([4, 8, 12, 16])
    outputs = translations(tuning)
    read = [read_translations(str(path), tuning.evaluator.tokenizer) for path in outputs.values()]
    references = Path(tuning.reference).read_text().splitlines()
    expected = [
        {metric: run.corpus[metric] for metric in HEADLINE} for run in tuning.evaluator.score(read, references).runs
    ]
    assert [point.scores for point in found.points] == expected
    assert expected[0] != expected[-1]
    assert lines[0] == "tuned: 2 checkpoints of updates 14 to 18"
    assert lines[-1] == f"translation 3 of 3: {outputs[18]}"


def test_several_references_on_the_command_line(tuning, tmp_path, monkeypatch, capsys):
    """The scores are those of `bertloss score`; one of the files is standard input, and has no last reference."""
    references = Path(tuning.reference).read_text().splitlines()
    other = "".join(f"{line.lower().replace('the ', 'that ')}\n" for line in references[:-1]) + "\n"
    (tmp_path / "other.txt").write_text(other)
    options = ["--lm", tuning.lm, "--layer", "2", "--json", "--reference", tuning.reference]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(other.encode())))
    run = [tuning.data, "--baseline", tuning.baseline, "--run", f"tuned={tuning.run}"]
    assert cli.main(["curve", *run, *options, "--reference", "-"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["results"]
    outputs = [f"{updates}={path}" for updates, path in translations(tuning).items()]
    assert cli.main(["score", *outputs, *options, "--reference", str(tmp_path / "other.txt")]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert found["signatures"] == scored["signatures"] and "nrefs:var" in found["signatures"]["BLEU"]
    for point in found["points"]:
        ((run,),) = [scored["systems"][str(point["updates"])]]
        assert point["scores"] == pytest.approx({name: run["scores"][name] for name in HEADLINE}, abs=1e-4)


def test_what_is_translated_is_not_translated_again(tuning, curve_of, monkeypatch):
    first = curve_of()
    commands = []

    def refuse(command, **_):
        commands.append(" ".join(command))
        raise KeyboardInterrupt

    monkeypatch.setattr(curve.subprocess, "run", refuse)
    assert curve_of() == first and not commands
    checkpoint = find_checkpoints(tuning.run)[-1].path
    written = os.stat(checkpoint).st_mtime
    os.utime(checkpoint, (time.time() + 60,) * 2)
    with pytest.raises(KeyboardInterrupt):
        curve_of()
    assert len(commands) == 1
    asked = ["--gen-subset valid", "--beam 5", "--required-batch-size-multiple 1", f"--path {checkpoint}"]
    assert all(options in commands[0] for options in asked)
    os.utime(checkpoint, (written,) * 2)


@pytest.mark.parametrize(
    "language, dictionaries, generation, joined",
    [
        ("en", {"en": "pieces", "de": "words"}, "", True),
        ("de", {"en": "pieces", "de": "words"}, "", False),
        ("de", {"en": "pieces", "de": "words"}, "-t en", True),
        (None, {"en": "pieces", "de": "pieces"}, "--target-lang de", True),
        (None, {"en": "pieces", "de": "pieces"}, "", True),
        (None, {"en": "words", "de": "words"}, "", False),
        (None, {}, "", False),
        ("en", {}, "--fixed-dictionary dict.txt", False),
        ("en", {"en": "pieces"}, "--tokenizer=moses --source-lang de", False),
        ("en", {"en": "pieces"}, "--bpe sentencepiece", False),
        ("en", {"en": "pieces"}, "--remove-bpe --beam 2", False),
    ],
)
def test_pieces_are_joined_where_nothing_else_says_how(
    tiny_lm, tmp_path, monkeypatch, language, dictionaries, generation, joined
):
    """A model of several languages, whose checkpoint knows none, has the same dictionary for all of them."""
    tokenizer = load_tokenizer(tiny_lm("bert"))
    pieces = "".join(f"{piece} 1\n" for piece in sorted(tokenizer.get_vocab())[:40])
    symbols = {"pieces": pieces, "words": "Dachlawinen 1\n"}
    for name, kind in dictionaries.items():
        (tmp_path / f"dict.{name}.txt").write_text(symbols[kind], encoding="utf-8")
    monkeypatch.setattr(curve, "load", lambda path: {})
    monkeypatch.setattr(curve, "options", lambda state, section: {"target_lang": language})
    found = text_options(str(tmp_path), "checkpoint.pt", generation.split(), "lm", tokenizer)
    assert found == (["--tokenizer", "word_pieces", "--word-pieces-lm", "lm"] if joined else [])


def test_a_translation_that_fails(tuning, curve_of):
    with pytest.raises(ChildProcessError, match="failed on .*untrained.pt with status 1: FileNotFoundError: .*nosuch"):
        curve_of(subset="nosuch")
    assert os.listdir(Path(tuning.baseline).parent / "nosuch") == []


def test_an_interrupt_ends_the_translation(tuning, tmp_path):
    """The signal goes to the command alone, as from `kill -INT`; the terminal's Ctrl-C goes to both."""
    checkpoint = shutil.copy(tuning.baseline, tmp_path)
    program = (
        # A shell's job in the background is born with the signal ignored.
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from fairseq_bertloss.curve import translate; translate(*sys.argv[1:4], [], 4000)"
    )
    command = subprocess.Popen([sys.executable, "-c", program, tuning.data, "valid", checkpoint],
                               stderr=subprocess.DEVNULL)  # fmt: skip
    partial = tmp_path / "valid" / "untrained.out.partial"
    children = []

    def at_work() -> bool:
        children[:] = Path(f"/proc/{command.pid}/task/{command.pid}/children").read_text().split()
        return partial.exists() and children

    wait_for(at_work)
    command.send_signal(signal.SIGINT)
    assert command.wait(timeout=HANG) != 0
    wait_for(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
    assert os.listdir(tmp_path / "valid") == []


def test_epochs_between_two_checkpoints_are_interpolated():
    progress = [(4, 1, 0.0), (8, 2, 5.0), (12, 2, 4.0), (30, 5, 20.0), (40, 8, 40.0)]
    checkpoints = [Checkpoint("", *position, interval=4, keep=-1) for position in progress]
    assert epoch_ends(checkpoints) == pytest.approx([5, 10, 15, 20, 20 + 20 / 3, 20 + 40 / 3, 40])
    assert epoch_ends(checkpoints[:1]) == []


def copies(tuning, folder, names):
    """A folder with checkpoints of the training under other names."""
    folder.mkdir()
    by_updates = {checkpoint.updates: checkpoint.path for checkpoint in find_checkpoints(tuning.run)}
    for name, updates in names.items():
        shutil.copy(by_updates[updates], folder / name)
    return str(folder)


def test_which_checkpoints_are_of_the_curve(tuning, tmp_path):
    names = {"checkpoint3.pt": 14, "checkpoint_last.pt": 18, "checkpoint_best.pt": 14, "checkpoint_crashed.pt": 14}
    found = find_checkpoints(copies(tuning, tmp_path / "epochs", names))
    assert [Path(checkpoint.path).name for checkpoint in found] == ["checkpoint3.pt", "checkpoint_last.pt"]
    found = find_checkpoints(copies(tuning, tmp_path / "done", {"checkpoint_5_18.pt": 18, "checkpoint_last.pt": 18}))
    assert [Path(checkpoint.path).name for checkpoint in found] == ["checkpoint_5_18.pt"]


def test_checkpoints_that_training_deleted_are_missed(tuning, tmp_path, curve_of):
    folder = copies(tuning, tmp_path / "run", {"checkpoint_last.pt": 18})
    state = torch.load(Path(folder) / "checkpoint_last.pt")
    state["cfg"]["checkpoint"]["keep_interval_updates"] = 1
    torch.save(state, Path(folder) / "checkpoint_5_18.pt")

    def stop(line):
        raise RuntimeError(line)

    with pytest.raises(RuntimeError, match="^short: .*18 to 18; warning: --keep-interval-updates 1 deleted those"):
        curve_of(runs={"short": folder}, report=stop)


@pytest.mark.parametrize(
    "names, message",
    [
        (None, "run has no checkpoints from before the end of training: train with --save-interval-updates N"),
        (
            {"checkpoint_last.pt": 18, "checkpoint_best.pt": 14},
            "run has no checkpoints from before the end of training",
        ),
        (
            {"checkpoint_4_14.pt": 14, "checkpoint_2_14.pt": 14},
            r"2_14.pt \(update 14, epoch 4\) .* belong to different trainings",
        ),
    ],
)
def test_folders_that_are_of_no_training(tuning, tmp_path, curve_of, names, message):
    if names:
        copies(tuning, tmp_path / "run", names)
    with pytest.raises(ValueError, match=message):
        curve_of(runs={"tuned": str(tmp_path / "run")})


def test_a_file_that_is_no_checkpoint(tmp_path):
    (tmp_path / "checkpoint_1_14.pt").write_text("text")
    with pytest.raises(ValueError, match="checkpoint_1_14.pt is not a checkpoint of fairseq-train"):
        find_checkpoints(str(tmp_path))


def test_baseline_and_reference(tuning, curve_of, tmp_path):
    with pytest.raises(ValueError, match="there is no checkpoint .*missing.pt"):
        curve_of(baseline=str(tmp_path / "missing.pt"))
    short = tmp_path / "short.txt"
    short.write_text("One sentence.\n")
    curve_of()
    with pytest.raises(ValueError, match="untrained.out has 6 sentences and the reference .*short.txt has 1"):
        curve_of(reference_paths=[str(short)])


def test_translations_are_utf_8_whatever_the_locale(tmp_path, monkeypatch):
    started = subprocess.run

    def run_another(command, **options):
        return started([sys.executable, "-c", "print('H-0\\t-1\\t\\u4e2d\\u6587')"], **options)

    monkeypatch.setattr(curve.subprocess, "run", run_another)
    for name, value in {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}.items():
        monkeypatch.setenv(name, value)
    checkpoint = str(tmp_path / "checkpoint_best.pt")
    curve.translate("data", "valid", checkpoint, "lm", 100)
    with open(curve.output_path(checkpoint, "valid"), encoding="utf-8") as file:
        assert file.read() == "H-0\t-1\t中文\n"
