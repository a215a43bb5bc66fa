"""Files that appear whole or not at all, and disks without room for them."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

SPECIAL = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
"""What bears a file's name but holds nothing that stays, by its type in stat's mode."""


def check_readable_again(path: str | os.PathLike) -> None:
    """Refuses what a second reading would not find again, without opening it, which could wait for ever.

    Raises:
        ValueError: it is a pipe, a socket or a device.
        OSError: there is nothing of this name.
    """
    if kind := SPECIAL.get(stat.S_IFMT(os.stat(path).st_mode)):
        raise ValueError(
            f"{path} is {kind}, and is read more than once: write what comes from it to a file first (one whose name ends "
            "in .gz is read as it is)"
        )


def check_can_be_replaced(path: str | os.PathLike) -> None:
    """Refuses a place for a result that is a pipe, a socket or a device, which a file would take the place of.

    Raises:
        ValueError: it is one.
    """
    if os.path.exists(path) and (kind := SPECIAL.get(stat.S_IFMT(os.stat(path).st_mode))):
        raise ValueError(f"{path} is {kind}: name a file, which appears when it is whole")


def check_not_split(path: str | os.PathLike) -> None:
    """Refuses a path that fairseq would take for several.

    Raises:
        ValueError: it has the separator of paths in it.
    """
    if os.pathsep in os.fspath(path):
        raise ValueError(
            f"fairseq would take {path} for several paths, apart by {os.pathsep!r}: give a path that does not have it"
        )


@contextmanager
def whole(*paths: str | os.PathLike) -> Iterator[list[Path]]:
    """Where to write files that appear under their own names once all of them are written.

    An error before that leaves nothing.

    Args:
        paths: the files' own names. A file PATH is written as PATH.partial, of which nothing older is left.

    Raises:
        ValueError: one of them is no place for a file.
    """
    for path in paths:
        check_can_be_replaced(path)
    partial = [Path(f"{os.fspath(path)}.partial") for path in paths]
    try:
        for written in partial:
            written.unlink(missing_ok=True)  # it may be a link, or what a killed command still writes to
        with naming(", ".join(map(os.fspath, paths))):
            yield partial
            for written, path in zip(partial, paths):
                os.replace(written, path)
    finally:
        for written in partial:
            written.unlink(missing_ok=True)


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Says in the error of a full disk what was to be written, which the system does not."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            error.filename = place
        raise
