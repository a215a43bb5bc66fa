"""Text that validation and test have, so that it is known again in training.

held_out = HeldOut()
held_out.add(map(key, test))
train = [pair for pair in train if key(pair) not in held_out]
"""

from collections.abc import Iterable

from fairseq_bertloss.corpus.lines import letters
from fairseq_bertloss.corpus.raw import Pair

Key = tuple[str, str]


def key(pair: Pair) -> Key:
    """What pairs have in common that say the same, whatever their case, accents and punctuation."""
    source, target = pair
    return letters(source), letters(target)


class HeldOut:
    """The sources and the targets of pairs, by their keys."""

    def __init__(self) -> None:
        self._sources: set[str] = set()
        self._targets: set[str] = set()

    def add(self, keys: Iterable[Key]) -> None:
        """Both sides of each."""
        for source, target in keys:
            self._sources.add(source)
            self._targets.add(target)

    def __contains__(self, key: Key) -> bool:
        """Whether either side of a pair is one that was added."""
        source, target = key
        return source in self._sources or target in self._targets
