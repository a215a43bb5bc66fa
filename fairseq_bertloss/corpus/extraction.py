"""Extraction of train, valid and test as plain text, one sentence a line, from a raw corpus of any kind.

bertloss extract PATH --corpus wit3 --source-lang de --target-lang en --destdir DIR
    --valid-every 23 --test dev2010 dev2012 tst2010 tst2011 tst2012
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from fairseq_bertloss.corpus.folder import build_once
from fairseq_bertloss.corpus.held_out import HeldOut, key
from fairseq_bertloss.corpus.raw import SPLITS, TRAIN, Corpus, Pair, write_splits

RECORD = "extract.json"


@dataclass(frozen=True)
class Splits:
    """Which pairs of a corpus serve for training, validation and test.

    Attributes:
        valid_every: moves every so many-th training pair (pairs n, 2n, ...) to validation.
        valid: sets for validation, in this order; excludes valid_every.
        test: sets for test, in this order.
        halve_valid: moves every other validation pair to test; excludes test.
        at_most: largest number of pairs of a split, which are evenly spaced in it.
        max_words: largest number of words on a side of a pair; pairs with more are left out of every split, before
            validation and test are chosen.
        disjoint: leaves out of training what validation or test has on either side, and out of validation what test
            has, by letters and digits alone, whatever their case and accents.

    Raises:
        ValueError: the choices contradict each other.
    """

    valid_every: int | None = None
    valid: Sequence[str] = ()
    test: Sequence[str] = ()
    halve_valid: bool = False
    at_most: Mapping[str, int] = field(default_factory=dict)
    max_words: int | None = None
    disjoint: bool = False

    def __post_init__(self):
        if self.valid_every is not None and self.valid_every < 2:
            raise ValueError(
                f"--valid-every must be 2 or more, not {self.valid_every}: no pair would be left for training"
            )
        if self.valid_every is not None and self.valid:
            raise ValueError("--valid-every and --valid both choose the validation set: give one of them")
        if self.halve_valid and (self.test or not (self.valid or self.valid_every)):
            raise ValueError(
                "--halve-valid takes the test set from validation: it needs --valid or --valid-every, and no --test"
            )
        if self.max_words is not None and self.max_words < 1:
            raise ValueError(f"--max-words must be 1 or more, not {self.max_words}")
        self._check_sets()
        self._check_sizes()

    @property
    def sets(self) -> tuple[str, ...]:
        """The sets that are read."""
        return (TRAIN, *self.valid, *self.test)

    @property
    def written(self) -> list[str]:
        """The splits that are written."""
        is_written = (True, self.valid_every or self.valid, self.test or self.halve_valid)
        return [split for split, asked in zip(SPLITS, is_written, strict=True) if asked]

    def _check_sets(self) -> None:
        twice = sorted({name for name in self.sets if self.sets.count(name) > 1})
        if twice:
            raise ValueError(
                f"a set can serve for one of train, valid and test, once; named more than once: {', '.join(twice)}"
            )

    def _check_sizes(self) -> None:
        for split, size in self.at_most.items():
            if split not in self.written:
                raise ValueError(
                    f"--at-most names the split {split!r}, but those written are {', '.join(self.written)}"
                )
            if size < 1:
                raise ValueError(f"--at-most {split}={size}: a split needs at least one pair")


def extract(corpus: Corpus, splits: Splits, destdir: str, overwrite: bool = False) -> tuple[dict, bool]:
    """Writes SPLIT.LANGUAGE for every split; a folder of the same corpus and settings stays as it is.

    Args:
        corpus: what is read.
        splits: which of its pairs go where.
        destdir: the folder to write.
        overwrite: replace a folder that was written with other settings.

    Returns:
        The record in the folder, with the number of pairs, and whether the folder was written now.

    Raises:
        ValueError: the corpus is damaged or lacks a set, or a split is left without pairs.
    """
    settings = {
        **corpus.settings,
        "splits": {
            **asdict(splits),
            "valid": list(splits.valid),
            "test": list(splits.test),
            "disjoint": splits.disjoint or None,  # as of a folder that an earlier version wrote
        },
        "inputs": corpus.checksums(splits.sets),
    }

    def build(folder: str, _lock: int) -> dict:
        pairs, left_out = split_pairs(corpus, splits)
        return {"counts": write_splits(folder, corpus.languages, pairs), **left_out}

    return build_once(destdir, RECORD, settings, build, overwrite)


def split_pairs(corpus: Corpus, splits: Splits) -> tuple[dict[str, list[Pair]], dict[str, int | dict[str, int]]]:
    """The pairs of every split that is written, and for the record how many were left out.

    Evaluation sets keep pairs with an empty side, since a score counts every sentence.

    Raises:
        ValueError: as for extract().
    """
    for name in splits.sets:
        if name not in corpus.sets():
            raise corpus.no_such_set(name)

    def pairs(name: str) -> list[Pair]:
        return _short(corpus.pairs(name), splits.max_words)

    read = pairs(TRAIN)
    train = [pair for pair in read if all(pair)]
    left_out: dict[str, int | dict[str, int]] = {"empty_training_pairs": len(read) - len(train)}
    valid = [pair for name in splits.valid for pair in pairs(name)]
    test = [pair for name in splits.test for pair in pairs(name)]
    if splits.valid_every:
        every = slice(splits.valid_every - 1, None, splits.valid_every)
        valid = train[every]
        del train[every]
    if splits.halve_valid:
        test = valid[1::2]
        valid = valid[::2]
    chosen = {TRAIN: train, "valid": valid, "test": test}
    if splits.disjoint:
        chosen, left_out["pairs_that_stand_elsewhere"] = disjoint(chosen)
    return bounded(chosen, splits), left_out


def _short(pairs: Sequence[Pair], max_words: int | None) -> list[Pair]:
    """Those without too many words on either side."""
    if max_words is None:
        return list(pairs)
    return [pair for pair in pairs if all(len(side.split()) <= max_words for side in pair)]


def disjoint(pairs: Mapping[str, list[Pair]]) -> tuple[dict[str, list[Pair]], dict[str, int]]:
    """The splits without the text of one in another, and how many pairs training and validation lose by that.

    Either side of a pair counts. Test keeps all that it has; what stands there twice does so in the corpus as well.
    """
    held_out = HeldOut()
    kept = {}
    for split in ("test", "valid", TRAIN):
        kept[split] = [pair for pair in pairs[split] if key(pair) not in held_out]
        if split != TRAIN:
            held_out.add(map(key, kept[split]))
    return kept, {split: len(pairs[split]) - len(kept[split]) for split in (TRAIN, "valid")}


def bounded(pairs: Mapping[str, list[Pair]], splits: Splits) -> dict[str, list[Pair]]:
    """The splits that are written, none larger than asked for.

    Raises:
        ValueError: one of them is empty.
    """
    for split in splits.written:
        if not pairs[split]:
            raise ValueError(f"no pairs for {split}: the corpus is too small")
    return {split: evenly_spaced(pairs[split], splits.at_most.get(split)) for split in splits.written}


def evenly_spaced(pairs: Sequence[Pair], size: int | None) -> list[Pair]:
    """Pairs at equal distances, as many as `size`; all of them if there are no more, or if size is None."""
    if size is None or size >= len(pairs):
        return list(pairs)
    return [pairs[i * len(pairs) // size] for i in range(size)]
