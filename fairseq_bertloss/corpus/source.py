"""The source side: words as in fairseq's recipes, then byte pair encoding.

Words come from Moses with its escapes left on (& is &amp;, ' is &apos;), as in fairseq's own recipes
(prepare-iwslt14.sh) and in its `moses` tokenizer: the same vocabulary serves both, and since < and >
are escaped no source line can spell a special symbol such as </s>. jieba splits Chinese, which
needs no escapes because jieba splits < and > from letters. Lower-casing follows, because Moses needs capitals
to tell an abbreviation ("Dr.") from the end of a sentence.

The language that a code means decides whose rules apply: de, de_DE and deu_Latn are all German.
"""

import html
import io
import json
import logging
import os
import re
from collections.abc import Mapping
from contextlib import redirect_stderr
from typing import Any, NamedTuple, TextIO

from fairseq_bertloss.corpus.lines import DOTTED_I_LANGUAGES, lowercase, normalize
from fairseq_bertloss.progress import progress
from fairseq_bertloss.text.languages import language_of, script_of
from fairseq_bertloss.text.unspaced import UNSPACED_SCRIPTS

RECORD = "prepare.json"
"""Name of the file in a prepared folder that holds its settings."""

CODES = "bpe.codes"
"""Name of the file in a prepared folder that holds the merges of the source."""

CONTINUES = "@@"
"""Ends a subword that the next one continues; fairseq's --post-process subword_nmt removes it again."""

UNKNOWN_LANGUAGE = "und"
"""Stands for the language of a code that no language has; Moses applies its general rules to it."""

OTHER_RULES = ("ja", "ko", "cjk")
"""Languages for which Moses has rules but no list of abbreviations."""

MOSES_ESCAPE = re.compile(r"&(?:amp|apos|quot|lt|gt|#124|#91|#93);")


class SourceText:
    """Turns raw source lines into the subwords that the model reads.

    Args:
        language: code of the language, in any spelling; it chooses the rules of Moses, or jieba for Chinese.
        lowercased: lower-case the words.
        codes: file of BPE merges; None if only words() is used.
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
            ValueError: something else wrote the folder, or an earlier version with other rules for its language.
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
                "prepare and train again, or translate lines of its own subwords, without --word-pieces-source"
            )
        return cls(code, settings["lowercase"], os.path.join(folder, CODES))

    def words(self, line: str) -> list[str]:
        """The line's words, before byte pair encoding."""
        words = " ".join(self._split(normalize(line)))
        return (lowercase(words, self.language) if self.lowercased else words).split()

    def subwords(self, words: list[str]) -> list[str]:
        """The words split by byte pair encoding; every part of a word but the last ends in @@."""
        return self._bpe.segment_tokens(words)

    def encode(self, line: str) -> str:
        """The raw line as subwords separated by spaces, as in a prepared folder."""
        return " ".join(self.subwords(self.words(line)))


class SubwordApplier:
    """Splits lines of words into lines of subwords; every process builds one.

    It stands here and not beside its caller so that these processes need not import the language model's libraries.
    """

    def __init__(self, language: str, codes: str):
        self._source = SourceText(language, codes=codes)

    def __call__(self, lines: list[str]) -> list[str]:
        return [" ".join(self._source.subwords(line.split())) for line in lines]


def rules_of(code: str) -> str:
    """The language whose rules split text of this code into words."""
    return language_of(code) or UNKNOWN_LANGUAGE


def recorded_rules(**codes: str) -> dict[str, str]:
    """The entries in the record of a folder that name the rules which its language codes chose, by side.

    There is none for a code whose letters alone choose the same rules, as in earlier versions: tl and fil are one
    language, and Moses has rules of its own for neither.
    """
    rules = {f"{side}_rules": (rules_of(code), code) for side, code in codes.items()}
    return {name: language for name, (language, code) in rules.items() if _of_moses(language) != _of_moses(code)}


def _of_moses(code: str) -> str:
    """The code if Moses or the lower-casing has rules under it, or else that of the general rules."""
    from sacremoses.corpus import NonbreakingPrefixes

    known = {*NonbreakingPrefixes().available_langs, *OTHER_RULES, *DOTTED_I_LANGUAGES}
    return code if code in known else UNKNOWN_LANGUAGE


def rules_warning(code: str) -> str | None:
    """A warning of a code that no language has; None for any other code."""
    if language_of(code) is None:
        return f"warning: no language has the code {code!r}, so Moses' general rules apply"
    return None


def spaces_warning(code: str) -> str | None:
    """A warning of a source language whose text cannot be split into words; None for any other."""
    if script_of(code) in UNSPACED_SCRIPTS and language_of(code) != "zh":
        return (
            f"warning: {code!r} is written without spaces, and neither Moses nor jieba can find its words: a line "
            "becomes one word, or characters; put spaces between words first, also in text to be translated later"
        )
    return None


def moses_words(language: str):
    """A function that splits a line into words as Moses does, with its escapes."""
    from sacremoses import MosesTokenizer

    return MosesTokenizer(lang=language).tokenize


def chinese_words(line: str) -> list[str]:
    """The words of a line as jieba splits it."""
    import jieba

    jieba.setLogLevel(logging.WARNING)
    return jieba.lcut(line)


def learn_bpe(word_counts: Mapping[str, int], merges: int, path: str) -> None:
    """Learns BPE merges from counted words and writes them as subword-nmt does.

    Args:
        word_counts: how often each word was seen in training.
        merges: how many to learn; there are fewer if no pair occurs twice any more.
        path: the file to write.

    Raises:
        ValueError: there is nothing to merge (subword-nmt cannot read a file without merges).
    """
    from subword_nmt.learn_bpe import learn_bpe as learn

    counted = io.StringIO("".join(f"{word} {count}\n" for word, count in sorted(word_counts.items())))
    learned = io.StringIO()
    if any(len(word) > 1 for word in word_counts):
        with progress(what="BPE", unit=" merges", total=merges + 1) as bar, redirect_stderr(io.StringIO()):
            # subword-nmt's own bar would be in log files too, and stop where no pair is left.
            learn(counted, _Counted(learned, bar), merges, is_dict=True)
    if learned.getvalue().count("\n") < 2:  # the first line is the version
        raise ValueError("no two adjacent characters occur twice in the training source; it is too small for BPE")
    with open(path, "w", encoding="utf-8", newline="\n") as codes:
        codes.write(learned.getvalue())


class _Counted(NamedTuple):
    """A file of merges, each line of which moves a bar of tqdm's."""

    file: TextIO
    bar: Any

    def write(self, line: str) -> None:
        """Writes a line, the version or a merge."""
        self.file.write(line)
        self.bar.update()


def load_bpe(path: str):
    """subword-nmt's segmenter for a file of merges."""
    from subword_nmt.apply_bpe import BPE

    with open(path, encoding="utf-8", newline="\n") as codes:
        return BPE(codes, separator=CONTINUES)


def is_marked(subword: str) -> bool:
    """Whether a subword has what only the source side has: a continuation mark or an escape of Moses."""
    return subword.endswith(CONTINUES) or MOSES_ESCAPE.search(subword) is not None


def readable(line: str) -> str:
    """Source subwords as plain words: parts joined, escapes undone, words separated by one space."""
    joined = f"{line} ".replace(f"{CONTINUES} ", "").strip()
    return MOSES_ESCAPE.sub(lambda escape: html.unescape(escape.group()), joined)
