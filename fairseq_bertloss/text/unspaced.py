"""Writing without spaces between words: Chinese, Japanese, Thai, Lao, Khmer, Burmese, Tibetan.

words("我喜欢 iPad。") == ["我", "喜", "欢", "iPad", "。"]
close_up("我 喜 欢 ipad 。") == "我喜欢ipad。"
language_of_text(["我喜欢猫。"]) == "zh"
"""

from collections.abc import Sequence

import regex

IDEOGRAPHIC = (
    r"\p{Han}\p{Bopomofo}\p{Hiragana}\p{Katakana}ー"
    r"\u3000-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff70"
)
"""Ideographs, kana and their punctuation, which no text has spaces between."""

OTHER_SCRIPTS = {
    "th": "Thai",
    "lo": "Laoo",
    "km": "Khmr",
    "my": "Mymr",
    "bo": "Tibt",
    "nod": "Lana",
    "khb": "Talu",
    "tdd": "Tale",
}
"""ISO 15924 codes of scripts whose spaces end clauses or sentences, by the language that is mostly written in them."""

UNSPACED_SCRIPTS = frozenset(("Hani", "Hans", "Hant", "Jpan", "Hira", "Kana", *OTHER_SCRIPTS.values()))
"""ISO 15924 codes of all scripts without spaces between words."""

OTHERS = "".join(rf"\p{{{script}}}" for script in OTHER_SCRIPTS.values())

CHARACTER = rf"[{IDEOGRAPHIC}{OTHERS}]"

LATIN_WORDS = regex.compile(rf"(?:(?!{CHARACTER})[\p{{L}}\p{{M}}])+")
LETTER = regex.compile(rf"[{CHARACTER}&&\p{{L}}]", regex.V1)
SCRIPTS = {
    "zh": regex.compile(r"[\p{Han}\p{Bopomofo}]"),
    "ja": regex.compile(r"[\p{Hiragana}\p{Katakana}]"),
} | {code: regex.compile(rf"\p{{{script}}}") for code, script in OTHER_SCRIPTS.items()}
"""What the script of a text says about its language."""

LEAST_KANA = 0.1
"""Share of kana among the kana and ideographs of Japanese; Chinese has fewer."""

ALONE = rf"(?:[{IDEOGRAPHIC}\p{{Tibetan}}]|(?=\p{{P}})[{OTHERS}])"
"""What BERT's tokenizer splits off, and Japanese tokenizers before it."""

MARK = rf"(?=\p{{P}}){CHARACTER}"

BETWEEN = regex.compile(rf"(?<={ALONE})\s+(?={CHARACTER})|(?<={CHARACTER})\s+(?={ALONE})|(?<={MARK})\s+|\s+(?={MARK})")
BESIDE = regex.compile(rf"(?<={ALONE})\s+|\s+(?={ALONE})")
BESIDE_MARKS = regex.compile(
    rf"(?<={ALONE})\s+(?=\p{{P}})|(?<=\p{{P}})\s+(?={ALONE})|(?<=[\p{{Ps}}\p{{Pi}}])\s+|\s+(?=[\p{{Pe}}\p{{Pf}}])"
)


def words(line: str) -> list[str]:
    """What stands between spaces, and each character of a script without spaces by itself."""
    return apart(line).split()


def apart(line: str) -> str:
    """A line with spaces around each character of a script without spaces."""
    return regex.sub(CHARACTER, r" \g<0> ", line)


def is_unspaced(lines: Sequence[str]) -> bool:
    """Whether lines have more letters of such scripts than words of others."""
    return sum(len(LETTER.findall(line)) - len(LATIN_WORDS.findall(line)) for line in lines) > 0


def language_of_text(lines: Sequence[str]) -> str | None:
    """The language whose script most of the letters are of; None where that has spaces."""
    if not is_unspaced(lines):
        return None
    counts = {code: sum(len(script.findall(line)) for line in lines) for code, script in SCRIPTS.items()}
    ideographic = counts["zh"] + counts["ja"]
    is_japanese = counts["ja"] > LEAST_KANA * ideographic
    counts["zh"] = 0 if is_japanese else ideographic
    counts["ja"] = ideographic if is_japanese else 0
    return max(counts, key=counts.__getitem__)


def close_up(line: str) -> str:
    """A line without spaces beside ideographs, kana and their punctuation.

    The spaces of Thai, Lao, Khmer and Burmese stay, since they end clauses.
    """
    return BESIDE.sub("", line)


def join(line: str) -> str:
    """Text of word pieces without the spaces that a tokenizer makes around ideographs, kana and their punctuation.

    Words of Latin letters and numbers keep theirs, which may have been there. In a line that is mostly of such a
    script, quotation marks and the like stand close to what they belong to.
    """
    if is_unspaced([line]):
        line = BESIDE_MARKS.sub("", line)
    return BETWEEN.sub("", line)
