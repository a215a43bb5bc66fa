"""Candidates that were drawn, and what they earned, kept in a file for later epochs and for other runs.

    cache = CandidateCache("DIR", {"candidates": 4, ...})
    kept = cache.read(keys(sample, pad))  # None where a sentence has come up for the first time
    cache.write(...)

DIR/FINGERPRINT.sqlite is of one choice of options, of the model that drew and of the language model that judged. Any
number of processes may share it. What a run reads there is what it once wrote, to the last bit, so that a training that
was interrupted goes on as if it had not been, whatever it had drawn after its last checkpoint.
"""

import hashlib
import json
import logging
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

logger = logging.getLogger(__name__)

KEY_BYTES = 16
TIMEOUT = 600
"""Seconds that a process waits for another one that writes."""

OPTION = "--cache-candidates"


class Kept(NamedTuple):
    """What is kept of a sentence."""

    candidates: list[list[int]]  # symbols of each, </s> included
    rewards: dict[str, list[float]]  # what each candidate earned, by the rewards' names
    f: list[float] | None  # F_BERT of each candidate by greedy matching; None where BERTScore is no reward


class CandidateCache:
    """What is kept, by sentence.

    Args:
        folder: of the files of all fingerprints; it is made.
        settings: what candidates and rewards depend on beside the sentence: anything that JSON has.

    Raises:
        ValueError: the folder cannot be written to, or its file is damaged.
    """

    def __init__(self, folder: str, settings: Mapping[str, object]):
        digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=KEY_BYTES)
        self._path = Path(folder, f"{digest.hexdigest()}.sqlite")
        self._writes = True
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self._path, TIMEOUT)
            with self._database:
                self._database.execute(
                    "CREATE TABLE IF NOT EXISTS kept (sentence BLOB PRIMARY KEY, what TEXT NOT NULL)"
                )
            (count,) = self._database.execute("SELECT COUNT(*) FROM kept").fetchone()
        except (OSError, sqlite3.Error) as error:
            raise ValueError(f"{OPTION} {folder}: cannot use {self._path} ({error}); choose another folder") from error
        logger.info(f"{self._path} has the candidates of {count:,} sentences; others are drawn once, and kept there")

    def read(self, sentences: Sequence[bytes]) -> list[Kept | None]:
        """What is kept of each sentence; None: nothing.

        Raises:
            ValueError: the file is damaged.
        """
        try:
            rows = [
                self._database.execute("SELECT what FROM kept WHERE sentence = ?", (sentence,)).fetchone()
                for sentence in sentences
            ]
        except sqlite3.Error as error:
            raise ValueError(f"{OPTION}: cannot read {self._path} ({error}); remove it, or choose another") from error
        return [None if row is None else Kept(*json.loads(row[0])) for row in rows]

    def write(self, sentences: Sequence[bytes], new: Sequence[Kept]) -> None:
        """Keeps what there is nothing of yet. Where no more can be written, a warning says so once."""
        if not self._writes:
            return
        rows = [(sentence, json.dumps(kept)) for sentence, kept in zip(sentences, new, strict=True)]
        try:
            with self._database:
                self._database.executemany("INSERT OR IGNORE INTO kept VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            self._writes = False
            logger.warning(f"{self._path}: {error}; from now on candidates that it lacks are drawn each time")


def keys(sample: dict, pad: int) -> list[bytes]:
    """A key of each sentence of a batch of the translation task: its number in the data set, and both of its sides."""
    sides = sample["net_input"]["src_tokens"].tolist(), sample["target"].tolist()
    return [
        digest(number, *([symbol for symbol in row if symbol != pad] for row in rows))
        for number, *rows in zip(sample["id"].tolist(), *sides, strict=True)
    ]


def digest(*parts: int | Sequence[int]) -> bytes:
    """Of numbers and lists of them."""
    state = hashlib.blake2b(digest_size=KEY_BYTES)
    for part in parts:
        numbers = np.atleast_1d(np.asarray(part, "<i8"))
        state.update(len(numbers).to_bytes(8, "little") + numbers.tobytes())
    return state.digest()


def of_file(path: str) -> str:
    """A digest of what a file has."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=KEY_BYTES)).hexdigest()
