"""Candidates that were drawn, and what they earned, kept in a file for later epochs and for other runs.

    cache = CandidateCache("DIR", {"candidates": 4, ...})
    kept = cache.read(keys(sample, pad))  # None where a sentence has come up for the first time
    cache.write(...)

DIR/FINGERPRINT.sqlite is of one choice of options, of one model to begin from and of one language model. Any number of
processes may share it. What a run reads there is what it once wrote, to the last bit, so that a training that was
interrupted goes on as if it had not been, whatever it had drawn after its last checkpoint.
"""

import hashlib
import json
import logging
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fairseq_bertloss.files import make_writable
from fairseq_bertloss.training.target_sides import first_symbols

logger = logging.getLogger(__name__)

KEY_BYTES = 16
TIMEOUT = 600
"""Seconds that a process waits for another one that writes."""

FORMAT = 1
"""Of what is kept: another one needs other files."""

OPTION = "--cache-candidates"


class Kept(NamedTuple):
    """What is kept of a sentence."""

    updates: int  # that the model had made when it drew
    candidates: list[list[int]]  # symbols of each, </s> included
    rewards: dict[str, list[float]]  # what each candidate earned, by the rewards' names
    f: list[float] | None  # F_BERT of each candidate by greedy matching; None where BERTScore is no reward


class CandidateCache:
    """What is kept, by sentence.

    Args:
        folder: of the files of all fingerprints; it is made.
        settings: what candidates and rewards depend on beside the sentence: anything that JSON has.

    Raises:
        ValueError: the folder cannot be written to, or its file cannot be read.
    """

    def __init__(self, folder: str, settings: Mapping[str, object]):
        make_writable(folder, f"{OPTION} {folder}")
        made_of = json.dumps({"format": FORMAT, **settings}, sort_keys=True)
        self._path = Path(folder, f"{hashlib.blake2b(made_of.encode(), digest_size=KEY_BYTES).hexdigest()}.sqlite")
        try:
            self._database = sqlite3.connect(self._path, TIMEOUT)
            with self._database:
                self._database.execute(
                    "CREATE TABLE IF NOT EXISTS kept (sentence BLOB PRIMARY KEY, updates INTEGER, what TEXT)"
                )
            counts = "SELECT COUNT(*), SUM(updates = 0) FROM kept"
            count, at_the_start = self._database.execute(counts).fetchone()
        except sqlite3.Error as error:
            raise self._failed(error) from error
        logger.info(
            f"{self._path} has the candidates of {count:,} sentences, {at_the_start or 0:,} of them drawn before the "
            "first update; those of others are drawn once, and kept there"
        )

    def read(self, sentences: Sequence[bytes]) -> list[Kept | None]:
        """What is kept of each sentence; None: nothing.

        Raises:
            ValueError: the file cannot be read.
        """
        try:
            rows = [
                self._database.execute("SELECT updates, what FROM kept WHERE sentence = ?", (sentence,)).fetchone()
                for sentence in sentences
            ]
        except sqlite3.Error as error:
            raise self._failed(error) from error
        return [None if row is None else Kept(row[0], *json.loads(row[1])) for row in rows]

    def write(self, sentences: Sequence[bytes], new: Sequence[Kept]) -> None:
        """Keeps what there is nothing of yet.

        Raises:
            ValueError: the file cannot be written, without which no training would repeat itself.
        """
        rows = [
            (sentence, updates, json.dumps(what)) for sentence, (updates, *what) in zip(sentences, new, strict=True)
        ]
        try:
            with self._database:
                self._database.executemany("INSERT OR IGNORE INTO kept VALUES (?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> ValueError:
        """What to do about it. A file that is locked or has no room is whole."""
        remedy = (
            "see whether the disk is full, another process holds the file, or the file system has no locks, then go "
            "on from the last checkpoint"
            if isinstance(error, sqlite3.OperationalError)
            else "remove the file, or choose another folder"
        )
        return ValueError(f"{OPTION}: {self._path}: {error}; {remedy}")


def keys(sample: dict, pad: int) -> list[bytes]:
    """A key of each sentence of a batch of the translation task.

    It is made of its number in the data set, of both of its sides, and of what the decoder starts with, which may be
    the target's language.
    """
    net_input = sample["net_input"]
    starts = first_symbols(net_input["prev_output_tokens"], pad).tolist()
    sides = net_input["src_tokens"].tolist(), sample["target"].tolist()
    return [
        digest(number, start, *([symbol for symbol in row if symbol != pad] for row in rows))
        for number, start, *rows in zip(sample["id"].tolist(), starts, *sides, strict=True)
    ]


def digest(*parts: int | Sequence[int]) -> bytes:
    """Of numbers and lists of them."""
    state = hashlib.blake2b(digest_size=KEY_BYTES)
    for part in parts:
        numbers = np.atleast_1d(np.asarray(part, "<i8"))
        state.update(len(numbers).to_bytes(8, "little") + numbers.tobytes())
    return state.digest()
