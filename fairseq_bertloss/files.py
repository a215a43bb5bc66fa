"""Files that appear whole or not at all, and disks without room for them."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def whole(*paths: str | os.PathLike) -> Iterator[list[Path]]:
    """Where to write files that appear under their own names once all of them are written.

    An error before that leaves nothing.

    Args:
        paths: the files' own names. A file PATH is written as PATH.partial, of which nothing older is left.
    """
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
