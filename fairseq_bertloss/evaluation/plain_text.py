"""Text of any language and content in tables and sentences: what is safe to show, how wide it is, how it lines up.

print(aligned(["system", "BLEU"], [["baseline", "31.80"]]))
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence


def aligned(titles: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A Markdown table whose columns also line up in a terminal.

    Args:
        titles: one a column.
        rows: as many cells each.
        left: so many columns, of text, are flush left; the others, of numbers, flush right.
    """
    lines = [[printable(cell).replace("|", r"\|") for cell in line] for line in (titles, *rows)]
    widths = [max(map(display_width, column)) for column in zip(*lines, strict=True)]
    rule = [":" + "-" * (width + 1) if i < left else "-" * (width + 1) + ":" for i, width in enumerate(widths)]
    head, *body = (" | ".join(_padded(line, widths, left)) for line in lines)
    return "\n".join([f"| {head} |", f"|{'|'.join(rule)}|", *(f"| {line} |" for line in body)])


def display_width(text: str) -> int:
    """How many columns of a terminal a text takes: Chinese characters two, combining marks none."""
    return sum(
        0 if unicodedata.category(char) in ("Mn", "Me", "Cf") else 1 + (unicodedata.east_asian_width(char) in "WF")
        for char in text
    )


def printable(text: str) -> str:
    """A text with a visible character in place of those that control a terminal or may not stand in a file."""
    return "".join(_visible(char) if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") else char for char in text)


def listed(words: Sequence[str], conjunction: str = "and") -> str:
    """'a, b and c'."""
    return f" {conjunction} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def quoted(name: str) -> str:
    """A name, between quotation marks where it could be taken for several words of the sentence."""
    return name if re.fullmatch(r"[\w.+-]+", name) else f"“{name}”"


def _padded(line: Sequence[str], widths: Sequence[int], left: int) -> Iterator[str]:
    for i, (cell, width) in enumerate(zip(line, widths, strict=True)):
        spaces = " " * (width - display_width(cell))
        yield cell + spaces if i < left else spaces + cell


def _visible(char: str) -> str:
    """The character's picture in Unicode's block of control pictures, if it has one."""
    if char == "\x7f":
        return "␡"
    if char < " ":
        return chr(0x2400 + ord(char))
    return "\ufffd"
