"""What the two formats of a WIT3 pair have in common: UTF-8 lines with XML's entities, which are often not XML."""

import re
from collections.abc import Iterator
from typing import BinaryIO

from fairseq_bertloss.corpus.text import normalize

REFERENCE = re.compile(r"&(?:(amp|lt|gt|quot|apos)|#([0-9]{1,7})|#[xX]([0-9a-fA-F]{1,6}));")
ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


def numbered_lines(file: BinaryIO, name: str) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file with their numbers from 1; a byte order mark is taken off.

    Args:
        file: open for reading bytes.
        name: what errors call the file.

    Raises:
        ValueError: a line is not UTF-8.
    """
    for number, raw in enumerate(file, 1):
        try:
            yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{name}:{number}: not UTF-8: {error.reason} at byte {error.start + 1}") from error


def plain_text(text: str) -> str:
    """The text with its references undone, once, and its white space normalised.

    XML's five entities and its numeric references are undone; HTML's many names are not, since text
    like "AT&copy" has them by chance.
    """
    return normalize(REFERENCE.sub(_character, text))


def _character(reference: re.Match) -> str:
    """The character that a reference stands for; a number that is no character stays as it is written."""
    entity, decimal, hexadecimal = reference.groups()
    if entity:
        return ENTITIES[entity]
    code = int(decimal) if decimal else int(hexadecimal, 16)
    is_character = 0 < code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF
    return chr(code) if is_character else reference.group()
