"""A training that is killed and resumed is the uninterrupted one: real fairseq-train, killed at random moments."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from training import logged, start, train
from waiting import HANG

from fairseq_bertloss import cli
from fairseq_bertloss.checkpoints.loading import allow_fairseq_classes
from fairseq_bertloss.checkpoints.resumption import mend

allow_fairseq_classes()

UPDATES = 20
OPTIONS = f"""--bert-layer 2 --batch-size 40 --max-update {UPDATES} --save-interval-updates 1 --keep-interval-updates 2
    --disable-validation --dropout 0.1"""

KINDS = {
    "softmax": "--objective soft --soft-prediction softmax --cross-entropy-weight 0.5 --label-smoothing 0.1",
    "sparsemax": "--objective soft --soft-prediction sparsemax",
    "entmax15": "--objective soft --soft-prediction entmax15",
    "gumbel_softmax, annealed": f"--objective soft --temperature 1.0:0.1@{UPDATES}",
    "risk": "--objective risk --candidates 2 "
    '--candidate-generation-args {"sampling":true,"max_len_a":0,"max_len_b":20}',
}


def updates(text: str) -> dict[float, tuple]:
    """What was logged of each update, in whole lines; of an update that was repeated, the last."""
    whole = "".join(line for line in text.splitlines(keepends=True) if line.endswith("\n"))
    done = type("Done", (), {"stdout": whole, "stderr": ""})
    return {u["num_updates"]: (u["loss"], u["gnorm"], u["lr"]) for u in logged(done, "train_inner")}


def kill(process, log: Path, after: int, number: int, generator: random.Random) -> None:
    """Within the update that follows so many logged ones."""
    deadline = time.monotonic() + HANG
    while len(updates(log.read_text(encoding="utf-8") if log.exists() else "")) < after:
        assert process.is_alive() and time.monotonic() < deadline, log.read_text(encoding="utf-8")[-2000:]
        time.sleep(0.01)
    time.sleep(generator.uniform(0, 0.03))
    (process.terminate if number == signal.SIGTERM else process.kill)()
    process.join()
    assert process.exitcode == -number


def flipped(content: bytes) -> bytes:
    """The content with one byte changed in its middle."""
    middle = content.index(torch.arange(50, 52).numpy().tobytes())
    return content[:middle] + b"\xff" + content[middle + 1 :]


def save(path: Path, updates: int, epoch: int = 1, batches: int = 0, legacy: bool = False) -> bytes:
    """Writes what a checkpoint says of its training, with other weights for each; the content."""
    state = {
        "model": {"weights": torch.arange(updates, updates + 100)},
        "optimizer_history": [{"num_updates": 1000}, {"num_updates": updates}],
        "extra_state": {"train_iterator": {"epoch": epoch, "iterations_in_epoch": batches}},
        "last_optimizer_state": {"state": {}},
    }
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    return path.read_bytes()


@pytest.fixture
def folder(tmp_path):
    """A training's checkpoints after `cp -r`: time stamps fall as the updates rise. Tests write checkpoint_last.pt."""
    checkpoints = {
        "checkpoint_1_3.pt": 3,
        "checkpoint_1_10.pt": 10,
        "checkpoint_best.pt": 7,
        "checkpoint1.pt": 5,
        "checkpoint.best_bleu_30.0000.pt": 6,
    }
    for name, updates in checkpoints.items():
        save(tmp_path / name, updates)
        os.utime(tmp_path / name, (-updates, -updates))
    save(tmp_path / "checkpoint_interpolated.pt", 99)
    save(tmp_path / "checkpoint_1_50.pt", 50)
    state = torch.load(tmp_path / "checkpoint_1_50.pt")
    torch.save(
        {name: value for name, value in state.items() if name != "last_optimizer_state"},
        tmp_path / "checkpoint_1_50.pt",
    )
    torch.save({"another": torch.arange(100)}, tmp_path / "checkpoint_1_60.pt")
    (tmp_path / "checkpoint_1_70.pt.tmp").write_bytes(save(tmp_path / "checkpoint_last.pt", 70))
    return tmp_path


def zeros(whole: bytes) -> bytes:
    """What a file system may leave of a file after the power has failed."""
    return bytes(len(whole))


@pytest.mark.parametrize("legacy", [False, True], ids=["", "before 1.6"])
@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: whole[:1], lambda whole: whole[: len(whole) // 2],
                                    flipped, zeros],
                         ids=["empty", "one byte", "half", "flipped", "zeros"])  # fmt: skip
def test_a_broken_last_checkpoint_is_mended(folder, damage, legacy, capsys):
    if legacy and damage is flipped:
        pytest.skip("torch's format before 1.6 has no checksums")
    last, kept = folder / "checkpoint_last.pt", folder / "checkpoint_last.pt.broken"
    before, damaged = set(folder.iterdir()), damage(save(last, 10, legacy=legacy))
    last.write_bytes(damaged)
    assert cli.main(["mend", str(folder)]) == 0
    assert capsys.readouterr().err.endswith(
        "/checkpoint_last.pt was broken and is checkpoint_last.pt.broken now; "
        "checkpoint_1_10.pt has taken its place, of update 10\n"
    )
    assert last.read_bytes() == (folder / "checkpoint_1_10.pt").read_bytes() and set(folder.iterdir()) == before | {
        kept
    }
    assert kept.read_bytes() == damaged
    assert cli.main(["mend", str(folder)]) == 0
    assert capsys.readouterr().err == f"{last} is whole, of update 10: nothing to do\n"

    (folder / "checkpoint_1_10.pt").write_bytes(damage(save(folder / "checkpoint_1_10.pt", 10, legacy=legacy)))
    last.write_bytes(damage(last.read_bytes()))
    mended = mend(folder)
    assert mended[:2] == (folder / "checkpoint_best.pt", 7)
    assert any("checkpoint_1_10.pt is " in reason and "damaged" in reason for reason in mended.passed_over)
    for path in folder.glob("checkpoint*.pt"):
        path.write_bytes(b"")
    message = (
        "is broken, and no whole checkpoint that training can go on from stands beside it: look at checkpoint.best_bleu"
    )
    with pytest.raises(ValueError, match=message):
        mend(folder)


def test_any_changed_byte(tmp_path):
    """In the names, lengths and checksums of the archive too."""
    source = save(tmp_path / "checkpoint_1_10.pt", 10)
    whole, last = save(tmp_path / "checkpoint_1_9.pt", 9), tmp_path / "checkpoint_last.pt"
    places = [*range(0, 1000, 5), *range(len(whole) - 1000, len(whole), 5)]
    outcomes = set()
    for place in places:
        damaged = whole[:place] + bytes([whole[place] ^ 0x21]) + whole[place + 1 :]
        last.write_bytes(damaged)
        try:
            is_mended = mend(tmp_path).source is not None
        except ValueError:  # its checksums hold
            assert last.read_bytes() == damaged
            continue
        assert last.read_bytes() == (source if is_mended else damaged)
        assert is_mended or torch.equal(torch.load(last)["model"]["weights"], torch.arange(9, 109))
        outcomes.add(is_mended)
    assert outcomes == {False, True}


def test_the_position_in_an_epoch_breaks_ties(tmp_path):
    """Where updates overflowed in half precision, their number stood still."""
    for name, epoch, batches in (("_1_10", 1, 12), ("_best", 2, 0), ("1", 1, 30)):
        save(tmp_path / f"checkpoint{name}.pt", 10, epoch, batches)
    (tmp_path / "checkpoint_last.pt").write_bytes(b"")
    assert mend(tmp_path).source.name == "checkpoint_best.pt"


def test_a_missing_last_checkpoint(folder, capsys):
    """Without it fairseq would start from the beginning without a word."""
    (folder / "checkpoint_last.pt").unlink()
    assert cli.main(["mend", str(folder)]) == 0
    assert (
        "/checkpoint_last.pt was missing; checkpoint_1_10.pt has taken its place, of update 10"
        in capsys.readouterr().err
    )
    assert (folder / "checkpoint_last.pt").read_bytes() == (folder / "checkpoint_1_10.pt").read_bytes()


@pytest.mark.parametrize("legacy", [False, True])
def test_nothing_to_mend(folder, capsys, legacy):
    """A whole one stays, also one that is behind another."""
    whole = save(folder / "checkpoint_last.pt", 4, legacy=legacy)
    assert cli.main(["mend", str(folder)]) == 0
    assert capsys.readouterr().err == f"{folder}/checkpoint_last.pt is whole, of update 4: nothing to do\n"
    assert (folder / "checkpoint_last.pt").read_bytes() == whole


@pytest.mark.parametrize(
    "name, message",
    [
        ("none", "'{here}/none' does not exist: name fairseq-train's --save-dir"),
        ("checkpoint_1_3.pt", "'{here}/checkpoint_1_3.pt' is a file, not a folder: name fairseq-train's --save-dir"),
        ("empty", "{here}/empty has no checkpoint that training can go on from: name fairseq-train's --save-dir"),
        (
            "averages",
            "{here}/averages has no checkpoint that training can go on from: look at checkpoint_averaged.pt first",
        ),
        (
            "parts",
            "{here}/parts has no checkpoint that training can go on from: look at checkpoint_last-shard0.pt first",
        ),
        (
            "broken alone",
            "checkpoint_last.pt is broken, and no whole checkpoint that training can go on from stands beside it: "
            "remove it, and",
        ),
        (
            "broken, parts",
            "beside it: look at checkpoint_last-rank-1.pt, checkpoint_last-shard0.pt, checkpoint_last.pt.bak first; "
            "training",
        ),
        (
            "folder",
            "checkpoint_last.pt is not a file, but fairseq-train has to write one there: move it away, and mend again",
        ),
        ("another", "checkpoint_last.pt is not a checkpoint of fairseq-train: it has no 'extra_state'"),
        ("strange", "checkpoint_last.pt cannot be read: torch's safe loader refuses pathlib"),
    ],
)
def test_what_cannot_be_mended(folder, name, message, capsys):
    for made in (
        "empty",
        "averages",
        "parts",
        "another",
        "strange",
        "broken alone",
        "broken, parts",
        "folder/checkpoint_last.pt",
    ):
        (folder / made).mkdir(parents=True)
    save(folder / "averages" / "checkpoint_averaged.pt", 3)
    save(folder / "parts" / "checkpoint_last-shard0.pt", 3)
    torch.save({"a": torch.zeros(1)}, folder / "another" / "checkpoint_last.pt")
    torch.save({"a": Path("a")}, folder / "strange" / "checkpoint_last.pt")
    for broken in ("broken alone", "broken, parts"):
        (folder / broken / "checkpoint_last.pt").write_bytes(b"")
    for part in ("checkpoint_last-rank-1.pt", "checkpoint_last-shard0.pt", "checkpoint_last.pt.bak"):
        save(folder / "broken, parts" / part, 3)
    before = {path: path.read_bytes() for path in folder.rglob("*.pt") if path.is_file()}
    assert cli.main(["mend", str(folder / name)]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("bertloss: error: ") and message.format(here=folder) in said
    assert {path: path.read_bytes() for path in folder.rglob("*.pt") if path.is_file()} == before


REFUSED = [np.str_("x"), np.bytes_(b"x"), np.complex128(1), np.datetime64("2020-01-01"), np.zeros(2, [("a", "i4")]),
           np.array(["a", "b"]), np.array([None, {}], dtype=object), Path("a")]  # fmt: skip


@pytest.mark.parametrize("legacy", [False, True], ids=["", "before 1.6"])
@pytest.mark.parametrize("value", REFUSED, ids=lambda value: getattr(value, "dtype", type(value)).__class__.__name__)
def test_what_the_safe_loader_refuses_is_whole(folder, value, legacy, capsys):
    """It stays where it is, newer than all others; beside a broken one it is named and passed over."""
    last = folder / "checkpoint_last.pt"
    state = torch.load(last)
    state["extra_state"]["best"] = value
    torch.save(state, last, _use_new_zipfile_serialization=not legacy)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert cli.main(["mend", str(folder)]) == 2
    assert "checkpoint_last.pt cannot be read: torch's safe loader refuses " in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    shutil.copy(last, folder / "checkpoint_1_80.pt")
    last.write_bytes(b"")
    assert cli.main(["mend", str(folder)]) == 0
    said = capsys.readouterr().err
    assert f"passed over: {folder}/checkpoint_1_80.pt cannot be read: torch's safe loader refuses " in said
    assert "checkpoint_1_10.pt has taken its place" in said


@pytest.mark.parametrize("name", ["checkpoint_last.pt", "checkpoint_1_10.pt"])
@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("unable to mmap 160001485 bytes from file <checkpoint_last.pt>: Cannot allocate memory (12)"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
            "you tried to allocate 9 bytes."
        ),
    ],
)
def test_too_little_memory_breaks_nothing(folder, name, error, monkeypatch, capsys):
    if name != "checkpoint_last.pt":
        (folder / "checkpoint_last.pt").write_bytes(b"")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    load = torch.load

    def fail(path, **options):
        if Path(path).name == name:
            raise error
        return load(path, **options)

    monkeypatch.setattr(torch, "load", fail)
    assert cli.main(["mend", str(folder)]) == 2
    assert capsys.readouterr().err == f"bertloss: error: {folder}/{name}: Cannot allocate memory\n"
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_limit_of_memory(folder):
    """A real one."""
    torch.save(torch.load(folder / "checkpoint_last.pt") | {"more": torch.zeros(2**26)}, folder / "checkpoint_last.pt")
    program = f"""if True:
        import resource
        from fairseq_bertloss.checkpoints.loading import load
        from fairseq_bertloss.checkpoints.resumption import mend
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, used + 2**26))
        mend({str(folder)!r})
    """
    size = (folder / "checkpoint_last.pt").stat().st_size
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == f"OSError: [Errno 12] Cannot allocate memory: '{folder}/checkpoint_last.pt'"
    assert (folder / "checkpoint_last.pt").stat().st_size == size and not (
        folder / "checkpoint_last.pt.broken"
    ).exists()


@pytest.mark.parametrize("kind", KINDS)
def test_killed_and_resumed(corpus, baseline, tiny_lm, tmp_path, kind):
    arguments = ["--criterion", "bertscore_loss", "--bert-model", tiny_lm("bert"),
                 "--finetune-from-model", str(baseline), *OPTIONS.split(), *KINDS[kind].split()]  # fmt: skip
    whole = train(corpus, tmp_path / "whole", *arguments)
    expected = updates(whole.stdout + whole.stderr)
    assert len(expected) == UPDATES

    generator, before = random.Random(kind), {}  # ten moments in all
    for number, log in zip((signal.SIGTERM, signal.SIGKILL), (tmp_path / "log-0", tmp_path / "log-1"), strict=True):
        if (tmp_path / "killed" / "checkpoint_last.pt").exists():
            mend(tmp_path / "killed")
        process = start(corpus, tmp_path / "killed", log, *arguments)
        kill(process, log, generator.randint(1, 8), number, generator)
        before |= updates(log.read_text(encoding="utf-8"))
    mend(tmp_path / "killed")
    done = train(corpus, tmp_path / "killed", *arguments)
    resumed = updates(done.stdout + done.stderr)
    assert 0 < len(resumed) < UPDATES
    assert before | resumed == expected
    whole, killed = (torch.load(tmp_path / name / "checkpoint_last.pt")["model"] for name in ("whole", "killed"))
    assert whole.keys() == killed.keys()
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
