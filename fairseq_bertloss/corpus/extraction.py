"""A raw corpus of any kind -> train, valid and test as plain text, one sentence a line.

bertloss extract PATH --corpus wit3 --source-lang de --target-lang en --destdir DIR
    --valid-every 23 --test dev2010 dev2012 tst2010 tst2011 tst2012
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from fairseq_bertloss.corpus.folder import build_once
from fairseq_bertloss.corpus.lines import write_lines
from fairseq_bertloss.corpus.raw import TRAIN, Corpus, Pair

RECORD = "extract.json"
SPLITS = (TRAIN, "valid", "test")


@dataclass(frozen=True)
class Splits:
    """Which pairs of a corpus are for training, validation and test.

    Attributes:
        valid_every: every so many training pairs one is for validation instead (pairs n, 2n, ...).
        valid: sets for validation, in this order; not together with valid_every.
        test: sets for test, in this order.
        halve_valid: every other pair for validation is for test; not together with test.
        at_most: the largest number of pairs of a split; they are taken from all over it.

    Raises:
        ValueError: the wishes contradict each other.
    """

    valid_every: int | None = None
    valid: Sequence[str] = ()
    test: Sequence[str] = ()
    halve_valid: bool = False
    at_most: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self):
        if self.valid_every is not None and self.valid_every < 2:
            raise ValueError(f"--valid-every must be 2 or more, not {self.valid_every}: none would be left to train on")
        if self.valid_every is not None and self.valid:
            raise ValueError("validation is either every so many training pairs or sets: --valid-every or --valid")
        if self.halve_valid and (self.test or not (self.valid or self.valid_every)):
            raise ValueError("--halve-valid makes the test set out of validation: it needs one, and excludes --test")
        self._check_sets()
        self._check_sizes()

    @property
    def sets(self) -> tuple[str, ...]:
        """All sets that are read."""
        return (TRAIN, *self.valid, *self.test)

    @property
    def written(self) -> list[str]:
        """The splits that are written."""
        is_written = (True, self.valid_every or self.valid, self.test or self.halve_valid)
        return [split for split, asked in zip(SPLITS, is_written) if asked]

    def _check_sets(self) -> None:
        twice = sorted({name for name in self.sets if self.sets.count(name) > 1})
        if twice:
            raise ValueError(f"each set serves once, but more than one of train, valid and test has {', '.join(twice)}")

    def _check_sizes(self) -> None:
        for split, size in self.at_most.items():
            if split not in self.written:
                raise ValueError(f"--at-most bounds {split!r}, but what is written is {', '.join(self.written)}")
            if size < 1:
                raise ValueError(f"--at-most {split}={size}: a split needs at least one pair")


def extract(corpus: Corpus, splits: Splits, destdir: str, overwrite: bool = False) -> tuple[dict, bool]:
    """Writes SPLIT.LANGUAGE for every split; a folder of the same corpus and settings is left alone.

    Args:
        corpus: what is read.
        splits: which of its pairs go where.
        destdir: the folder to write.
        overwrite: replace a folder that was written with other settings.

    Returns:
        The record that the folder holds (with the number of pairs), and whether it was written now.

    Raises:
        ValueError: the corpus is not as it should be, lacks a set, or leaves a split without pairs.
    """
    settings = {
        **corpus.settings,
        "splits": {**asdict(splits), "valid": list(splits.valid), "test": list(splits.test)},
        "inputs": corpus.checksums(splits.sets),
    }

    def build(folder: str, _lock: int) -> dict:
        pairs, empty = split_pairs(corpus, splits)
        for split, kept in pairs.items():
            for language, lines in zip(corpus.languages, zip(*kept)):
                write_lines(os.path.join(folder, f"{split}.{language}"), lines)
        return {"counts": {split: len(kept) for split, kept in pairs.items()}, "empty_training_pairs": empty}

    return build_once(destdir, RECORD, settings, build, overwrite)


def split_pairs(corpus: Corpus, splits: Splits) -> tuple[dict[str, list[Pair]], int]:
    """The pairs of every split that is written, and how many of training were left out for an empty side.

    Evaluation sets keep all their pairs, since a score counts every sentence.

    Raises:
        ValueError: as extract.
    """
    for name in splits.sets:
        if name not in corpus.sets():
            raise corpus.no_such_set(name)
    read = corpus.pairs(TRAIN)
    train = [pair for pair in read if all(pair)]
    empty = len(read) - len(train)
    valid, test = ([pair for name in names for pair in corpus.pairs(name)] for names in (splits.valid, splits.test))
    if splits.valid_every:
        every = slice(splits.valid_every - 1, None, splits.valid_every)
        valid = train[every]
        del train[every]
    if splits.halve_valid:
        valid, test = valid[::2], valid[1::2]
    return bounded({TRAIN: train, "valid": valid, "test": test}, splits), empty


def bounded(pairs: Mapping[str, list[Pair]], splits: Splits) -> dict[str, list[Pair]]:
    """The splits that are written, none larger than wished.

    Raises:
        ValueError: one of them is empty.
    """
    for split in splits.written:
        if not pairs[split]:
            raise ValueError(f"no pairs for {split}: the corpus is too small")
    return {split: evenly_spaced(pairs[split], splits.at_most.get(split)) for split in splits.written}


def evenly_spaced(pairs: Sequence[Pair], size: int | None) -> list[Pair]:
    """As many pairs as size, at equal distances; all of them where there are no more or size is None."""
    if size is None or size >= len(pairs):
        return list(pairs)
    return [pairs[i * len(pairs) // size] for i in range(size)]
