"""Folders that are built whole or not at all, and only once for the same settings.

A folder is built as DIR.partial beside DIR and renamed at the end, so that whatever has the name
DIR is complete. The next run deletes what a killed one left in DIR.partial.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from fairseq_bertloss.files import naming

LOCK = ".lock"
OLDER = ".older"


def build_once(
    destdir: str, record_name: str, settings: dict, build: Callable[[str, int], dict], overwrite: bool = False
) -> tuple[dict, bool]:
    """Builds a folder, unless it exists with the same settings.

    Args:
        destdir: the folder.
        record_name: JSON file in it that marks it as ours: the settings, and what build returns.
        settings: all that decides the content of the folder, JSON types only; the first keys of the record.
        build: called with the partial folder and the descriptor of its lock, which child processes
            that write there keep open; returns the other keys of the record.
        overwrite: replace a folder of other settings, and rebuild one of the same.

    Returns:
        The record, and whether the folder was built now.

    Raises:
        ValueError: destdir has other settings and overwrite is not set, or it is not ours.
    """
    destdir = os.path.abspath(destdir)
    if not overwrite and (record := existing(destdir, record_name, settings)):
        return record, False
    check_replaceable(destdir, record_name)
    with locked(f"{destdir}.partial") as (partial, lock):
        # Another run may have finished the folder while this one waited for the lock.
        if not overwrite and (record := existing(destdir, record_name, settings)):
            discard(partial)
            return record, False
        try:
            with naming(destdir):
                empty(partial)
                record = {**settings, **build(partial, lock)}
                write_record(os.path.join(partial, record_name), record)
                replace(partial, destdir)
        except BaseException:
            discard(partial)
            raise
    return record, True


def existing(destdir: str, record_name: str, settings: dict) -> dict | None:
    """The record of a folder that was built with these settings; None if there is no folder.

    Raises:
        ValueError: as for build_once().
    """
    if not os.path.lexists(destdir):
        return None
    check_replaceable(destdir, record_name)
    with open(os.path.join(destdir, record_name), encoding="utf-8") as file:
        record = json.load(file)
    changed = differences({key: record.get(key) for key in settings}, settings)
    if changed:
        raise ValueError(
            f"{destdir} was built with other settings: {'; '.join(changed)}. "
            "Choose another --destdir, or pass --overwrite to replace it"
        )
    return record


def check_replaceable(destdir: str, record_name: str) -> None:
    """Refuses a path that holds something we did not write, so that it is never deleted.

    Raises:
        ValueError: it does.
    """
    if os.path.lexists(destdir) and not os.path.isfile(os.path.join(destdir, record_name)):
        raise ValueError(
            f"{destdir} exists and has no {record_name}, so it is not overwritten; choose another --destdir"
        )


def differences(old: dict, new: dict, prefix: str = "") -> list[str]:
    """The changes between two nested settings, each as `name was X, now Y`."""
    changed = []
    for key in sorted({*old, *new}):
        before = old.get(key)
        now = new.get(key)
        if isinstance(before, dict) and isinstance(now, dict):
            changed += differences(before, now, f"{prefix}{key}.")
        elif before != now:
            changed.append(f"{prefix}{key} was {brief(before)}, now {brief(now)}")
    return changed


def brief(value) -> str:
    """A setting as an error message shows it; the first digits of a checksum are enough there."""
    return "absent" if value is None else str(value)[:24]


@contextmanager
def locked(folder: str) -> Iterator[tuple[str, int]]:
    """Holds a folder, created if needed, for this process alone; waits for another process that holds it.

    The lock belongs to the file's descriptor, so the kernel drops it with the last process that
    holds the descriptor, however that process ends.

    Raises:
        ValueError: the folder holds files but no lock, so it is not ours to empty.
    """
    path = os.path.join(folder, LOCK)
    if os.path.isdir(folder) and os.listdir(folder) and not os.path.exists(path):
        raise ValueError(f"{folder} is in the way, and no earlier run has left it; move it elsewhere")
    while True:
        os.makedirs(folder, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            continue  # the holder renamed or removed the folder between the two calls
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.path.exists(path) and os.path.samestat(os.fstat(descriptor), os.stat(path)):
                yield folder, descriptor
                return
        finally:
            os.close(descriptor)


def empty(folder: str) -> None:
    """Deletes everything in a locked folder but the lock."""
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry)
        elif entry.name != LOCK:
            os.unlink(entry)


def discard(folder: str) -> None:
    """Removes a locked folder; the lock goes last, so that a run that waits for it finds no half-emptied folder."""
    if os.path.isdir(folder):
        empty(folder)
        os.unlink(os.path.join(folder, LOCK))
        with suppress(OSError):  # a new run may have moved in
            os.rmdir(folder)


def write_record(path: str, record: dict) -> None:
    """Writes a record as JSON that people can read."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        json.dump(record, file, indent=2, ensure_ascii=False)
        file.write("\n")


def replace(partial: str, destdir: str) -> None:
    """Gives the finished folder its name; an older folder of that name is moved into it first, then deleted."""
    older = os.path.join(partial, OLDER)
    if os.path.lexists(destdir):
        os.rename(destdir, older)
    os.rename(partial, destdir)
    shutil.rmtree(os.path.join(destdir, OLDER), ignore_errors=True)
