"""Scores in the course of a fine-tuning: every checkpoint that it kept translates a subset, which is scored.

    bertloss curve DATA --run NAME=SAVE_DIR --baseline CHECKPOINT --reference FILE --lm NAME --output DIR/curve.json

SAVE_DIR comes from `fairseq-train --save-interval-updates N`, without --keep-interval-updates, which deletes
all but the last checkpoints. The translations are kept in SAVE_DIR/SUBSET/, so that the command goes on
where it was interrupted.
"""

import argparse
import glob
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from fairseq.data import Dictionary
from fairseq.utils import split_paths

from fairseq_bertloss.checkpoints.loading import LAST, check_exists, load, options, progress, reading
from fairseq_bertloss.evaluation.hypotheses import read_translations
from fairseq_bertloss.evaluation.metrics import Evaluator
from fairseq_bertloss.evaluation.references import References
from fairseq_bertloss.evaluation.results import HEADLINE, Curve, Point, Run
from fairseq_bertloss.evaluation.same_test_set import check_belongs
from fairseq_bertloss.evaluation.score import read_reference_files
from fairseq_bertloss.evaluation.tokenized import warn_of_tokenized
from fairseq_bertloss.files import whole
from fairseq_bertloss.language_model.vocabulary import unaligned

KEPT = re.compile(r"checkpoint_\d+_\d+\.pt|checkpoint\d+\.pt")
"""Names of checkpoints that fairseq does not overwrite: of --save-interval-updates, and of the ends of epochs."""

GENERATION = "--beam 5 --required-batch-size-multiple 1 --log-format none"
"""How fairseq-generate translates; its default multiple of 8 leaves sentences out."""

UTF_8 = {"PYTHONIOENCODING": "utf-8"}
"""Environment in which fairseq-generate prints any text, whatever the locale."""


class Checkpoint(NamedTuple):
    """How far training had come when a checkpoint was written.

    updates: their number; epoch: the one under way, from 1; epoch_began: updates when it began; interval and
    keep: --save-interval-updates and --keep-interval-updates.
    """

    path: str
    updates: int
    epoch: int
    epoch_began: float
    interval: int
    keep: int


def curves(
    data: str,
    subset: str,
    baseline: str,
    runs: Mapping[str, str],
    reference_paths: Sequence[str],
    evaluator: Evaluator,
    word_pieces_lm: str,
    max_tokens: int = 4096,
    report: Callable[[str], None] = lambda line: None,
    generation: str | None = None,
) -> list[Curve]:
    """Translates with every checkpoint of the fine-tunings, and scores the translations.

    Args:
        data: folder that fairseq-preprocess wrote.
        subset: the part of it to translate.
        baseline: checkpoint that the fine-tunings began with: their step 0.
        runs: name -> folder of its checkpoints.
        reference_paths: files of the subset's references.
        evaluator: what scores.
        word_pieces_lm: hub name or folder of the language model whose pieces the target may be made of; they are joined
            by its tokenizer then.
        max_tokens: symbols of a batch at the most.
        report: called with each line about the progress.
        generation: more options of fairseq-generate, as a shell has them: how other symbols become text, the task.

    Raises:
        ValueError: a checkpoint, a folder of them or a reference is not what it should be.
        ChildProcessError: fairseq-generate failed; the message ends with the last line that it printed.
    """
    reference_files = read_reference_files(reference_paths, evaluator.tokenizer)
    texts = [file.text for file in reference_files]
    references = References.of(*texts)
    check_exists(baseline)
    checkpoints = {name: find_checkpoints(save_dir) for name, save_dir in runs.items()}
    for name, found in checkpoints.items():
        report(_summary(name, found))
    added = split_options(generation)
    added += text_options(data, baseline, added, word_pieces_lm, evaluator.tokenizer)

    paths = [baseline, *(checkpoint.path for found in checkpoints.values() for checkpoint in found)]
    translations = []
    for i, path in enumerate(paths, 1):
        report(f"translation {i} of {len(paths)}: {output_path(path, subset)}")
        translate(data, subset, path, added, max_tokens)
        translations.append(read_translations(output_path(path, subset), evaluator.tokenizer))
        check_belongs(translations[-1], references, reference_paths[0], evaluator.tokenizer)
    warn_of_tokenized(translations, reference_files, evaluator.tokenizer)
    scored_runs, signatures, _ = evaluator.score(translations, *texts)
    scored = dict(zip(paths, scored_runs, strict=True))
    return [
        Curve(name, subset, _points(found, baseline, scored), epoch_ends(found), signatures)
        for name, found in checkpoints.items()
    ]


def find_checkpoints(save_dir: str) -> list[Checkpoint]:
    """The checkpoints of a training, by their number of updates: all that it kept, and the last.

    Raises:
        ValueError: there are none but the last, one cannot be read, or they are of several trainings.
    """
    names = sorted(os.listdir(save_dir)) if os.path.isdir(save_dir) else []
    kept = [name for name in names if KEPT.fullmatch(name)]
    if not kept:
        raise ValueError(
            f"{save_dir} has no checkpoints from before the end of training: train with --save-interval-updates N, "
            "and without --keep-interval-updates, which deletes them"
        )
    checkpoints = sorted((read_checkpoint(os.path.join(save_dir, name)) for name in kept), key=lambda c: c.updates)
    for one, other in pairwise(checkpoints):
        if one.updates == other.updates or one.epoch > other.epoch:
            raise ValueError(
                f"{one.path} (update {one.updates}, epoch {one.epoch}) and {other.path} (update {other.updates}, epoch "
                f"{other.epoch}) belong to different trainings: give each run a folder of its own"
            )
    if LAST in names:
        last = read_checkpoint(os.path.join(save_dir, LAST))
        if last.updates > checkpoints[-1].updates:
            checkpoints.append(last)
    return checkpoints


def read_checkpoint(path: str) -> Checkpoint:
    """Reads how far training had come; the weights are not loaded.

    Raises:
        ValueError: not a checkpoint of fairseq-train.
    """
    state = load(path)
    with reading(path):
        updates, epoch, batches = progress(state)
        accumulated = options(state, "optimization")["update_freq"]
        # Batches become updates in groups, whose size may change with the epoch.
        group = accumulated[min(epoch, len(accumulated)) - 1]
        saving = options(state, "checkpoint")
        interval = saving["save_interval_updates"]
        keep = saving["keep_interval_updates"]
    return Checkpoint(path, updates, epoch, updates - batches / group, interval, keep)


def epoch_ends(checkpoints: Sequence[Checkpoint]) -> list[float]:
    """Numbers of updates at which epochs ended, from the first epoch on.

    They are exact for an epoch that is followed by a checkpoint from the next (with --fp16 less the updates
    that overflowed between the two), and interpolated where several epochs lie between two checkpoints.

    Args:
        checkpoints: of one training, by their number of updates.
    """
    ends = {0: 0.0}
    for checkpoint in checkpoints:
        ends.setdefault(checkpoint.epoch - 1, checkpoint.epoch_began)
    epochs = range(1, max(ends) + 1)
    return np.interp(epochs, list(ends), list(ends.values())).tolist()


def output_path(checkpoint: str, subset: str) -> str:
    """Where a checkpoint's translation of a subset is kept: in a folder of the subset's name beside it."""
    path = Path(checkpoint)
    return str(path.parent / subset / f"{path.stem}.out")


def split_options(generation: str | None) -> list[str]:
    """Options as a shell splits them.

    Raises:
        ValueError: a quotation mark is not closed.
    """
    try:
        return shlex.split(generation or "")
    except ValueError as error:
        raise ValueError(f"--generation {generation}: {error}") from error


def text_options(data: str, checkpoint: str, generation: Sequence[str], word_pieces_lm: str, tokenizer) -> list[str]:
    """The options by which fairseq-generate joins the language model's pieces.

    There are none where others say how symbols become text, or where the dictionary has other symbols or is not found.

    Args:
        data: the folder that has the dictionary.
        checkpoint: of a model of that dictionary, which may know the target's language.
        generation: more options of fairseq-generate.
        word_pieces_lm: hub name or folder of the language model.
        tokenizer: its tokenizer.
    """
    given = _text_options_of(generation)
    if given.tokenizer or given.bpe or given.post_process:
        return []
    language = given.target_lang or options(load(checkpoint), "task").get("target_lang")
    path = _dictionary_path(data, language)
    if path is None or unaligned(Dictionary.load(str(path)).symbols, tokenizer):
        return []
    return ["--tokenizer", "word_pieces", "--word-pieces-lm", word_pieces_lm]


def _text_options_of(generation: Sequence[str]) -> argparse.Namespace:
    """Those of fairseq-generate's options that say how symbols become text, and whose."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--tokenizer")
    parser.add_argument("--bpe")
    parser.add_argument("--post-process", "--remove-bpe", nargs="?", const="subword_nmt")
    parser.add_argument("-t", "--target-lang")
    return parser.parse_known_args(generation)[0]


def _dictionary_path(data: str, language: str | None) -> Path | None:
    """The target's dictionary; that of any language where the model has several, which all have the same."""
    folder = Path(split_paths(data)[0])
    name = "*" if language is None else glob.escape(language)
    return min(folder.glob(f"dict.{name}.txt"), default=None)


def translate(data: str, subset: str, checkpoint: str, generation: Sequence[str], max_tokens: int) -> None:
    """Translates a subset with the stock fairseq-generate.

    Nothing is done where the same command did so since the checkpoint was written. The file appears whole or not at
    all, with the command in a file beside it.

    Args:
        data, subset, checkpoint, max_tokens: as of `curves`.
        generation: more options of fairseq-generate.

    Raises:
        ChildProcessError: fairseq-generate failed.
    """
    output = output_path(checkpoint, subset)
    command = [sys.executable, "-m", "fairseq_cli.generate", data, "--user-dir", str(Path(__file__).parent)]
    command += ["--path", checkpoint, "--gen-subset", subset, "--max-tokens", str(max_tokens), *GENERATION.split()]
    command += generation
    record = Path(f"{output}.command")
    if os.path.isfile(output) and os.path.getmtime(output) >= os.path.getmtime(checkpoint):
        if record.exists() and record.read_text(encoding="utf-8") == " ".join(command):
            return
    os.makedirs(os.path.dirname(output), exist_ok=True)
    with whole(output) as (partial,):
        with partial.open("x", encoding="utf-8") as file:
            done = subprocess.run(  # our own interpreter, no shell  # nosec B603
                command, stdout=file, stderr=subprocess.PIPE, text=True, errors="replace", env=os.environ | UTF_8
            )
        if done.returncode:
            last_line = (done.stderr.strip().splitlines() or ["it printed no error"])[-1]
            status = f"status {done.returncode}"
            raise ChildProcessError(f"fairseq-generate failed on {checkpoint} with {status}: {last_line}")
        record.unlink(missing_ok=True)
    record.write_text(" ".join(command), encoding="utf-8")


def _summary(name: str, checkpoints: Sequence[Checkpoint]) -> str:
    """One line on a training's checkpoints, with a warning where older ones were deleted."""
    first = checkpoints[0]
    last = checkpoints[-1]
    line = f"{name}: {len(checkpoints)} checkpoints of updates {first.updates} to {last.updates}"
    if first.keep > 0 and first.updates > first.interval:
        line += f"; warning: --keep-interval-updates {first.keep} deleted those before"
    return line


def _points(checkpoints: Sequence[Checkpoint], baseline: str, scored: Mapping[str, Run]) -> list[Point]:
    """The baseline and the checkpoints of one training with their scores, which are given by path."""
    steps = [(0, baseline), *((checkpoint.updates, checkpoint.path) for checkpoint in checkpoints)]
    return [Point(updates, {metric: scored[path].corpus[metric] for metric in HEADLINE}) for updates, path in steps]
