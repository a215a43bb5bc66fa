"""Preparation of a raw parallel corpus: a folder that fairseq-train reads.

    bertloss prepare --source a.de --target a.en --lm NAME --source-lang de --target-lang en --destdir DIR

The source becomes words and then subwords, with merges learned on the training source alone; the target
becomes the language model's own pieces. The stock fairseq-preprocess binarizes both. Besides its files,
DIR holds the merges (bpe.codes), the tokenized text (text/) and prepare.json: settings, checksums of
the inputs, counts. The files depend on the settings and the inputs alone, not on the number of workers.
"""

import dataclasses
import importlib.util
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import chain

from fairseq_bertloss.corpus.folder import build_once
from fairseq_bertloss.corpus.lines import batches, is_composed, read_lines, read_pairs, write_lines
from fairseq_bertloss.corpus.parallel import ordered_pool
from fairseq_bertloss.corpus.raw import SPLITS, TRAIN, Pair
from fairseq_bertloss.corpus.settings import Settings
from fairseq_bertloss.corpus.source import CODES, RECORD, SourceText, SubwordApplier, learn_bpe, recorded_rules
from fairseq_bertloss.files import check_not_split, checksum
from fairseq_bertloss.language_model.tokenization import tokenize
from fairseq_bertloss.language_model.vocabulary import dictionary_symbols, load_tokenizer, write_dictionary
from fairseq_bertloss.progress import progress

BATCH = 1000
"""Line pairs that a worker takes at a time."""

WORTH_A_WORKER = 2**22
"""Bytes of text: to start a process takes about as long as half of these take one that runs."""

MOST_WORKERS = 8
"""Processes, unless more are asked for."""

TokenPair = tuple[list[str], list[str]]
"""Source words and target pieces of one line."""


def prepare(
    settings: Settings,
    corpora: Mapping[str, tuple[str, str]],
    destdir: str,
    workers: int = 1,
    overwrite: bool = False,
) -> tuple[dict, bool]:
    """Prepares a corpus for fairseq-train; a folder of the same settings and inputs stays as it is.

    Args:
        settings: see Settings.
        corpora: source and target file of "train", and of "valid" and "test" if wanted.
        destdir: the folder to write.
        workers: number of processes.
        overwrite: replace a folder that was prepared with other settings.

    Returns:
        The record in prepare.json (settings, inputs, counts), and whether the folder was written now.

    Raises:
        ValueError: inputs are unreadable or do not match, no training pair is left, the language model does not exist,
            destdir holds something else or cannot be read by fairseq, or fairseq is not installed.
        ChildProcessError: fairseq-preprocess failed.
    """
    check_possible(destdir, workers)
    corpora = {split: corpora[split] for split in SPLITS if split in corpora}
    languages = (settings.source_lang, settings.target_lang)
    inputs = {
        f"{split}.{language}": f"sha256:{checksum(path)}"
        for split, paths in corpora.items()
        for language, path in zip(languages, paths, strict=True)
    }
    return build_once(
        destdir,
        RECORD,
        {"settings": dataclasses.asdict(settings) | treatment(settings, corpora), "inputs": inputs},
        lambda folder, lock: {"counts": build(settings, corpora, folder, workers, lock)},
        overwrite,
    )


def worthwhile_workers(corpora: Mapping[str, tuple[str, str]]) -> int:
    """The number of processes that prepare a corpus fastest, about.

    Args:
        corpora: as for `prepare`; what is missing counts nothing.
    """
    files = [path for paths in corpora.values() for path in paths if os.path.isfile(path)]
    size = sum(map(os.path.getsize, files))
    return max(1, min(MOST_WORKERS, os.cpu_count() or 1, size // WORTH_A_WORKER))


def check_possible(destdir: str, workers: int) -> None:
    """Refuses a preparation that could not end well.

    Raises:
        ValueError: there are no workers, fairseq is not installed, or it could not read destdir.
    """
    if workers < 1:
        raise ValueError(f"--workers must be at least 1, not {workers}")
    if importlib.util.find_spec("fairseq_cli") is None:
        raise ValueError("fairseq is not installed; install it with 'pip install --no-deps ve-fairseq'")
    check_not_split(destdir)


def treatment(settings: Settings, corpora: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """What is done to these inputs that earlier versions did not do, so that their folders are told apart.

    It is nothing if the text is composed already and the rules are those that the source language's code spells: such
    folders stay good. To know it, the inputs are read once more, which takes about a second for 100,000 pairs.
    """
    is_changed = not all(is_composed(path) for paths in corpora.values() for path in paths)
    return ({"unicode": "NFC"} if is_changed else {}) | recorded_rules(source=settings.source_lang)


def in_words(counts: Mapping[str, int]) -> str:
    """Counts by reason as one line, such as "2 empty source, 1 uneven"; zeros are left out."""
    return ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in counts.items() if count)


def build(settings: Settings, corpora: Mapping, folder: str, workers: int, lock: int) -> dict[str, dict[str, int]]:
    """Writes all files of a prepared folder but its record, and returns the counts of each split."""
    tokenizer = load_tokenizer(settings.lm)
    text = os.path.join(folder, "text")
    os.mkdir(text)
    words = Counter()
    pieces = Counter()
    counts = {}
    with ordered_pool(PairTokenizer, (settings,), workers) as tokenized:
        for split, paths in corpora.items():
            pairs = with_progress(tokenized, paths, split)
            prefix = os.path.join(text, split)
            counts[split] = write_split(settings, pairs, prefix, is_training=split == TRAIN, seen=(words, pieces))
    if not counts[TRAIN]["kept"]:
        dropped = in_words(counts[TRAIN])
        raise ValueError(
            f"no training pair of {' and '.join(corpora[TRAIN])} is left: {dropped}; "
            "check the text, --max-length and --max-ratio"
        )

    codes = os.path.join(folder, CODES)
    learn_bpe(words, settings.merges, codes)
    with ordered_pool(SubwordApplier, (settings.source_lang, codes), workers) as segmented:
        for split in corpora:
            apply_bpe(segmented, os.path.join(text, split), settings.source_lang)
    symbols = dictionary_symbols(tokenizer)
    if settings.observed_vocabulary:
        symbols = [symbol for symbol in symbols if symbol in pieces]
    write_dictionary(os.path.join(folder, f"dict.{settings.target_lang}.txt"), symbols, pieces)
    fairseq_preprocess(settings, list(corpora), folder, workers, lock)
    return counts


class PairTokenizer:
    """Splits raw line pairs into source words and target pieces; every process builds one."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.source = SourceText(settings.source_lang, settings.lowercase)
        self.tokenizer = load_tokenizer(settings.lm)

    def __call__(self, pairs: list[Pair]) -> list[TokenPair]:
        sources, targets = zip(*pairs, strict=True)
        words = map(self.source.words, sources)
        return list(zip(words, tokenize(self.tokenizer, targets), strict=True))


def with_progress(tokenized: Callable, paths: tuple[str, str], split: str) -> Iterator[TokenPair]:
    """The tokenized pairs of two raw files, in order, with a progress bar."""
    with progress(what=f"tokenize {split}", unit=" pairs") as bar:
        for batch in tokenized(batches(read_pairs(*paths), BATCH)):
            bar.update(len(batch))
            yield from batch


def write_split(
    settings: Settings, pairs: Iterator[TokenPair], prefix: str, is_training: bool, seen: tuple[Counter, Counter]
) -> dict[str, int]:
    """Writes the source words to PREFIX.words and the target pieces to PREFIX.<target language>.

    Args:
        pairs: tokenized line pairs.
        prefix: path of both files without their endings.
        is_training: drop unfit pairs, and add the others to `seen`. An evaluation set stays whole
            and aligned with its raw reference; its unfit pairs are only counted.
        seen: counts of the source words and of the target pieces, which grow in place.

    Returns:
        How many pairs were read and kept, and how many are unfit for each reason.
    """
    counts = dict.fromkeys(("read", "kept", "empty_source", "empty_target", "long_source", "long_target", "uneven"), 0)
    words_file = open(f"{prefix}.words", "w", encoding="utf-8", newline="\n")
    pieces_file = open(f"{prefix}.{settings.target_lang}", "w", encoding="utf-8", newline="\n")
    with words_file, pieces_file:
        for words, pieces in pairs:
            counts["read"] += 1
            if reason := unfit(words, pieces, settings):
                counts[reason] += 1
                if is_training:
                    continue
            counts["kept"] += 1
            words_file.write(" ".join(words) + "\n")
            pieces_file.write(" ".join(pieces) + "\n")
            if is_training:
                seen[0].update(words)
                seen[1].update(pieces)
    return counts


def unfit(words: list[str], pieces: list[str], settings: Settings) -> str | None:
    """The first reason not to train on a pair; None if there is none."""
    for side, tokens in (("source", words), ("target", pieces)):
        if not tokens:
            return f"empty_{side}"
    for side, tokens in (("source", words), ("target", pieces)):
        if len(tokens) > settings.max_length:
            return f"long_{side}"
    shorter, longer = sorted((len(words), len(pieces)))
    return "uneven" if settings.max_ratio is not None and longer > settings.max_ratio * shorter else None


def apply_bpe(segmented: Callable, prefix: str, source_lang: str) -> None:
    """Turns PREFIX.words into PREFIX.<source language>."""
    words = f"{prefix}.words"
    write_lines(f"{prefix}.{source_lang}", chain.from_iterable(segmented(batches(read_lines(words), BATCH))))
    os.unlink(words)


def fairseq_preprocess(settings: Settings, splits: list[str], folder: str, workers: int, lock: int) -> None:
    """Binarizes the tokenized text with the stock fairseq-preprocess.

    Args:
        settings: see Settings.
        splits: the splits of the corpus.
        folder: the folder that holds text/, and is written.
        workers: number of processes.
        lock: descriptor that the child keeps open, so that a run that follows a killed one waits
            until nothing writes to the folder any more.

    Raises:
        ChildProcessError: the command failed; the message ends with the last lines that it printed.
    """
    command = [sys.executable, "-m", "fairseq_cli.preprocess", "--destdir", folder, "--workers", str(workers)]
    command += ["--source-lang", settings.source_lang, "--target-lang", settings.target_lang]
    command += ["--tgtdict", os.path.join(folder, f"dict.{settings.target_lang}.txt")]
    for split in splits:
        command += [f"--{split}pref", os.path.join(folder, "text", split)]
    done = subprocess.run(  # our own interpreter, no shell  # nosec B603
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", pass_fds=[lock]
    )
    if done.returncode:
        last_lines = " | ".join(done.stdout.strip().splitlines()[-3:])
        raise ChildProcessError(f"fairseq-preprocess failed with status {done.returncode}: {last_lines}")
    os.unlink(os.path.join(folder, "preprocess.log"))  # it names the partial folder, which is gone soon
