"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(*paths: str | os.PathLike) -> Iterator[list[Path]]:
    """Where to write files that appear under their own names once all of them are written; an error leaves nothing.

    Args:
        paths: the files' own names. A file PATH is written as PATH.partial.
    """
    partial = [Path(f"{os.fspath(path)}.partial") for path in paths]
    try:
        yield partial
        for written, path in zip(partial, paths):
            os.replace(written, path)
    finally:
        for written in partial:
            written.unlink(missing_ok=True)
