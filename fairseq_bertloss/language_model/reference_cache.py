"""Contextual embeddings of references, computed once and kept on disk for all workers and runs.

    cache = ReferenceCache("CACHE", fingerprint(encoder, layer, "float32"), size=768, limit=20 * 10**9)
    cache.reserve(sentences=170_000, tokens=5_000_000)
    found = cache.read(sentences)  # None where one is missing

CACHE/FINGERPRINT/NAME.data holds vectors of float16, one a token; NAME.index, which starts with a header, a record for
each sentence whose vectors are whole. Each process of each run appends to a pair of files that no other writes: nothing
is locked, and a process that is killed leaves no more than vectors and a part of a record that nobody reads.
"""

import glob
import hashlib
import logging
import os
import shutil
import uuid
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from fairseq_bertloss.files import make_writable

logger = logging.getLogger(__name__)

VALUE = np.dtype("<f2")
DIGEST_FIELDS = [("head", "<u8"), ("tail", "<u8")]
RECORD_FIELDS = [*DIGEST_FIELDS, ("first_token", "<u8"), ("tokens", "<u4"), ("crc32", "<u4")]
DIGEST = np.dtype(DIGEST_FIELDS)
RECORD = np.dtype(RECORD_FIELDS)
ENTRY = np.dtype([*RECORD_FIELDS, ("shard", "<u4")])  # a record in memory, and which pair of files it is from


class ReferenceCache:
    """Embeddings of sentences, as float16 in memory-mapped files that processes and runs share.

    A value x of at most 65504 is kept with an error of at most |x| / 2^11 + 2^-25, so that its cosine with an exact
    vector changes by less than 2^-10. Once its folder is there, nothing here interrupts training: what cannot be
    read is missing, and where no more can be written, a warning says so once.
    """

    def __init__(self, folder: str, fingerprint: str, size: int, limit: int):
        """Makes the folder.

        Args:
            folder: of all caches (--cache-references).
            fingerprint: what names the encoder, as pretrained.fingerprint does; what others computed is not seen.
            size: values in an embedding.
            limit: bytes of all files of this fingerprint; processes that append at once may exceed it by that much.

        Raises:
            ValueError: the folder cannot be made or written to.
        """
        self._folder = Path(folder, fingerprint)
        self._size = size
        self._token_bytes = size * VALUE.itemsize
        self._limit = limit
        self._shards: dict[str, _Shard] = {}
        self._left_out: set[str] = set()
        self._index = _Index()
        self._own: Path | None = None
        self._appends = True
        make_writable(self._folder, f"--cache-references {folder}")

    def reserve(self, sentences: int, tokens: int) -> int:
        """Estimates the size of a whole cache, logs it, and refuses one that there is no room for.

        Args:
            sentences: how many there are; those that are alike are kept once.
            tokens: theirs, together.

        Returns:
            Bytes, those included that are there already.

        Raises:
            ValueError: more than the limit, or than the disk has room for.
        """
        needed = (1 + sentences) * RECORD.itemsize + tokens * self._token_bytes
        there = self._bytes_there()
        free = shutil.disk_usage(self._folder).free
        estimate = (
            f"{sentences:,} references ({tokens:,} tokens of {self._size} values in float16) take at most "
            f"{_gigabytes(needed)} in {self._folder}, where {_gigabytes(there)} are already"
        )
        ways_out = "raise --cache-references-limit (in GB), choose another folder, or train without a cache"
        if needed > self._limit:
            raise ValueError(f"{estimate}; the cap is {_gigabytes(self._limit)}: {ways_out}")
        if needed - there > free:
            raise ValueError(f"{estimate}; the disk has only {_gigabytes(free)} free: {ways_out}")
        logger.info(estimate)
        return needed

    def read(self, sentences: Sequence[Sequence[int]]) -> list[np.ndarray | None]:
        """The embeddings of each sentence that any process has written.

        Args:
            sentences: the language model's ids.

        Returns:
            For each (length, size) in float16, or None where it is missing. Read-only views of the mapped files: to
            be copied, such as into a padded batch.
        """
        digests = np.frombuffer(b"".join(map(_digest, sentences)), DIGEST)
        found = self._look_up(digests)
        if any(embeddings is None for embeddings in found) and self._find_new_records():
            found = self._look_up(digests)
        return found

    def write(self, sentences: Sequence[Sequence[int]], embeddings: Iterable[np.ndarray]) -> None:
        """Appends what `read` did not find; any process reads it once it is whole.

        A sentence with a value that is not finite or too large for float16 is left out: computed each time, it shows
        in training what is wrong.

        Args:
            sentences: the language model's ids. One that occurs twice is written once, one that is there again.
            embeddings: of each sentence, (length, size), any float type.

        Raises:
            ValueError: not one for each sentence, or a shape that is not (length, size).
        """
        if not self._appends:
            return
        new = {}
        for sentence, matrix in zip(sentences, embeddings, strict=True):
            if matrix.shape != (len(sentence), self._size):
                raise ValueError(f"embeddings {matrix.shape} of {len(sentence)} tokens, each of size {self._size}")
            # Before the conversion, which would warn; false with a NaN, too.
            if np.abs(matrix).max(initial=0) <= np.finfo(VALUE).max:
                new[_digest(sentence)] = matrix.astype(VALUE, order="C")
        if new:
            try:
                self._append(new)
            except OSError as error:
                self._appends = False
                logger.warning("%s: %s; from now on references that it lacks are not kept", self._folder, error)

    def _look_up(self, digests: np.ndarray) -> list[np.ndarray | None]:
        shards = list(self._shards.values())
        found: list[np.ndarray | None] = []
        for places in self._index.find(digests):
            # There may be several: of workers that computed it at once, or of a damaged one and its successor.
            candidates = (shards[shard].embeddings(*place) for *place, shard in places)
            found.append(next((embeddings for embeddings in candidates if embeddings is not None), None))
        return found

    def _find_new_records(self) -> bool:
        """Reads what processes, this one included, have added to the indexes; False: nothing."""
        new = [np.empty(0, ENTRY)]
        for name in sorted({*glob.glob("*.index", root_dir=self._folder)} - self._left_out):
            if name not in self._shards:
                self._shards[name] = _Shard(self._folder / name, len(self._shards), self._size)
            try:
                new.append(self._shards[name].new_entries())
            except (OSError, ValueError) as error:
                self._left_out.add(name)
                logger.warning("left out of the cached references: %s: %s", self._folder / name, error)
        entries = np.concatenate(new)
        if len(entries):
            self._index.add(entries)
        return len(entries) > 0

    def _append(self, new: dict[bytes, np.ndarray]) -> None:
        """Raises OSError where the limit or the disk leaves no room."""
        records = _records(new)
        if self._bytes_there() + records.nbytes + int(records["tokens"].sum()) * self._token_bytes > self._limit:
            raise OSError(f"the cap of {_gigabytes(self._limit)} (--cache-references-limit) is reached")
        if self._own is None:
            own = self._folder / f"{uuid.uuid4().hex}.index"
            own.with_suffix(".data").open("xb").close()
            with own.open("xb") as file:
                file.write(_header(self._size))
            self._own = own
        # Closed, and with that handed to the operating system, before a record says that the vectors are there.
        with self._own.with_suffix(".data").open("ab") as file:
            records["first_token"] += file.tell() // self._token_bytes
            file.writelines(embeddings.data for embeddings in new.values())
        with self._own.open("ab") as file:
            file.write(records.data)

    def _bytes_there(self) -> int:
        return sum(entry.stat().st_size for entry in os.scandir(self._folder))


class _Shard:
    """The pair of files that one process of one run wrote, or is writing: the path of its index, and its number."""

    def __init__(self, path: Path, number: int, size: int):
        self._path = path
        self._data = path.with_suffix(".data")
        self._number = number
        self._size = size
        self._items_read = 0  # of the index: the header, as long as a record, and records
        self._map = np.empty((0, size), VALUE)
        self._warned = False

    def new_entries(self) -> np.ndarray:
        """The whole records that the index has more than at the last call.

        Raises:
            ValueError: the index does not begin with this cache's header.
        """
        if self._path.stat().st_size < (self._items_read + 1) * RECORD.itemsize:
            return np.empty(0, ENTRY)
        items = np.fromfile(self._path, RECORD, offset=self._items_read * RECORD.itemsize)
        records = items if self._items_read else items[1:]
        if not self._items_read and items[0].tobytes() != _header(self._size):
            raise ValueError(f"it does not begin with {_header(self._size)!r}")
        self._items_read += len(items)
        entries = np.empty(len(records), ENTRY)
        for name, _ in RECORD_FIELDS:
            entries[name] = records[name]
        entries["shard"] = self._number
        return entries

    def embeddings(self, first_token: int, tokens: int, crc32: int) -> np.ndarray | None:
        """What a record stands for, (tokens, size); None where the data are not as it says, with one warning a file."""
        end = first_token + tokens
        if end > len(self._map):
            self._map_again()
        found = self._map[first_token:end]
        if len(found) == tokens and zlib.crc32(found.data) == crc32:
            return found
        if not self._warned:
            self._warned = True
            logger.warning("damaged: %s; the references that it has lost are computed again", self._data)
        return None

    def _map_again(self) -> None:
        try:
            count = self._data.stat().st_size // (self._size * VALUE.itemsize)
            if count:
                self._map = np.asarray(np.memmap(self._data, VALUE, "r", shape=(count, self._size)))
        except OSError:
            pass  # removed, or not readable: what is mapped remains, the rest is missing


class _Index:
    """Entries by their digest, in sorted runs, each at least twice as long as the next; 44 bytes a sentence."""

    def __init__(self) -> None:
        self._runs: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, entries: np.ndarray) -> None:
        """Merges entries into the runs."""
        while self._runs and len(self._runs[-1][1]) < 2 * len(entries):
            entries = np.concatenate([self._runs.pop()[1], entries])
        entries = entries[np.argsort(entries["head"], kind="stable")]
        self._runs.append((entries["head"].copy(), entries))

    def find(self, digests: np.ndarray) -> list[list[tuple[int, int, int, int]]]:
        """Finds for each digest every place that has it: first token, tokens, crc32, shard."""
        found: list[list[tuple[int, int, int, int]]] = [[] for _ in digests]
        for heads, entries in self._runs:
            starts = np.searchsorted(heads, digests["head"], "left")
            ends = np.searchsorted(heads, digests["head"], "right")
            for i in np.flatnonzero(starts < ends).tolist():
                same = entries[starts[i] : ends[i]].tolist()
                found[i] += [tuple(place) for _, tail, *place in same if tail == digests["tail"][i]]
        return found


def _digest(sentence: Sequence[int]) -> bytes:
    return hashlib.blake2b(np.asarray(sentence, "<i4").tobytes(), digest_size=DIGEST.itemsize).digest()


def _records(new: dict[bytes, np.ndarray]) -> np.ndarray:
    """Records of embeddings that follow each other from token 0 on."""
    digests = np.frombuffer(b"".join(new), DIGEST)
    records = np.empty(len(new), RECORD)
    for name, _ in DIGEST_FIELDS:
        records[name] = digests[name]
    records["tokens"] = [len(embeddings) for embeddings in new.values()]
    records["first_token"] = np.cumsum(records["tokens"]) - records["tokens"]
    records["crc32"] = [zlib.crc32(embeddings.data) for embeddings in new.values()]
    return records


def _header(size: int) -> bytes:
    return f"bertloss references 1 {size}".ljust(RECORD.itemsize - 1).encode() + b"\n"


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:,.2f} GB"
