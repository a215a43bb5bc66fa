"""Parallel text in a folder of plain files, train.de and train.en, or gzipped ones, train.de.gz.

bertloss extract FOLDER --corpus plain --source-lang de --target-lang en --valid val --destdir DIR
"""

import os
from collections.abc import Callable, Iterable

from fairseq_bertloss.corpus.lines import normalize, read_pairs
from fairseq_bertloss.corpus.raw import Corpus, Pair
from fairseq_bertloss.corpus.source import recorded_rules, rules_of
from fairseq_bertloss.files import checksum

FULL_STOP = "\uffff"
"""Stands for a full stop that the detokenizer must leave alone; no text has this code point."""


class PlainText(Corpus):
    """A folder of text files, one sentence a line. Its sets are the names that have a file in both languages.

    Args:
        path: the folder.
        source_lang, target_lang: the endings of the files.
        moses_tokenized: the text has been tokenized by Moses and is to be detokenized.

    Raises:
        ValueError: there is no such folder.
    """

    def __init__(self, path: str, source_lang: str, target_lang: str, moses_tokenized: bool = False):
        super().__init__(path, source_lang, target_lang)
        if not os.path.isdir(path):
            raise ValueError(f"{path} is not a folder: name one with train.{source_lang} in it")
        self.settings = {"corpus": "plain", **self.settings, "moses_tokenized": moses_tokenized}
        if moses_tokenized:
            self.settings |= recorded_rules(source=source_lang, target=target_lang)
        self._moses_tokenized = moses_tokenized

    def sets(self) -> list[str]:
        """The names of the sets that have both sides, sorted."""
        stems = [set(), set()]
        for name in os.listdir(self.path):
            stem, ending = os.path.splitext(name.removesuffix(".gz"))
            for side, language in enumerate(self.languages):
                if ending == f".{language}":
                    stems[side].add(stem)
        return sorted(stems[0] & stems[1])

    def pairs(self, name: str) -> list[Pair]:
        """The set's pairs of plain text, in order, white space normalised.

        Raises:
            ValueError: there is no such set, a side exists twice, or the sides differ in length.
        """
        pairs = read_pairs(*self._files(name))
        if not self._moses_tokenized:
            return list(pairs)
        source, target = map(moses_detokenizer, self.languages)
        return [(source(line), target(translation)) for line, translation in pairs]

    def checksums(self, names: Iterable[str]) -> dict[str, str]:
        """The SHA-256 checksum of every file that these sets are read from, by the name of the file."""
        return {os.path.basename(file): checksum(file) for name in names for file in self._files(name)}

    def _files(self, name: str) -> list[str]:
        """The set's two files, the source first."""
        sides = [self._side(name, language) for language in self.languages]
        if not any(sides):
            raise self.no_such_set(name)
        for language, file in zip(self.languages, sides, strict=True):
            if file is None:
                raise ValueError(f"{os.path.join(self.path, name)}.{language} is missing, and so is its .gz")
        return sides

    def _side(self, name: str, language: str) -> str | None:
        """The file of one side; None if there is none."""
        plain = f"{os.path.join(self.path, name)}.{language}"
        found = [file for file in (plain, f"{plain}.gz") if os.path.exists(file)]
        if len(found) > 1:
            raise ValueError(f"{' and '.join(found)} both exist; remove one of them")
        return found[0] if found else None


def moses_detokenizer(language: str) -> Callable[[str], str]:
    """A function that turns a line of Moses tokens into plain text: escapes undone, once, and white space normalised.

    A full stop before a lower-case word keeps its space: it ends a sentence of lower-cased text, and
    Moses, which takes "daten." in "daten. es" for an abbreviation, would not split it off again.
    """
    from sacremoses import MosesDetokenizer

    detokenize = MosesDetokenizer(lang=rules_of(language)).detokenize

    def plain(line: str) -> str:
        words = line.split()
        for i, following in enumerate(words[1:]):
            if words[i] == "." and following[0].islower():
                words[i] = FULL_STOP
        return normalize(detokenize(words).replace(FULL_STOP, "."))

    return plain
