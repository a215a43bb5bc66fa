"""Evaluation sets in the XML of the mteval tools, as WIT3 and WMT distribute them.

    <srcset setid="iwslt2014-dev2010" srclang="german">
    <doc docid="69" genre="lectures">
    <seg id="1"> Wissen Sie, ... </seg>

These files are often not well-formed XML (a bare &), so only their tags are interpreted.
"""

import re
from collections.abc import Mapping
from typing import BinaryIO

from fairseq_bertloss.corpus.entities import plain_text
from fairseq_bertloss.corpus.lines import numbered_lines
from fairseq_bertloss.corpus.raw import Pair

# A tag ends before the next "<", so that a damaged one neither swallows a segment nor takes long to reject.
TAG = re.compile(r"(<(?:doc|seg)\b[^<>]*>|</(?:doc|seg)\s*>)", re.IGNORECASE)
ATTRIBUTE = r"""\b{}\s*=\s*["']?([^"'\s<>]+)"""
DOCUMENT_ID = re.compile(ATTRIBUTE.format("docid"), re.IGNORECASE)
SEGMENT_ID = re.compile(ATTRIBUTE.format("id"), re.IGNORECASE)

Key = tuple[str, str]
"""Document (a talk) and segment."""


def read_segments(file: BinaryIO, name: str) -> dict[Key, str]:
    """The file's segments in order, as plain text.

    Args:
        file: the file, open for reading bytes.
        name: what errors call the file.

    Raises:
        ValueError: the file is not UTF-8 or has no segments, or a segment is not closed, occurs twice, or has no id or
            document.
    """
    reader = _Reader(name)
    for number, line in numbered_lines(file, name):
        for part in TAG.split(line):
            reader.read(part, f"{name}:{number}")
    reader.expect_closed()
    if not reader.segments:
        raise ValueError(f"{name} has no <seg>; is it an mteval file?")
    return reader.segments


class _Reader:
    """The segments read so far, and where in the file the reader is."""

    def __init__(self, name: str):
        self.segments: dict[Key, str] = {}
        self._document: str | None = None
        self._open: Key | None = None
        self._opened_at = name
        self._text: list[str] = []

    def read(self, part: str, place: str) -> None:
        """Reads a tag, or the text between two tags."""
        if not TAG.fullmatch(part):
            self._text.append(part)
        elif part.startswith("</"):
            self._close(part, place)
        else:
            self.expect_closed()
            if part[1:4].lower() == "doc":
                self._document = identifier(DOCUMENT_ID, part, place)
            else:
                self._open_segment(identifier(SEGMENT_ID, part, place), place)
        if self._open is None:
            self._text.clear()

    def expect_closed(self) -> None:
        """Raises an error if a segment is open."""
        if self._open:
            talk, segment = self._open
            raise ValueError(f"{self._opened_at}: segment {segment} of talk {talk} is not closed")

    def _open_segment(self, segment: str, place: str) -> None:
        if self._document is None:
            raise ValueError(f"{place}: segment {segment} stands outside <doc>")
        self._open = (self._document, segment)
        self._opened_at = place
        if self._open in self.segments:
            raise ValueError(f"{place}: segment {segment} of talk {self._document} occurs a second time")
        self._text.clear()

    def _close(self, tag: str, place: str) -> None:
        if tag[2:5].lower() == "doc":
            self.expect_closed()
            self._document = None
        elif self._open is None:
            raise ValueError(f"{place}: </seg> closes no segment")
        else:
            self.segments[self._open] = plain_text("".join(self._text))
            self._open = None


def identifier(attribute: re.Pattern, tag: str, place: str) -> str:
    """The id in a tag.

    Raises:
        ValueError: the tag has none.
    """
    match = attribute.search(tag)
    if match is None:
        raise ValueError(f"{place}: {tag} has no id")
    return match[1]


def aligned_segments(source: Mapping[Key, str], target: Mapping[Key, str], names: tuple[str, str]) -> list[Pair]:
    """The segments of two files as pairs, joined on talk and segment, in the order of the source.

    Args:
        source, target: from read_segments.
        names: what errors call the two files.

    Raises:
        ValueError: a segment is only on one side.
    """
    for here, there, (name, other) in ((source, target, names), (target, source, names[::-1])):
        missing = [key for key in here if key not in there]
        if missing:
            talk, segment = missing[0]
            others = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
            raise ValueError(f"{other} lacks segment {segment} of talk {talk}{others}, which {name} has")
    return [(text, target[key]) for key, text in source.items()]
