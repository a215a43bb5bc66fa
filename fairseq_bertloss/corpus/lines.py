"""Raw parallel text: files of one sentence a line, plain or gzip, read as a stream.

A line ends at "\\n" and nowhere else, as in every tool that aligns two files by line: U+2028 or
U+0085 inside a line are white space, never a line break. Reading normalises white space and composes
every character (Unicode's NFC), so that text is the same however its accents are stored.
"""

import itertools
import os
import unicodedata
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from fairseq_bertloss.files import decoded_lines, opened
from fairseq_bertloss.text.canonical import composed
from fairseq_bertloss.text.languages import language_of

DOTTED_I_LANGUAGES = ("tr", "az")
"""Languages whose lower case of I is ı, and of İ is i."""


def read_lines(path: str) -> Iterator[str]:
    """The lines of a UTF-8 file, in order, normalised.

    Arguments and errors are those of raw_lines().
    """
    return map(normalize, raw_lines(path))


def raw_lines(path: str) -> Iterator[str]:
    """The lines of a UTF-8 file, in order, as they stand.

    Args:
        path: the file; gzipped if its name ends in .gz. A byte order mark and "\\r\\n" are accepted.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is not UTF-8 text, the gzip stream is damaged or truncated, or the file is empty.
    """
    is_empty = True
    with opened(path) as file:
        for _, line in numbered_lines(file, path):
            is_empty = False
            yield line
    if is_empty:
        raise ValueError(f"{path} is empty")


def numbered_lines(file: BinaryIO, name: str) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file, numbered from 1; a byte order mark is dropped.

    Args:
        file: the file, open for reading bytes.
        name: what errors call the file.

    Raises:
        ValueError: a line is not UTF-8, or has a NUL character.
    """
    for number, line in enumerate(decoded_lines(file, name), 1):
        if "\0" in line:
            raise ValueError(f"{name}:{number}: not text: there is a NUL character; convert the file to UTF-8")
        yield number, line


def read_pairs(source: str, target: str) -> Iterator[tuple[str, str]]:
    """The line pairs of two files.

    Raises:
        FileNotFoundError: one of the two does not exist.
        ValueError: as for read_lines(), or the files differ in their number of lines (found at the end).
    """
    sides = (read_lines(source), read_lines(target))
    paired = 0
    for pair in itertools.zip_longest(*sides):
        if None in pair:
            counts = [
                paired + (line is not None) + sum(1 for _ in side) for line, side in zip(pair, sides, strict=True)
            ]
            raise ValueError(
                f"{source} has {counts[0]} lines but {target} has {counts[1]}; line i of one must be "
                "the translation of line i of the other"
            )
        paired += 1
        yield pair


def normalize(line: str) -> str:
    """The line with its characters composed, each run of Unicode white space as one space, and none at its ends."""
    return " ".join(composed(line).split())


def is_composed(path: str) -> bool:
    """Whether all text in a file is composed already.

    Raises:
        FileNotFoundError, ValueError: as for raw_lines().
    """
    return all(unicodedata.is_normalized("NFC", line) for line in raw_lines(path))


def lowercase(line: str, language: str) -> str:
    """The line in lower case and composed, as its language has it: I becomes ı in Turkish, i elsewhere.

    Args:
        line: the line.
        language: code of its language, in any spelling.
    """
    line = composed(line)  # I and U+0307 are İ
    if language_of(language) in DOTTED_I_LANGUAGES:
        line = line.replace("I", "ı").replace("İ", "i")
    return composed(line.lower())  # of J̌ there is no composed form, of ǰ there is


def fold(line: str) -> str:
    """A key that is the same for all spellings of a line that lower-casing or stripping accents can equate."""
    decomposed = unicodedata.normalize("NFKD", line.casefold())
    return "".join(char for char in decomposed if not unicodedata.combining(char)).replace("ı", "i")


def letters(line: str) -> str:
    """What is left of `fold` without spaces, punctuation and other marks; where that is nothing, the folded line."""
    folded = fold(line)
    return "".join(filter(str.isalnum, folded)) or folded


def batches(items: Iterable, size: int) -> Iterator[list]:
    """The items in lists of length `size`; the last one may be shorter."""
    items = iter(items)
    while batch := list(itertools.islice(items, size)):
        yield batch


def write_lines(path: str | os.PathLike, lines: Iterable[str]) -> None:
    """Writes each line, ended by "\\n", in UTF-8."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)
