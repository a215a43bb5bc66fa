"""Translations and references, read from plain text files and from what fairseq-generate printed."""

import sys
from typing import BinaryIO, NamedTuple

from fairseq_bertloss.evaluation.generated import Generated, parse
from fairseq_bertloss.evaluation.pieces import are_pieces, hypothesis_text, target_text
from fairseq_bertloss.evaluation.printed import targets_text, translations_text
from fairseq_bertloss.evaluation.unjoined import warn_of_subwords
from fairseq_bertloss.files import decoded_lines, opened
from fairseq_bertloss.text.canonical import composed

STANDARD_INPUT = "standard input"
"""The name under which text comes from there; `bertloss` writes it -."""


class Translations(NamedTuple):
    """The translations of one test set by one system: their text, and what fairseq-generate knew about them."""

    path: str
    text: list[str]
    generated: Generated | None


def text_lines(path: str) -> list[str]:
    """The lines of a UTF-8 text file as they stand, which end at line feeds alone.

    Args:
        path: the file, gzipped if its name ends in .gz.

    Raises:
        ValueError: the file is missing, empty or damaged, or a line is not UTF-8.
    """
    try:
        with opened(path) as file:
            return _lines(file, path)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error


def _lines(file: BinaryIO, name: str) -> list[str]:
    lines = [line.rstrip("\r\n") for line in decoded_lines(file, name)]
    if not lines:
        raise ValueError(f"{name} is empty")
    return lines


def _given_lines(path: str) -> list[str]:
    """text_lines of a file, or of STANDARD_INPUT."""
    return _lines(sys.stdin.buffer, path) if path == STANDARD_INPUT else text_lines(path)


def read_generated(path: str) -> Generated | None:
    """What fairseq-generate printed into a file, None if the file is plain text.

    Raises:
        ValueError: the file cannot be read, or is not the whole output of one run.
    """
    return parse(path, text_lines(path))


def read_translations(path: str, tokenizer) -> Translations:
    """One translation a sentence, in the order of the test set.

    Args:
        path: plain text, or fairseq-generate's output, or STANDARD_INPUT. Of fairseq-generate's output the best
            hypotheses are taken and put in order. Those of the tokenizer's pieces (the first H- line of each sentence)
            are joined by it; of any other symbols the D- line is the text.
        tokenizer: the language model's, whose pieces the model may have been trained on.

    Raises:
        ValueError: the file cannot be read, or is fairseq-generate's output but not that of one run, whole and made of
            the tokenizer's pieces or of text.
    """
    lines = _given_lines(path)
    generated = parse(path, lines)
    if generated is None:
        warn_of_subwords(path, lines)
        return Translations(path, list(map(composed, lines)), None)
    if are_pieces(generated.hypotheses, tokenizer):
        return Translations(path, [hypothesis_text(line, tokenizer) for line in generated.hypotheses], generated)
    return Translations(path, translations_text(path, generated, tokenizer), generated)


def read_references(path: str, tokenizer) -> list[str]:
    """One reference a sentence: plain text, or the targets in fairseq-generate's output.

    Raises:
        ValueError: the file cannot be read, or is fairseq-generate's output but not that of one run, whole and with
            targets, or these are pieces of another tokenizer.
    """
    lines = _given_lines(path)
    generated = parse(path, lines)
    if generated is None:
        warn_of_subwords(path, lines)
        return list(map(composed, lines))
    if generated.targets is None:
        raise ValueError(f"{path} is fairseq-generate's output without targets (T- lines): pass the references as text")
    if not are_pieces(generated.hypotheses, tokenizer):
        return targets_text(path, generated, tokenizer)
    text = [target_text(target, tokenizer) for target in generated.targets]
    warn_of_subwords(path, text, least=1)
    return text
