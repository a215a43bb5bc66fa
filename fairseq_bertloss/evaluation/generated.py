"""What fairseq-generate and fairseq-interactive print, as the sentences of one test set."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import regex

LINE = regex.compile(r"(?|([HD])-(\d+)\t[^\t]*\t(.*)|([STP])-(\d+)\t(.*))")
"""A kind of line, its sentence and its text; hypotheses have a score before it."""

LANGUAGE = regex.compile(r".*\| INFO \| fairseq\.tasks\.\w+ \| \[(\S+)\] dictionary: \d+ types")
"""What a task logs about each of its two dictionaries, the source's first."""

WHY_MISSING = (
    "was it made with --skip-invalid-size-inputs-valid-test, which leaves out sentences longer than the model's "
    "positions, or without --required-batch-size-multiple 1, or was it cut off"
)
"""Why fairseq-generate's output lacks sentences of a set, the usual cause first."""


class Generated(NamedTuple):
    """fairseq-generate's output in the order of the test set.

    Lists with an entry a sentence: hypotheses the best ones, as symbols of the target dictionary; targets the
    references as fairseq printed them, None where the test set has none; positions the scores of the hypothesis'
    symbols, base-2 logarithms of their probabilities, as fairseq printed them, None where it did not; detokenized what
    --post-process, --bpe and --tokenizer made of the hypotheses, None where fairseq did not print it. language is the
    target's code, where it was printed.
    """

    hypotheses: list[str]
    targets: list[str] | None
    positions: list[str] | None
    language: str | None = None
    detokenized: list[str] | None = None


def parse(path: str, lines: Sequence[str]) -> Generated | None:
    """Parses the lines of a file; None if they are plain text.

    Of the hypotheses of a sentence (--nbest) the first is the best.

    Raises:
        ValueError: sentences are missing, the file holds more than one run, or it has fairseq-generate's other lines
            without the hypotheses.
    """
    found = [(match[1], int(match[2]), match[3]) for match in map(LINE.fullmatch, lines) if match]
    numbers = {kind: [number for its_kind, number, _ in found if its_kind == kind] for kind in "STHDP"}
    if not numbers["H"]:
        _check_plain(path, lines, numbers)
        return None
    _check_one_run(path, numbers)
    _check_complete(path, numbers["H"])
    first = {(kind, number): text for kind, number, text in reversed(found)}
    hypotheses, targets, positions, detokenized = (_in_order(first, kind, len({*numbers["H"]})) for kind in "HTPD")
    return Generated(hypotheses, targets, positions, _language(lines), detokenized)


def _check_plain(path: str, lines: Sequence[str], numbers: dict[str, list[int]]) -> None:
    """Makes sure that plain text is not cut from fairseq-generate's output with the marks of its lines."""
    kind = max(numbers, key=lambda kind: len(numbers[kind]))
    if 2 * len(numbers[kind]) > len(lines):
        raise ValueError(
            f"{path} has fairseq-generate's {kind}- lines without the H- lines: pass all that it printed, or text "
            "without these marks and in the order of the test set"
        )


def _check_one_run(path: str, numbers: dict[str, list[int]]) -> None:
    """Makes sure that no sentence comes twice, as by `>>` or `tee -a`; --nbest repeats H-, D- and P- lines alone."""
    for kind in "STHDP":
        # The hypotheses of a sentence stand together.
        stood = numbers[kind] if kind in "ST" else _without_repeats(numbers[kind])
        again = next((number for number, times in Counter(stood).items() if times > 1), None)
        if again is not None:
            raise ValueError(
                f"{path} holds several runs of fairseq-generate: its line {kind}-{again} comes twice. Keep one run, or "
                "generate again into a new file (>, not >> or tee -a)"
            )


def _without_repeats(numbers: Sequence[int]) -> list[int]:
    return [number for number, before in zip(numbers, [None, *numbers], strict=False) if number != before]


def _check_complete(path: str, numbers: Sequence[int]) -> None:
    found = {*numbers}
    missing = next((i for i in range(len(found)) if i not in found), None)
    if missing is not None:
        raise ValueError(
            f"{path}: the output of fairseq-generate has {len(found)} sentences but not number {missing}; "
            f"{WHY_MISSING}? Generate again, with all sentences"
        )


def _in_order(first: dict[tuple[str, int], str], kind: str, sentences: int) -> list[str] | None:
    """The lines of a kind, None where a sentence has none."""
    lines = [first.get((kind, number)) for number in range(sentences)]
    return None if None in lines else lines


def _language(lines: Sequence[str]) -> str | None:
    codes = [match[1] for match in map(LANGUAGE.fullmatch, lines) if match]
    return codes[1] if len(codes) == 2 else None
