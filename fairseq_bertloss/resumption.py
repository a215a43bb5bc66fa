"""A killed training goes on: fairseq's checkpoint_last.pt made whole again.

    bertloss mend SAVE_DIR

fairseq writes a checkpoint beside its place and moves it there, but copies checkpoint_last.pt from it: whoever kills the
training in the middle of that leaves half of a file, from which no training starts.
"""

import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple

from fairseq_bertloss.checkpoints import LAST, NotAdmitted, Progress, is_whole, load, progress, reading
from fairseq_bertloss.files import whole

SAVED = re.compile(r"checkpoint(\d+|_\d+_\d+|_best|\.best_\S+)\.pt")
"""Names that fairseq gives to its other checkpoints."""

OF_PARTS = re.compile(r"checkpoint_last.+\.pt")
"""Names that fairseq gives to the last one with --checkpoint-suffix, or where each worker holds a part of the model."""


class Mended(NamedTuple):
    """What has become of a folder's last checkpoint.

    source: the checkpoint that has taken its place, or None where nothing was to do; updates: how many it is of;
    was_missing: not broken.
    """

    source: Path | None
    updates: int
    was_missing: bool = False


def mend(folder: str | os.PathLike) -> Mended:
    """Replaces a broken or missing checkpoint_last.pt by the whole checkpoint beside it of the most updates.

    Time stamps say nothing: a copy of the folder may have others.

    Args:
        folder: fairseq-train's --save-dir.

    Raises:
        ValueError: there is no such folder, or nothing that training can go on from; the last checkpoint is whole, but
            none of fairseq-train's; there is something in a checkpoint that torch's safe loader refuses.
        OSError: a file cannot be read or written.
    """
    if not os.path.isdir(folder):
        wrong = "is a file, not a folder" if os.path.exists(folder) else "does not exist"
        raise ValueError(f"{os.fspath(folder)!r} {wrong}: name fairseq-train's --save-dir")
    last = Path(folder, LAST)
    is_missing = not last.exists()
    if not is_missing and is_whole(last):
        return Mended(None, _read_progress(load(last), last).updates)
    furthest = _furthest(Path(folder))
    if furthest is None:
        raise ValueError(_nothing_left(Path(folder), is_missing))
    reached, source = furthest
    with whole(last) as (partial,):
        shutil.copyfile(source, partial)
    return Mended(source, reached.updates, is_missing)


def _furthest(folder: Path) -> tuple[Progress, Path] | None:
    """The whole checkpoint of the most updates that a training can go on from: averages, say, have no optimizer."""
    found = []
    for path in folder.iterdir():
        if SAVED.fullmatch(path.name):
            try:
                state = load(path)
                if state.get("last_optimizer_state") is not None:
                    found.append((_read_progress(state, path), path))
            except NotAdmitted:
                raise
            except ValueError:  # broken, too
                continue
    return next((one for one in sorted(found, reverse=True) if is_whole(one[1])), None)


def _read_progress(state: dict, path: Path) -> Progress:
    with reading(path):
        return progress(state)


def _nothing_left(folder: Path, is_missing: bool) -> str:
    """Why there is nothing to mend with, and what to do."""
    if not is_missing:
        return (
            f"{folder / LAST} is broken, and no whole checkpoint that training can go on from stands beside it: "
            "remove it, and training starts from the beginning"
        )
    parts = sorted(path.name for path in folder.iterdir() if OF_PARTS.fullmatch(path.name))
    known = f"; {parts[0]} is of a name that is not mended" if parts else ""
    return f"{folder} has no checkpoint that training can go on from{known}: name fairseq-train's --save-dir"
