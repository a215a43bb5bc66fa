"""Files in folders and in .tgz archives, opened by name.

An archive comes from the network and is not to be trusted: nothing is ever unpacked under a name that it
chooses, and what it can make us read is bounded. A needed member is copied to a nameless temporary file.
"""

import gzip
import os
import posixpath
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO

from fairseq_bertloss.files import DAMAGED

CHUNK = 1 << 20
IN_MEMORY = 64 << 20
"""Bytes above which the copy of a member is kept on the disk."""

LONGEST_READ = 16 << 20
"""tarfile reads the header of a member at once; no honest header is longer."""

FETCH_AGAIN = "download the archive again from its publisher"


@dataclass(frozen=True)
class Limits:
    """Upper bounds: decompressed bytes of one member that is read, and of an archive; number of members."""

    member: int = 1 << 30
    archive: int = 8 << 30
    count: int = 100_000


LIMITS = Limits()


class Refused(ValueError):
    """An archive that no honest packer makes."""


class Folder:
    """The files that lie directly in a folder.

    Args:
        path: the folder.
    """

    def __init__(self, path: str):
        self._path = path

    @property
    def names(self) -> list[str]:
        """The files' names, sorted."""
        return sorted(entry.name for entry in os.scandir(self._path) if entry.is_file())

    def open(self, name: str) -> BinaryIO:
        """The file, open for reading bytes."""
        return open(os.path.join(self._path, name), "rb")


class Tarball:
    """The files of a gzipped tar archive. It is read to its end at first use, so that damage shows at once.

    Args:
        file: path of the archive, or the archive itself, open for reading bytes.
        name: what errors call it.
        limits: bounds on what is read.
    """

    def __init__(self, file: str | BinaryIO, name: str, limits: Limits = LIMITS):
        self._file = file
        self._name = name
        self._limits = limits

    @cached_property
    def names(self) -> list[str]:
        """The names of all members but folders, sorted.

        Raises:
            ValueError: the archive is damaged, truncated or too large, or a name occurs twice or leads out of it.
        """
        names = set()
        with self._reading() as tar:
            for member in self._members(tar):
                if member.isdir():
                    continue
                name = posixpath.normpath(member.name)
                if name in names:
                    raise Refused(f"{self._name} has two members {name!r}; {FETCH_AGAIN}")
                names.add(name)
        return sorted(names)

    def open(self, name: str) -> BinaryIO:
        """Opens a copy of a member for reading bytes; the copy vanishes when it is closed.

        Args:
            name: one of names.

        Raises:
            ValueError: as for names, or the member is too large or not a plain file.
        """
        with self._reading() as tar:
            member = next(member for member in self._members(tar) if posixpath.normpath(member.name) == name)
            if not member.isreg() or member.issparse():
                raise Refused(f"{self._name}: member {name!r} is a link or device, not a plain file; {FETCH_AGAIN}")
            return self._copy(tar.extractfile(member), name)

    def _members(self, tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
        """The archive's members in order; its end mark is checked too."""
        count = 0
        while (member := tar.next()) is not None:
            count += 1
            if count > self._limits.count:
                raise Refused(f"{self._name} has more than {self._limits.count} members; {FETCH_AGAIN}")
            if member.name.startswith("/") or ".." in member.name.split("/"):
                raise Refused(f"{self._name}: member {member.name!r} leads out of the archive; {FETCH_AGAIN}")
            yield member
        tar.fileobj.expect_end()

    def _copy(self, content: BinaryIO, name: str) -> BinaryIO:
        copy = tempfile.SpooledTemporaryFile(IN_MEMORY)
        while chunk := content.read(CHUNK):
            if copy.tell() + len(chunk) > self._limits.member:
                copy.close()
                raise Refused(f"{self._name}: member {name!r} has more than {self._limits.member} bytes; {FETCH_AGAIN}")
            copy.write(chunk)
        copy.seek(0)
        return copy

    @contextmanager
    def _reading(self) -> Iterator[tarfile.TarFile]:
        """The archive, open from its start; errors of its format become one that says what to do."""
        try:
            with open(self._file, "rb") if isinstance(self._file, str) else nullcontext(self._file) as file:
                file.seek(0)
                with gzip.GzipFile(fileobj=file, mode="rb") as unzipped:
                    reader = BoundedReader(unzipped, self._name, self._limits.archive)
                    with tarfile.open(fileobj=reader, mode="r:") as tar:
                        yield tar
        except Refused:
            raise
        # A hostile header makes tarfile raise ValueError or, by a long chain of headers, RecursionError.
        except (tarfile.TarError, *DAMAGED, ValueError, RecursionError) as error:
            raise ValueError(
                f"{self._name} is damaged, truncated or not a .tgz archive ({error}); {FETCH_AGAIN}"
            ) from error


class BoundedReader:
    """A stream that is read forward only, and raises an error when it grows too long.

    Args:
        file: what is read.
        name: what errors call it.
        limit: bytes that may be read or skipped.
    """

    def __init__(self, file: BinaryIO, name: str, limit: int):
        self._file = file
        self._name = name
        self._limit = limit
        self._position = 0
        self.latest = b""

    def tell(self) -> int:
        """Bytes read and skipped so far."""
        return self._position

    def read(self, size: int) -> bytes:
        """Reads the next bytes, fewer at the end of the stream.

        Raises:
            Refused: a header, or all that has been read, is too long.
        """
        if size > LONGEST_READ:
            raise Refused(f"{self._name} has a header of {size} bytes; {FETCH_AGAIN}")
        self.latest = self._file.read(size)
        self._position += len(self.latest)
        if self._position > self._limit:
            raise Refused(f"{self._name} unpacks to more than {self._limit} bytes; {FETCH_AGAIN}")
        return self.latest

    def seek(self, position: int) -> None:
        """Skips to a later position, or to the end of the stream if that comes first.

        Raises:
            Refused: the position is too far, or lies behind.
        """
        if position < self._position:
            raise Refused(f"{self._name} would have to be read backwards; {FETCH_AGAIN}")
        while self._position < position and self.read(min(CHUNK, position - self._position)):
            pass

    def expect_end(self) -> None:
        """Reads the rest, which must be zeros as the last block was; this also verifies the checksum of gzip.

        Raises:
            EOFError: the archive has no end mark. (tarfile takes a damaged header for the end.)
        """
        if not self.latest:
            raise EOFError("it has no end mark")
        while self.latest:
            if self.latest.strip(b"\0"):
                raise EOFError("it has a damaged header")
            self.read(CHUNK)
