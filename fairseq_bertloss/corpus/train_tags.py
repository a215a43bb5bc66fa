"""The training text of WIT3, train.tags.de-en.de: talks, sentence by sentence, with lines of tags between them.

    <url>http://www.ted.com/talks/lang/de/...</url>
    <talkid>343</talkid>
    <title>David Gallo über das Leben in der Tiefsee</title>
    <description>Mit lebendigen Videoclips ...</description>
    Wir fangen mit einem Video an.

As in fairseq's prepare-iwslt14.sh, titles and descriptions are sentences too and the other tag lines are dropped.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from fairseq_bertloss.corpus.entities import plain_text
from fairseq_bertloss.corpus.lines import numbered_lines
from fairseq_bertloss.corpus.raw import Pair

TRANSLATED = ("title", "description")
"""Tags whose text is a sentence of the talk."""

TAGS = ("url", "talkid", "keywords", "speaker", "reviewer", "translator", *TRANSLATED)
TAG_LINE = re.compile(rf"<({'|'.join(TAGS)})(?:\s[^<>]*)?>(.*)</\1\s*>")
DOCUMENT_LINE = re.compile(r"<(/?doc)\b[^<>]*>")
BROKEN_TAG_LINE = re.compile(rf"</?({'|'.join(('doc', *TAGS))})\b")


@dataclass
class Talk:
    """One side of a talk."""

    line: int
    """Number of the line in the file where the talk starts."""
    headers: dict[str, str] = field(default_factory=dict)
    """The text of the tag lines, by tag; the last one if a tag occurs more than once."""
    sentences: list[str] = field(default_factory=list)

    @property
    def identity(self) -> str:
        """The number of the talk at TED, or a question mark if the file does not say."""
        return self.headers.get("talkid", "?")


def read_talks(file: BinaryIO, name: str) -> list[Talk]:
    """The talks of one file, in order.

    Args:
        file: the file, open for reading bytes.
        name: what errors call the file.

    Raises:
        ValueError: the file is not UTF-8, has a broken tag line or text outside a talk, or has no talk.
    """
    talks: list[Talk] = []
    awaits_url = False  # later years open a talk by <doc> and <url>, earlier ones by <url> alone
    for number, line in numbered_lines(file, name):
        tag, text = parse_line(line.strip(), f"{name}:{number}")
        if tag == "doc" or (tag == "url" and not awaits_url):
            talks.append(Talk(number))
        awaits_url = tag == "doc" or (awaits_url and tag != "url")
        if talks:
            add(talks[-1], tag, text, f"{name}:{number}")
        elif text:
            raise ValueError(f"{name}:{number}: text before the first <url>; is it a train.tags file?")
    if not talks:
        raise ValueError(f"{name} has no talks; is it a train.tags file?")
    return talks


def parse_line(line: str, place: str) -> tuple[str | None, str]:
    """The tag of a line (None for a sentence, whatever markup it has) and its plain text.

    Raises:
        ValueError: the tag is not closed on the line, or not alone.
    """
    if match := DOCUMENT_LINE.fullmatch(line):
        return match[1], ""
    if match := TAG_LINE.fullmatch(line):
        return match[1], plain_text(match[2])
    if match := BROKEN_TAG_LINE.match(line):
        raise ValueError(f"{place}: <{match[1]}> must be alone on its line, and closed")
    return None, plain_text(line)


def add(talk: Talk, tag: str | None, text: str, place: str) -> None:
    """Adds a line to its talk.

    Raises:
        ValueError: the talk has such a line already, so that nobody can tell which of the two is translated.
    """
    if tag is None:
        talk.sentences.append(text)
        return
    if tag in talk.headers and tag in ("talkid", *TRANSLATED):
        raise ValueError(f"{place}: second <{tag}> of talk {talk.identity}, which starts at line {talk.line}")
    talk.headers[tag] = text


def aligned_talks(sources: Sequence[Talk], targets: Sequence[Talk], names: tuple[str, str]) -> list[Pair]:
    """The sentence pairs of two files, talk by talk; a title or description only if both sides have it.

    Args:
        sources, targets: from read_talks.
        names: what errors call the two files.

    Raises:
        ValueError: the files differ in their talks, or the two sides of a talk in their number of sentences.
    """
    pairs = []
    for source, target in zip(sources, targets, strict=False):  # what one file has more is refused below
        check_parallel(source, target, names)
        pairs += [(source.headers[tag], target.headers[tag]) for tag in source.headers if is_pair(tag, target)]
        pairs += zip(source.sentences, target.sentences, strict=True)
    if len(sources) != len(targets):
        longer, shorter = (sources, targets) if len(sources) > len(targets) else (targets, sources)
        more, fewer = names if longer is sources else names[::-1]
        extra = longer[len(shorter)]
        raise ValueError(
            f"{more} has {len(longer)} talks, but {fewer} has {len(shorter)}: "
            f"it ends before talk {extra.identity} (line {extra.line})"
        )
    return pairs


def is_pair(tag: str, target: Talk) -> bool:
    """Whether the text of a tag is a sentence that the other side has too."""
    return tag in TRANSLATED and tag in target.headers


def check_parallel(source: Talk, target: Talk, names: tuple[str, str]) -> None:
    """Refuses two talks that cannot be translations of each other.

    Raises:
        ValueError: they differ in their numbers at TED, or in their numbers of sentences.
    """
    if source.identity != target.identity:
        raise ValueError(
            f"{names[0]}: talk {source.identity} (line {source.line}) stands where "
            f"{names[1]} has talk {target.identity} (line {target.line})"
        )
    if len(source.sentences) != len(target.sentences):
        raise ValueError(
            f"{names[0]}: talk {source.identity} (line {source.line}) has {len(source.sentences)} sentences, "
            f"but {names[1]} has {len(target.sentences)}"
        )
