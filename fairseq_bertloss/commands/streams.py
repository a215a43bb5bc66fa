"""Standard output and error in any state: any encoding, closed, a pipe that nobody reads, a full disk."""

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

STAND_INS = {"−": "-", "–": "-", "±": "+-", "†": "*", "‡": "#", "Δ": "D", "→": "->", "…": "...", "\ufffd": "?"}
"""What is printed instead of a character of our tables that an encoding lacks."""


class NotPrinted(OSError):
    """Results did not reach standard output."""


@contextmanager
def open_streams() -> Iterator[None]:
    """Makes any text printable inside a with statement, and flushes standard output at its end.

    Raises:
        BrokenPipeError: nobody reads the output any more.
        NotPrinted: the output cannot be written.
    """
    codecs.register_error(legible.__name__, legible)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=legible.__name__)
    if sys.stderr is None:  # closed; print would take standard output instead
        sys.stderr = open(os.devnull, "w", encoding="utf-8")
    try:
        yield
    finally:
        if sys.stdout is not None:
            with _explained():
                sys.stdout.flush()


def legible(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replaces a character that an encoding lacks by one that it has; an error handler of codecs.

    Bytes of a file's name that are not text stay these bytes.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    char = error.object[error.start]
    if "\udc80" <= char <= "\udcff":
        return bytes([ord(char) - 0xDC00]), error.start + 1
    return STAND_INS.get(char) or char.encode("ascii", "backslashreplace").decode(), error.start + 1


def check_stdout() -> None:
    """Makes sure, before long work, that its result can be printed.

    Raises:
        ValueError: standard output is closed.
    """
    if sys.stdout is None:
        raise ValueError("standard output is closed, and the result would be lost: send it to a file or /dev/null")


def show(text: str) -> None:
    """Prints results to standard output.

    Raises:
        BrokenPipeError: nobody reads the output any more.
        NotPrinted: the text cannot be written.
    """
    with _explained():
        print(text, flush=True)


def give_up(*streams: TextIO | None) -> None:
    """Discards what cannot be printed, so that the interpreter does not complain about it when it ends."""
    with open(os.devnull, "wb") as nowhere:
        for stream in filter(None, streams):
            os.dup2(nowhere.fileno(), stream.fileno())


@contextmanager
def _explained() -> Iterator[None]:
    """Names standard output in the error of a failed write."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise NotPrinted(error.errno, error.strerror, "standard output") from error
