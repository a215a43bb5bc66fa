"""Raw parallel text: pairs of sentences, the corpora that `bertloss extract` reads, and the splits that are written."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fairseq_bertloss.corpus.lines import write_lines

TRAIN = "train"
"""The set that every corpus has, and the split that it becomes."""

SPLITS = (TRAIN, "valid", "test")

Pair = tuple[str, str]


class Corpus(ABC):
    """A corpus: named sets of sentence pairs, each read from the disk when it is asked for.

    Args:
        path: the file or folder that holds the corpus.
        source_lang, target_lang: codes of the two languages, as the corpus spells them.

    Attributes:
        settings: all that decides how the corpus is read, JSON types only.
    """

    def __init__(self, path: str, source_lang: str, target_lang: str):
        check_languages(source_lang, target_lang)
        self.path = path
        self.languages = source_lang, target_lang
        self.settings = {"source_lang": source_lang, "target_lang": target_lang}

    @abstractmethod
    def sets(self) -> list[str]:
        """The names of the sets that have both sides."""

    @abstractmethod
    def pairs(self, name: str) -> list[Pair]:
        """The set's pairs of plain text, in order, white space normalised.

        Raises:
            ValueError: there is no such set, or its two sides are not parallel.
        """

    @abstractmethod
    def checksums(self, names: Iterable[str]) -> dict[str, str]:
        """The SHA-256 checksum of every file on disk that these sets are read from, by the name of the file."""

    def no_such_set(self, name: str) -> ValueError:
        """The error for a set that is missing; it lists those that exist."""
        return ValueError(f"{self.path} has no set {name!r}; its sets: {', '.join(self.sets()) or 'none'}")


def check_languages(source_lang: str, target_lang: str) -> None:
    """Refuses a pair whose files would have one name.

    Raises:
        ValueError: the two codes are the same.
    """
    if source_lang == target_lang:
        raise ValueError(f"source and target language are both {source_lang!r}")


def write_splits(folder: str, languages: tuple[str, str], splits: Mapping[str, Sequence[Pair]]) -> dict[str, int]:
    """Writes the file SPLIT.LANGUAGE for every split and both languages.

    Args:
        folder: where to write.
        languages: codes of the source and the target language.
        splits: the pairs of each split, which are not none.

    Returns:
        How many pairs each split has.
    """
    for split, pairs in splits.items():
        for language, lines in zip(languages, zip(*pairs, strict=True), strict=True):
            write_lines(Path(folder, f"{split}.{language}"), lines)
    return {split: len(pairs) for split, pairs in splits.items()}
