"""One training of benchmarks/effect.py in one folder: done once, gone on with after an interruption."""

import json
import re
import shutil
from itertools import pairwise
from pathlib import Path

import effect_commands
import effect_sizes
import torch

from fairseq_bertloss.checkpoints.resumption import mend


def train(folder: Path, command: list[str]) -> list[dict]:
    """Runs fairseq-train unless it has finished in that folder.

    An interrupted training goes on. It starts anew where its checkpoints have no optimizer.

    Args:
        folder: what the command saves to.
        command: fairseq-train and its options.

    Returns:
        The log's records.

    Raises:
        ValueError: another training has left something there, or half precision has no GPU.
    """
    log = folder / "train.log"
    done = folder / "done"
    _check_same(folder, command)
    if not done.exists():
        _make_ready(folder, command)
        effect_commands.call(*command, output=log, mode="a")
        done.touch()
    return records(log)


def records(log: Path) -> list[dict]:
    """What fairseq logged as JSON: of training updates, epochs and validations.

    What was repeated after an interruption counts once.
    """
    found = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        if match := re.search(r"\| (train_inner|train|valid) \| (\{.*\})", line):
            record = {name: float(value) for name, value in json.loads(match[2]).items()}
            update = next(value for name, value in record.items() if name.endswith("num_updates"))
            found[match[1], update] = {"kind": match[1], **record}
    return list(found.values())


def _check_same(folder: Path, command: list[str]) -> None:
    told = _told(folder)
    if told.exists() and _without_places(json.loads(told.read_text(encoding="utf-8"))) != _without_places(command):
        raise ValueError(
            f"{folder} is of another training, {told} says which: remove the folder, or name another --work"
        )


def _make_ready(folder: Path, command: list[str]) -> None:
    """Makes the folder, notes its command in it, and mends what an interrupted training left there."""
    if "--fp16" in command and not torch.cuda.is_available():
        raise ValueError(f"{folder} is to be trained in half precision, which needs a GPU: there is none here")
    if effect_sizes.WITHOUT_OPTIMIZER in command and _told(folder).exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _told(folder).write_text(json.dumps(command), encoding="utf-8")
    if any(folder.glob("checkpoint*.pt")):
        mend(folder)


def _told(folder: Path) -> Path:
    """The file that says what the folder's training is."""
    return folder / "command.json"


def _without_places(command: list[str]) -> list[str]:
    """A command wherever the checkout and its environment lie."""
    return [part for option, part in pairwise(["", *command]) if option not in ("--user-dir", "--bert-model")]
