"""A fine-tuning that is killed and goes on is the one that nobody disturbed: real fairseq-train, killed at random moments."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from test_end_to_end import baseline  # noqa: F401, a fixture
from training import PACKAGE, logged, start, train

from fairseq_bertloss.checkpoints import allow_fairseq_classes

allow_fairseq_classes()

UPDATES = 12
OPTIONS = f"""--bert-layer 2 --batch-size 40 --max-update {UPDATES} --save-interval-updates 1 --keep-interval-updates 2
    --disable-validation --dropout 0.1"""

KINDS = {
    "softmax": "--soft-prediction softmax --cross-entropy-weight 0.5 --label-smoothing 0.1",
    "sparsemax": "--soft-prediction sparsemax",
    "entmax15": "--soft-prediction entmax15",
    "gumbel_softmax, annealed": f"--temperature 1.0:0.1@{UPDATES}",
    "risk": '--objective risk --candidates 2 --candidate-generation-args {"sampling":true,"max_len_a":0,"max_len_b":20}',
}
KILLS = 2
"""Of each kind: ten moments in all."""


def updates(text: str) -> dict[float, tuple]:
    """What was logged of each update; of an update that was repeated, the last."""
    done = type("Done", (), {"stdout": text, "stderr": ""})
    return {u["num_updates"]: (u["loss"], u["gnorm"], u["lr"]) for u in logged(done, "train_inner")}


def kill(process, log: Path, after: int, number: int, generator: random.Random) -> None:
    """Within the update that follows so many logged ones."""
    deadline = time.monotonic() + 60
    while len(updates(log.read_text(encoding="utf-8") if log.exists() else "")) < after:
        assert process.is_alive() and time.monotonic() < deadline, log.read_text(encoding="utf-8")[-2000:]
        time.sleep(0.01)
    time.sleep(generator.uniform(0, 0.2))
    (process.terminate if number == signal.SIGTERM else process.kill)()
    process.join()
    assert process.exitcode == -number


def mend(folder: Path) -> str:
    """What the scripts do before they go on with a training; their message."""
    command = 'source scripts/checkpoints.sh && mkdir -p "$1" && mend_checkpoint "$1"'
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euc", command, "bash", folder], cwd=PACKAGE.parent, env=os.environ | {"PATH": path}, check=True,
        capture_output=True, text=True,
    ).stderr  # fmt: skip


@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: whole[: len(whole) // 2]], ids=["empty", "half"])
def test_a_broken_last_checkpoint_is_mended(tmp_path, damage):
    for number, name in enumerate(("checkpoint_1_3.pt", "checkpoint_1_10.pt", "checkpoint_best.pt")):
        torch.save({"updates": torch.tensor(number)}, tmp_path / name)
        os.utime(tmp_path / name, (number, number))
    whole = (tmp_path / "checkpoint_1_10.pt").read_bytes()
    (tmp_path / "checkpoint_last.pt").write_bytes(damage(whole))
    assert "checkpoint_last.pt is broken" in mend(tmp_path)
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == whole
    assert mend(tmp_path) == ""
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_killed_and_resumed(corpus, baseline, tiny_lm, tmp_path, kind):  # noqa: F811
    arguments = ["--criterion", "bertscore_loss", "--bert-model", tiny_lm("bert"), "--finetune-from-model", str(baseline),
                 *OPTIONS.split(), *KINDS[kind].split()]  # fmt: skip
    whole = train(corpus, tmp_path / "whole", *arguments)
    expected = updates(whole.stdout + whole.stderr)
    assert len(expected) == UPDATES

    generator, text = random.Random(kind), ""
    for number, log in zip((signal.SIGTERM, signal.SIGKILL), (tmp_path / "log-0", tmp_path / "log-1"), strict=True):
        mend(tmp_path / "killed")
        process = start(corpus, tmp_path / "killed", log, *arguments)
        kill(process, log, generator.randint(1, 4), number, generator)
        text += log.read_text(encoding="utf-8")
    mend(tmp_path / "killed")
    done = train(corpus, tmp_path / "killed", *arguments)
    resumed = updates(done.stdout + done.stderr)
    assert 0 < len(resumed) < UPDATES
    assert {**updates(text), **resumed} == expected
    whole, killed = (torch.load(tmp_path / name / "checkpoint_last.pt")["model"] for name in ("whole", "killed"))
    assert whole.keys() == killed.keys()
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
