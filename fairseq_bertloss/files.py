"""Files: text that is read line by line, results that appear whole or not at all, and disks without room for them."""

import errno
import gzip
import hashlib
import os
import stat
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)
"""What reading a damaged or truncated gzip file raises."""

MOST_LINKS = 40
"""The number of links that Linux follows from one to the next."""

NAME_A_FILE = "name a file to write instead"

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

SPECIAL = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
"""What has a name as files have, but keeps no content, by its type in stat's mode."""


def opened(path: str | os.PathLike) -> AbstractContextManager[BinaryIO]:
    """A file of text, open for reading bytes in a with statement: unpacked if its name ends in .gz.

    Raises:
        OSError: it cannot be opened.
    """
    return (gzip.open if os.fspath(path).endswith(".gz") else open)(path, "rb")


def decoded_lines(file: BinaryIO, name: str) -> Iterator[str]:
    """The lines of a UTF-8 file as they stand, line feeds included; a byte order mark is taken off.

    Args:
        file: open for reading bytes.
        name: what errors call the file.

    Raises:
        ValueError: a line is not UTF-8, or the file is a gzip file that is damaged or truncated.
    """
    number = 0
    try:
        for number, line in enumerate(file, 1):
            yield _decoded(line, name, number)
    except DAMAGED as error:
        raise ValueError(f"{name}:{number + 1}: damaged or truncated gzip file: {error}") from error


def _decoded(line: bytes, name: str, number: int) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}:{number}: not UTF-8: {error.reason} at byte {error.start + 1}") from error


def check_readable_again(path: str | os.PathLike) -> None:
    """Refuses what can be read only once. It is not opened, since opening a pipe may wait for ever.

    Raises:
        ValueError: it is a pipe, a socket or a device.
        OSError: there is nothing of this name.
    """
    if kind := SPECIAL.get(stat.S_IFMT(os.stat(path).st_mode)):
        raise ValueError(
            f"{path} is {kind}, which can be read only once, and is needed more than once: write its content to a file "
            "first (a file whose name ends in .gz is read as it is)"
        )


def checksum(path: str) -> str:
    """The SHA-256 checksum of a file that will be read again, in hexadecimal.

    Raises:
        ValueError: it can be read only once.
    """
    check_readable_again(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_writable(folder: str | os.PathLike, option: str) -> None:
    """Makes a folder, and tries to write there.

    Raises:
        ValueError: it cannot be made or written to. The message begins with the option that named it.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"{option}: cannot write there ({error}); choose another") from error


def check_output(path: str | os.PathLike) -> None:
    """Makes sure, before long work, that its result can be written to a path.

    Raises:
        ValueError: its folder does not exist, or something else than a file stands there.
    """
    _destination(path)


def check_not_split(path: str | os.PathLike) -> None:
    """Refuses a path that fairseq would take for several.

    Raises:
        ValueError: it has the separator of paths in it.
    """
    if os.pathsep in os.fspath(path):
        raise ValueError(
            f"fairseq would split {path} at {os.pathsep!r} into several paths: give a path without this character"
        )


@contextmanager
def whole(*paths: str | os.PathLike) -> Iterator[list[Path]]:
    """Where to write files that appear under their own names once all of them are written.

    An error before that leaves nothing.

    Args:
        paths: the files' own names. A file PATH is written as PATH.partial, of which nothing older is left. Links stay,
            and what they lead to is written.

    Raises:
        ValueError: one of them is no place for a file.
    """
    destinations = list(map(_destination, paths))
    partial = [Path(f"{destination}.partial") for destination in destinations]
    try:
        for written in partial:
            written.unlink(missing_ok=True)  # it may be a link, or what a killed command still writes to
        with naming(", ".join(map(os.fspath, paths))):
            yield partial
            for written, destination in zip(partial, destinations, strict=True):
                os.replace(written, destination)
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


def _destination(path: str | os.PathLike) -> str:
    """Where a result of this name is written: where its links lead, if it has any.

    Raises:
        ValueError: that is no place for a file.
    """
    destination = os.fspath(path)
    for _ in range(MOST_LINKS):
        folder = os.path.dirname(destination) or "."
        if not os.path.isdir(folder):
            raise ValueError(f"{path}: there is no folder {folder}; make it first")
        if _is_systems(folder):
            raise ValueError(f"{path} leads to {folder}, which is the system's: {NAME_A_FILE}")
        if not os.path.islink(destination):
            break
        destination = os.path.join(folder, os.readlink(destination))
    else:
        raise ValueError(f"{path} leads in a circle: {NAME_A_FILE}")
    if os.path.isdir(destination):
        raise ValueError(f"{path} is a folder: {NAME_A_FILE}")
    if os.path.exists(destination) and (kind := SPECIAL.get(stat.S_IFMT(os.stat(destination).st_mode))):
        raise ValueError(f"{path} is {kind}: {NAME_A_FILE}")
    return destination


def _is_systems(folder: str) -> bool:
    """Whether names in a folder stand for devices or open files: in /dev itself (not /dev/shm), all over /proc."""
    real = os.path.realpath(folder)
    return real == "/dev" or f"{real}/".startswith("/proc/")
