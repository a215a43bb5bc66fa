"""Replaces a broken checkpoint_last.pt, so that a training that was killed can go on.

    bertloss mend SAVE_DIR

fairseq writes a checkpoint under another name and renames it when it is whole, but copies checkpoint_last.pt from it. A
training that is killed in the middle of the copy leaves half of a file, from which no training starts.
"""

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fairseq_bertloss.checkpoints.damage import is_damaged
from fairseq_bertloss.checkpoints.loading import LAST, Damaged, Progress, load, load_whole, progress, reading
from fairseq_bertloss.files import whole

SAVED = re.compile(r"checkpoint(\d+|_\d+_\d+|_best|\.best_\S+)\.pt")
"""Names that fairseq gives to its other checkpoints."""

BROKEN = f"{LAST}.broken"
"""The name under which the newest broken last checkpoint is kept, in case that it can still be restored."""

NAMED = 4
"""The largest number of files that an error names."""


class Mended(NamedTuple):
    """What has become of a folder's last checkpoint.

    source: the checkpoint that has taken its place, or None where nothing was to do; updates: its number of updates;
    kept: where the broken one is, None where it was missing; passed_over: for each other checkpoint that may have more
    updates, why it cannot be read.
    """

    source: Path | None
    updates: int
    kept: Path | None = None
    passed_over: Sequence[str] = ()


def mend(folder: str | os.PathLike) -> Mended:
    """Replaces a broken or missing checkpoint_last.pt by the whole checkpoint beside it of the most updates.

    Broken is what was cut or changed, and nothing else: one that is whole and cannot be loaded stays. Time stamps say
    nothing: a copy of the folder may have others.

    Args:
        folder: fairseq-train's --save-dir.

    Raises:
        ValueError: there is no such folder, or nothing that training can go on from; the last checkpoint is whole, but
            none of fairseq-train's, or with something in it that torch's safe loader refuses.
        OSError: a file cannot be read or written, or there is too little memory.
    """
    if not os.path.isdir(folder):
        wrong = "is a file, not a folder" if os.path.exists(folder) else "does not exist"
        raise ValueError(f"{os.fspath(folder)!r} {wrong}: name fairseq-train's --save-dir")
    last = Path(folder, LAST)
    is_missing = not last.exists()
    if not is_missing and (updates := _updates(last)) is not None:
        return Mended(None, updates)
    passed_over = []
    furthest = _furthest(Path(folder), passed_over)
    if furthest is None:
        raise ValueError(_nothing_left(Path(folder), is_missing))
    reached, source = furthest
    kept = None if is_missing else last.with_name(BROKEN)
    with whole(last) as (partial,):
        shutil.copyfile(source, partial)
        if kept:
            os.replace(last, kept)
    return Mended(source, reached.updates, kept, passed_over)


def _updates(last: Path) -> int | None:
    """The number of updates of a last checkpoint; None if it is broken."""
    if not last.is_file():
        raise ValueError(
            f"{last} is not a file, but fairseq-train has to write one there: move it away, and mend again"
        )
    try:
        return _read_progress(load_whole(last), last).updates
    except Damaged:
        return None


def _furthest(folder: Path, passed_over: list[str]) -> tuple[Progress, Path] | None:
    """The whole checkpoint of the most updates that a training can go on from: averages, say, have no optimizer.

    Why others cannot be read is added to `passed_over`.
    """
    found = []
    for path in sorted(folder.iterdir()):
        if SAVED.fullmatch(path.name) and path.is_file():
            try:
                state = load(path)
                if state.get("last_optimizer_state") is not None:
                    found.append((_read_progress(state, path), path))
            except ValueError as error:
                passed_over.append(str(error))
    for reached, path in sorted(found, reverse=True):
        if not is_damaged(path):
            return reached, path
        passed_over.append(f"{path} is damaged: its content does not match its checksums")
    return None


def _read_progress(state: dict, path: Path) -> Progress:
    with reading(path):
        return progress(state)


def _nothing_left(folder: Path, is_missing: bool) -> str:
    """Why there is nothing to mend with, and what to do."""
    others = sorted(path.name for path in folder.glob("checkpoint*") if path.name != LAST)
    named = ", ".join(others[:NAMED]) + (f" and {len(others) - NAMED} more" if len(others) > NAMED else "")
    look = f"look at {named} first; training cannot go on from any of them as they are"
    if is_missing:
        beside = f": {look}" if others else ""
        return f"{folder} has no checkpoint that training can go on from{beside}: name fairseq-train's --save-dir"
    beside = f"{look}; if none of them helps, remove it" if others else "remove it"
    return (
        f"{folder / LAST} is broken, and no whole checkpoint that training can go on from stands beside it: {beside}, "
        "and training starts from the beginning"
    )
