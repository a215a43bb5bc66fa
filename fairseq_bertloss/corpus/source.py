"""The source side: words as fairseq's recipes make them, then byte pair encoding.

Words come from Moses with its escapes left on (& is &amp;, ' is &apos;), as in fairseq's own recipes
(prepare-iwslt14.sh) and in its `moses` tokenizer: the same vocabulary serves both, and since < and >
are escaped no source line can spell a special symbol such as </s>. Chinese is split by jieba, which
needs no escapes, for it parts < and > from letters. Lower-casing follows, because Moses needs capitals
to tell an abbreviation ("Dr.") from the end of a sentence.
"""

import html
import io
import json
import logging
import os
import re
from collections.abc import Mapping

from fairseq_bertloss.corpus.text import lowercase, normalize

RECORD = "prepare.json"
"""The file of a prepared folder that holds its settings."""

CODES = "bpe.codes"
"""The file of a prepared folder that holds the source side's merges."""

CONTINUES = "@@"
"""Ends a subword that the next one continues; fairseq's --post-process subword_nmt takes it out again."""

MOSES_ESCAPE = re.compile(r"&(?:amp|apos|quot|lt|gt|#124|#91|#93);")


class SourceText:
    """Turns raw source lines into the subwords that the model reads.

    Args:
        language: ISO code; chooses the Moses rules, or jieba for zh.
        lowercased: lower-case the words.
        codes: file of BPE merges; without it only words() may be used.
    """

    def __init__(self, language: str, lowercased: bool = False, codes: str | None = None):
        self.language = language
        self.lowercased = lowercased
        self._split = chinese_words if language == "zh" else moses_words(language)
        self._bpe = None if codes is None else load_bpe(codes)

    @classmethod
    def load(cls, folder: str) -> "SourceText":
        """The source side of a folder that `bertloss prepare` wrote.

        Raises:
            ValueError: the folder was not written by it.
        """
        record = os.path.join(folder, RECORD)
        if not os.path.isfile(record):
            raise ValueError(f"{folder!r} was not written by 'bertloss prepare': it has no {RECORD}")
        with open(record, encoding="utf-8") as file:
            settings = json.load(file)["settings"]
        return cls(settings["source_lang"], settings["lowercase"], os.path.join(folder, CODES))

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
