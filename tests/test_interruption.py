"""A fine-tuning that is killed and goes on is the one that nobody disturbed: real fairseq-train, killed at random moments."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from training import logged, start, train

from fairseq_bertloss import cli
from fairseq_bertloss.checkpoints import allow_fairseq_classes
from fairseq_bertloss.resumption import mend

allow_fairseq_classes()

UPDATES = 20
OPTIONS = f"""--bert-layer 2 --batch-size 40 --max-update {UPDATES} --save-interval-updates 1 --keep-interval-updates 2
    --disable-validation --dropout 0.1"""

KINDS = {
    "softmax": "--objective soft --soft-prediction softmax --cross-entropy-weight 0.5 --label-smoothing 0.1",
    "sparsemax": "--objective soft --soft-prediction sparsemax",
    "entmax15": "--objective soft --soft-prediction entmax15",
    "gumbel_softmax, annealed": f"--objective soft --temperature 1.0:0.1@{UPDATES}",
    "risk": '--candidates 2 --candidate-generation-args {"sampling":true,"max_len_a":0,"max_len_b":20}',
}

def updates(text: str) -> dict[float, tuple]:
    """What was logged of each update, in whole lines; of an update that was repeated, the last."""
    whole = "".join(line for line in text.splitlines(keepends=True) if line.endswith("\n"))
    done = type("Done", (), {"stdout": whole, "stderr": ""})
    return {u["num_updates"]: (u["loss"], u["gnorm"], u["lr"]) for u in logged(done, "train_inner")}


def kill(process, log: Path, after: int, number: int, generator: random.Random) -> None:
    """Within the update that follows so many logged ones."""
    deadline = time.monotonic() + 60
    while len(updates(log.read_text(encoding="utf-8") if log.exists() else "")) < after:
        assert process.is_alive() and time.monotonic() < deadline, log.read_text(encoding="utf-8")[-2000:]
        time.sleep(0.01)
    time.sleep(generator.uniform(0, 0.03))
    (process.terminate if number == signal.SIGTERM else process.kill)()
    process.join()
    assert process.exitcode == -number


def flipped(content: bytes) -> bytes:
    """With one byte changed in its middle."""
    middle = content.index(torch.arange(50, 52).numpy().tobytes())
    return content[:middle] + b"\xff" + content[middle + 1 :]


@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: whole[: len(whole) // 2], flipped],
                         ids=["empty", "half", "flipped"])  # fmt: skip
def test_a_broken_last_checkpoint_is_mended(tmp_path, damage, capsys):
    names = ("checkpoint_averaged.pt", "checkpoint_1_3.pt", "checkpoint_1_10.pt", "checkpoint_best.pt")
    for number, name in enumerate(names):
        torch.save({"updates": torch.arange(number, number + 100)}, tmp_path / name)
        os.utime(tmp_path / name, (-number, -number))
    whole, last = (tmp_path / "checkpoint_1_3.pt").read_bytes(), tmp_path / "checkpoint_last.pt"
    last.write_bytes(damage(whole))
    assert cli.main(["mend", str(tmp_path)]) == 0
    assert "checkpoint_last.pt was broken, its training killed while it was written; it is checkpoint_1_3.pt now" in (
        capsys.readouterr().err
    )
    assert last.read_bytes() == whole and len(list(tmp_path.iterdir())) == 5
    assert cli.main(["mend", str(tmp_path)]) == 0 and capsys.readouterr().err == ""

    (tmp_path / "checkpoint_1_3.pt").write_bytes(b"")
    last.write_bytes(damage(whole))
    assert mend(tmp_path).name == "checkpoint_1_10.pt"
    for name in (*names[1:], "checkpoint_last.pt"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match="is broken, and no whole checkpoint stands beside it: remove it"):
        mend(tmp_path)


def test_nothing_to_mend(tmp_path):
    assert mend(tmp_path / "none") is None and mend(tmp_path) is None
    torch.save({"a": torch.zeros(3)}, tmp_path / "checkpoint_last.pt", _use_new_zipfile_serialization=False)
    assert mend(tmp_path) is None


@pytest.mark.parametrize("kind", KINDS)
def test_killed_and_resumed(corpus, baseline, tiny_lm, tmp_path, kind):
    arguments = ["--criterion", "bertscore_loss", "--bert-model", tiny_lm("bert"), "--finetune-from-model", str(baseline),
                 *OPTIONS.split(), *KINDS[kind].split()]  # fmt: skip
    whole = train(corpus, tmp_path / "whole", *arguments)
    expected = updates(whole.stdout + whole.stderr)
    assert len(expected) == UPDATES

    generator, before = random.Random(kind), {}  # ten moments in all
    for number, log in zip((signal.SIGTERM, signal.SIGKILL), (tmp_path / "log-0", tmp_path / "log-1"), strict=True):
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
