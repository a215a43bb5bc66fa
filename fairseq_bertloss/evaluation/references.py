"""The references of a test set: one of each sentence, or several, and not of each as many.

references = References.of(["a dog", "a cat"], ["the dog", ""])  # a list for each file; the cat has one reference
references.by_sentence == [["a dog", "the dog"], ["a cat"]]  # as bert-score takes them
references.streams == [("a dog", "a cat"), ("the dog", None)]  # as sacrebleu takes them
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, zip_longest
from typing import NamedTuple, Self, TypeVar

Item = TypeVar("Item")


class ReferenceFile(NamedTuple):
    """A file of references, one a sentence; blank where a sentence has one in another file, but not in this."""

    path: str
    text: list[str]


@dataclass(frozen=True)
class References:
    """The references of each sentence, at least one: by_sentence."""

    by_sentence: list[list[str]]

    @classmethod
    def of(cls, first: Sequence[str], *more: Sequence[str]) -> Self:
        """References of several files or of one, a line a sentence.

        A line that is blank is no reference, unless the sentence has no other: then it is one that is empty.

        Raises:
            ValueError: they are not of as many sentences.
        """
        lengths = [len(lines) for lines in (first, *more)]
        if len(set(lengths)) > 1:
            raise ValueError(f"references must be of as many sentences each, not {' and '.join(map(str, lengths))}")
        rows = zip(first, *more, strict=True)
        return cls([[line for line in row if line.strip()] or [row[0]] for row in rows])

    def __len__(self) -> int:
        """The number of sentences."""
        return len(self.by_sentence)

    @property
    def first(self) -> list[str]:
        """The first reference of each sentence."""
        return [own[0] for own in self.by_sentence]

    @cached_property
    def lines(self) -> list[str]:
        """All references, those of a sentence together."""
        return list(chain.from_iterable(self.by_sentence))

    @property
    def streams(self) -> list[tuple[str | None, ...]]:
        """The first reference of each sentence, the second, and so on; None where it has fewer."""
        return list(zip_longest(*self.by_sentence))

    @property
    def number(self) -> int | str:
        """How many references a sentence has, or, as sacrebleu's signatures say it, "var"."""
        numbers = {len(own) for own in self.by_sentence}
        return numbers.pop() if len(numbers) == 1 else "var"

    def mapped(self, change: Callable[[Sequence[str]], Sequence[str]]) -> "References":
        """What becomes of the references by a function of lines."""
        return References(self.grouped(change(self.lines)))

    def repeated(self, items: Sequence[Item]) -> list[Item]:
        """An item a sentence as often as the sentence has references, beside each of `lines`."""
        return [item for item, own in zip(items, self.by_sentence, strict=True) for _ in own]

    def grouped(self, items: Sequence[Item]) -> list[list[Item]]:
        """An item for each of `lines` as a list for each sentence."""
        remaining: Iterator[Item] = iter(items)
        return [[next(remaining) for _ in own] for own in self.by_sentence]
