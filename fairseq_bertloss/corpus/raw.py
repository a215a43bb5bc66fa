"""What every corpus of raw parallel text offers to `bertloss extract`: named sets of sentence pairs."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

TRAIN = "train"
"""The set that every corpus has."""

Pair = tuple[str, str]


class Corpus(ABC):
    """Sets of sentence pairs, read from the disk when they are asked for.

    Args:
        path: the file or folder that holds the corpus.
        source_lang, target_lang: codes of the two languages, as the corpus spells them.

    Attributes:
        settings: all that decides how the corpus is read, JSON types only.
    """

    def __init__(self, path: str, source_lang: str, target_lang: str):
        if source_lang == target_lang:
            raise ValueError(f"source and target language are both {source_lang!r}")
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
        """The sha256 of every file on disk that these sets are read from, under the file's name."""

    def no_such_set(self, name: str) -> ValueError:
        """The error for a set that is not there; it lists those that are."""
        return ValueError(f"{self.path} has no set {name!r}, only {', '.join(self.sets()) or 'none at all'}")
