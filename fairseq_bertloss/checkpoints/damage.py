"""Whether a checkpoint is as torch has written it, decided by the file alone, whatever else keeps it from loading.

A file counts as damaged only where something in it says so: what cannot be loaded for another reason is whole, and
nobody may overwrite it.
"""

import errno
import os
import pickletools
import struct
import zipfile
import zlib
from typing import BinaryIO

PICKLES_BEFORE_1_6 = 5
"""Before 1.6 torch wrote so many pickles and then the numbers: its magic number, its version, the machine, what was
saved, and the order of its numbers."""

ARCHIVE_ERRORS = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, IndexError, RuntimeError)
"""What zipfile raises of changed bytes: it takes some for a compression or an encryption, which torch does not use."""


def is_damaged(checkpoint: str | os.PathLike) -> bool:
    """Whether a file was cut or changed: an archive by its directory and checksums, which torch ignores.

    torch's format before 1.6 has no checksums. Its pickles are followed to their ends; that the numbers after them are
    cut, torch says when they are loaded.

    Raises:
        OSError: the file cannot be read.
    """
    with open(checkpoint, "rb") as file:
        is_archive = file.read(2) == b"PK"
        file.seek(0)
        return not (_is_whole_archive(file) if is_archive else _has_whole_pickles(file))


def _is_whole_archive(file: BinaryIO) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except ARCHIVE_ERRORS:
        return False
    except OSError as error:
        if error.errno != errno.EINVAL:  # a place before the file's beginning
            raise
        return False


def _has_whole_pickles(file: BinaryIO) -> bool:
    try:
        for _ in range(PICKLES_BEFORE_1_6):
            for _ in pickletools.genops(file):
                pass
    except ValueError:
        return False
    return True
