"""The source side: words as fairseq's recipes make them, then byte pair encoding.

Words come from Moses with its escapes left on (& is &amp;, ' is &apos;), as in fairseq's own recipes
(prepare-iwslt14.sh) and in its `moses` tokenizer: the same vocabulary serves both, and since < and >
are escaped no source line can spell a special symbol such as </s>. Chinese is split by jieba, which
needs no escapes, for it parts < and > from letters. Lower-casing follows, because Moses needs capitals
to tell an abbreviation ("Dr.") from the end of a sentence.

Whose rules are taken the language of the code decides: de, de_DE and deu_Latn are all German.
"""

import html
import io
import json
import logging
import os
import re
from collections.abc import Mapping

from fairseq_bertloss.corpus.lines import DOTTED_I_LANGUAGES, lowercase, normalize
from fairseq_bertloss.text.languages import language_of, script_of

RECORD = "prepare.json"
"""The file of a prepared folder that holds its settings."""

CODES = "bpe.codes"
"""The file of a prepared folder that holds the source side's merges."""

CONTINUES = "@@"
"""Ends a subword that the next one continues; fairseq's --post-process subword_nmt takes it out again."""

UNKNOWN_LANGUAGE = "und"
"""The language of a code that no language has; Moses has no rules for it but its general ones."""

OTHER_RULES = ("ja", "ko", "cjk")
"""Languages for which Moses has rules but no list of abbreviations."""

SPACELESS_SCRIPTS = frozenset(("Hani", "Hans", "Hant", "Jpan", "Hira", "Kana", "Thai", "Laoo", "Khmr", "Mymr", "Tibt"))
"""Scripts that are written without spaces between words."""

MOSES_ESCAPE = re.compile(r"&(?:amp|apos|quot|lt|gt|#124|#91|#93);")


class SourceText:
    """Turns raw source lines into the subwords that the model reads.

    Args:
        language: its code, in whatever spelling; chooses the Moses rules, or jieba for Chinese.
        lowercased: lower-case the words.
        codes: file of BPE merges; without it only words() may be used.
    """

    def __init__(self, language: str, lowercased: bool = False, codes: str | None = None):
        self.language = rules_of(language)
        self.lowercased = lowercased
        self._split = chinese_words if self.language == "zh" else moses_words(self.language)
        self._bpe = None if codes is None else load_bpe(codes)

    @classmethod
    def load(cls, folder: str) -> "SourceText":
        """The source side of a folder that `bertloss prepare` wrote.

        Raises:
            ValueError: the folder was not written by it, or by an earlier version with other rules for its language.
        """
        record = os.path.join(folder, RECORD)
        if not os.path.isfile(record):
            raise ValueError(f"{folder!r} was not written by 'bertloss prepare': it has no {RECORD}")
        with open(record, encoding="utf-8") as file:
            settings = json.load(file)["settings"]
        code = settings["source_lang"]
        if _of_moses(settings.get("source_rules", code)) != _of_moses(rules_of(code)):
            raise ValueError(
                f"{folder!r} was prepared by an earlier version, which had other rules for the language code {code!r}: "
                "prepare it again and train with it, or give lines of its symbols, without --word-pieces-source"
            )
        return cls(code, settings["lowercase"], os.path.join(folder, CODES))

    def words(self, line: str) -> list[str]:
        """The line's words, before byte pair encoding."""
        words = " ".join(self._split(normalize(line)))
        return (lowercase(words, self.language) if self.lowercased else words).split()

    def subwords(self, words: list[str]) -> list[str]:
        """The words cut by byte pair encoding; every part but a word's last ends in @@."""
        return self._bpe.segment_tokens(words)

    def encode(self, line: str) -> str:
        """The raw line as the space-separated subwords that a prepared folder holds."""
        return " ".join(self.subwords(self.words(line)))


class SubwordApplier:
    """Cuts lines of words into lines of subwords; one is built in every process.

    It lives here, not beside its caller, so that those processes need not import the language model's libraries.
    """

    def __init__(self, language: str, codes: str):
        self._source = SourceText(language, codes=codes)

    def __call__(self, lines: list[str]) -> list[str]:
        return [" ".join(self._source.subwords(line.split())) for line in lines]


def rules_of(code: str) -> str:
    """The language whose rules make the words of a source with this code."""
    return language_of(code) or UNKNOWN_LANGUAGE


def recorded_rules(**codes: str) -> dict[str, str]:
    """What the record of a folder says of the rules that its languages' codes chose, by side.

    Nothing where the letters of a code chose the same rules, as in the folders of versions that looked no further: tl
    and fil are one language, and Moses has no rules of its own for either.
    """
    rules = {f"{side}_rules": (rules_of(code), code) for side, code in codes.items()}
    return {name: language for name, (language, code) in rules.items() if _of_moses(language) != _of_moses(code)}


def _of_moses(code: str) -> str:
    """The code, if anything here has rules that go by its letters; else that of the general rules."""
    from sacremoses.corpus import NonbreakingPrefixes

    known = {*NonbreakingPrefixes().available_langs, *OTHER_RULES, *DOTTED_I_LANGUAGES}
    return code if code in known else UNKNOWN_LANGUAGE


def rules_warning(code: str) -> str | None:
    """One line on a code that no language has; None of any other."""
    if language_of(code) is None:
        return f"warning: no language has the code {code!r}: Moses' general rules are taken"
    return None


def spaces_warning(code: str) -> str | None:
    """One line on a source whose lines will be cut into poor words; None otherwise."""
    if script_of(code) in SPACELESS_SCRIPTS and language_of(code) != "zh":
        return (
            f"warning: {code!r} is written without spaces, and neither Moses nor jieba knows its words: a line becomes "
            "one word, or characters; put spaces between words first, also in what is to be translated later"
        )
    return None


def moses_words(language: str):
    """A function from a line to its Moses words, escapes on."""
    from sacremoses import MosesTokenizer

    return MosesTokenizer(lang=language).tokenize


def chinese_words(line: str) -> list[str]:
    """The line's words as jieba splits them."""
    import jieba

    jieba.setLogLevel(logging.WARNING)
    return jieba.lcut(line)


def learn_bpe(word_counts: Mapping[str, int], merges: int, path: str) -> None:
    """Learns merges from counted words and writes them as subword-nmt does.

    Args:
        word_counts: how often each word was seen in training.
        merges: how many to learn; fewer where no pair is seen twice any more.
        path: the file to write.

    Raises:
        ValueError: there is nothing to merge (subword-nmt cannot read a file without merges).
    """
    from subword_nmt.learn_bpe import learn_bpe as learn

    counted = io.StringIO("".join(f"{word} {count}\n" for word, count in sorted(word_counts.items())))
    learned = io.StringIO()
    if any(len(word) > 1 for word in word_counts):
        learn(counted, learned, merges, is_dict=True)
    if learned.getvalue().count("\n") < 2:  # the first line is the version
        raise ValueError("no two characters stand together twice in the training source; it is too small for BPE")
    with open(path, "w", encoding="utf-8", newline="\n") as codes:
        codes.write(learned.getvalue())


def load_bpe(path: str):
    """subword-nmt's segmenter for a file of merges."""
    from subword_nmt.apply_bpe import BPE

    with open(path, encoding="utf-8", newline="\n") as codes:
        return BPE(codes, separator=CONTINUES)


def is_marked(subword: str) -> bool:
    """Whether a subword bears what only the source side has: a continuation mark or a Moses escape."""
    return subword.endswith(CONTINUES) or MOSES_ESCAPE.search(subword) is not None


def readable(line: str) -> str:
    """Source subwords as plain words: parts joined, escapes undone, words apart by one space."""
    joined = f"{line} ".replace(f"{CONTINUES} ", "").strip()
    return MOSES_ESCAPE.sub(lambda escape: html.unescape(escape.group()), joined)
