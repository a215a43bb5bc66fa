"""Text with XML's entities, often not well-formed XML: both formats of a WIT3 pair have it."""

import re

from fairseq_bertloss.corpus.lines import normalize

REFERENCE = re.compile(r"&(?:(amp|lt|gt|quot|apos)|#([0-9]{1,7})|#[xX]([0-9a-fA-F]{1,6}));")
ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


def plain_text(text: str) -> str:
    """The text with its references resolved, once, and its white space normalised.

    XML's five entities and its numeric references are resolved. HTML's many names are not, since text
    like "AT&copy" has them by chance.
    """
    return normalize(REFERENCE.sub(_character, text))


def _character(reference: re.Match) -> str:
    """The character that a reference stands for; a number that is no character stays as it is."""
    entity, decimal, hexadecimal = reference.groups()
    if entity:
        return ENTITIES[entity]
    code = int(decimal) if decimal else int(hexadecimal, 16)
    is_character = 0 < code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF
    return chr(code) if is_character else reference.group()
