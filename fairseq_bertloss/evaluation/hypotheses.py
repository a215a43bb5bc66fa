"""Translations from plain text files and from what fairseq-generate printed."""

import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from fairseq_bertloss.evaluation.generated import WHY_MISSING, Generated, parse
from fairseq_bertloss.evaluation.subwords import marks_in, warn_of_subwords
from fairseq_bertloss.language_model.vocabulary import (
    FAIRSEQS_UNKNOWN,
    FAIRSEQS_UNKNOWN_IN_REFERENCE,
    UNKNOWN,
    UNKNOWN_IN_REFERENCE,
    detokenize,
)
from fairseq_bertloss.text.canonical import composed

ENOUGH_SENTENCES = 20
"""Fewer sentences do not tell whether translations belong to their references."""


class Translations(NamedTuple):
    """The translations of one test set by one system: their text, and what fairseq-generate knew about them."""

    path: str
    text: list[str]
    generated: Generated | None


def read_lines(path: str) -> list[str]:
    """The lines of a UTF-8 text file, which end at line feeds alone.

    Raises:
        ValueError: the file is missing or empty, or a line is not UTF-8.
    """
    lines = []
    try:
        with open(path, "rb") as file:
            for number, raw in enumerate(file, 1):
                lines.append(raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n"))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}:{number}: not UTF-8: {error.reason} at byte {error.start + 1}") from error
    if not lines:
        raise ValueError(f"{path} is empty")
    return lines


def read_generated(path: str) -> Generated | None:
    """What fairseq-generate printed into a file, None if the file is plain text.

    Raises:
        ValueError: the file cannot be read, or is not the whole output of one run.
    """
    return parse(path, read_lines(path))


def read_translations(path: str, tokenizer) -> Translations:
    """One translation a sentence, in the order of the test set.

    Args:
        path: plain text, or fairseq-generate's output: of that the best hypotheses (the first H- line of
            each sentence) are taken, put in order and joined from word pieces to text.
        tokenizer: the language model's, whose pieces the model was trained on.

    Raises:
        ValueError: the file cannot be read, or is fairseq-generate's output but not that of one run, whole and made of
            the tokenizer's pieces.
    """
    lines = read_lines(path)
    generated = parse(path, lines)
    if generated is None:
        warn_of_subwords(path, lines)
        return Translations(path, list(map(composed, lines)), None)
    _check_pieces(path, generated.hypotheses, tokenizer)
    return Translations(path, [_text(line.split(), tokenizer) for line in generated.hypotheses], generated)


def read_references(path: str, tokenizer) -> list[str]:
    """One reference a sentence: plain text, or the targets in fairseq-generate's output.

    Raises:
        ValueError: the file cannot be read, or is fairseq-generate's output but not that of one run, whole and with
            targets, or these are pieces of another tokenizer.
    """
    lines = read_lines(path)
    generated = parse(path, lines)
    if generated is None:
        warn_of_subwords(path, lines)
        return list(map(composed, lines))
    if generated.targets is None:
        raise ValueError(f"{path} is fairseq-generate's output without targets (T- lines): pass the references as text")
    _check_targets(path, generated, tokenizer)
    text = [_text_of_target(target, tokenizer) for target in generated.targets]
    warn_of_subwords(path, text, least=1)
    return text


def check_belongs(translations: Translations, references: Sequence[str], reference_path: str, tokenizer) -> None:
    """Makes sure that translations are of the test set that the references are of.

    fairseq-generate's output has the targets, which must be the references. Of plain text, translations that
    share no more with their own reference than with the next one are of other sentences; where most lines
    are alike the system has collapsed instead, which is a result and no mistake.

    Raises:
        ValueError: another number of sentences, or another test set.
    """
    path, text, generated = translations
    if len(text) != len(references):
        shorter = path if len(text) < len(references) else reference_path
        raise ValueError(
            f"{path} has {len(text)} sentences and the reference {reference_path} has {len(references)}; "
            f"both must be of one test set. {shorter}: {WHY_MISSING}?"
        )
    targets = generated.targets if generated is not None and generated.targets is not None else []
    telling = [i for i, target in enumerate(targets) if FAIRSEQS_UNKNOWN not in target]
    if telling:
        differ = [i for i in telling if not _agree(targets[i], references[i], tokenizer)]
        if 2 * len(differ) > len(telling):
            first = differ[0]
            raise ValueError(
                f"{path} is of another test set than {reference_path}: sentence {first + 1} has the target "
                f"{targets[first]!r} there and {references[first]!r} here"
            )
    elif not _is_collapsed(text) and not _fit_their_own(text, references):
        raise ValueError(
            f"{path} is of another test set than {reference_path}, or in another order: its sentences share no more "
            "with the references on their own lines than with those on the next"
        )


def _text_of_target(target: str, tokenizer) -> str:
    """The text of a T- line, which fairseq prints as pieces or, with --tokenizer word_pieces, as text already."""
    space = tokenizer.tokenize("a")[0].removesuffix("a")  # what pieces record a space with: Ġ, ▁ or nothing
    text = target.replace(FAIRSEQS_UNKNOWN_IN_REFERENCE, UNKNOWN_IN_REFERENCE)
    symbols = text.split()
    has_pieces = any(symbol.startswith(space) for symbol in symbols)
    return detokenize(tokenizer, symbols) if has_pieces else composed(text)


def _text(symbols: Sequence[str], tokenizer) -> str:
    """The text of symbols of a dictionary."""
    return detokenize(tokenizer, [UNKNOWN if symbol == FAIRSEQS_UNKNOWN else symbol for symbol in symbols])


def _check_pieces(path: str, lines: Sequence[str], tokenizer) -> None:
    if found := _foreign_piece(lines, tokenizer):
        number, foreign = found
        raise ValueError(
            f"{path}: sentence {number} has {foreign!r}, which is no piece of the language model "
            f"{tokenizer.name_or_path!r}: name the model whose pieces these are with --word-pieces-lm, or pass text"
        )


def _check_targets(path: str, generated: Generated, tokenizer) -> None:
    """Refuses targets that are pieces of another tokenizer: the hypotheses are such pieces then as well.

    Targets without their marks are text, as by --tokenizer or --remove-bpe, whatever the hypotheses are.
    """
    marks = [marks_in(lines, least=1).keys() for lines in (generated.targets, generated.hypotheses)]
    if marks[0] & marks[1] and _foreign_piece(generated.hypotheses, tokenizer):
        _check_pieces(path, generated.targets, tokenizer)


def _foreign_piece(lines: Sequence[str], tokenizer) -> tuple[int, str] | None:
    """The first symbol that the tokenizer has no piece for, after the number of its line."""
    known = {*tokenizer.get_vocab(), FAIRSEQS_UNKNOWN, FAIRSEQS_UNKNOWN_IN_REFERENCE}
    symbols = ((number, symbol) for number, line in enumerate(lines) for symbol in line.split())
    return next((found for found in symbols if found[1] not in known), None)


def _agree(target: str, reference: str, tokenizer) -> bool:
    """Whether a T- line, as pieces or as text, is this reference up to case, accents, spaces and punctuation."""
    key = _letters(reference)
    return key == _letters(target) or key == _letters(detokenize(tokenizer, target.split()))


def _letters(text: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFKD", text.casefold()) if char.isalnum())


def _is_collapsed(text: Sequence[str]) -> bool:
    return len(set(text)) <= len(text) / 2


def _fit_their_own(text: Sequence[str], references: Sequence[str]) -> bool:
    """Whether lines share more character pairs with their own reference than with the next, beyond chance (z > 2)."""
    if len(text) < ENOUGH_SENTENCES:
        return True
    own = [_shared(*pair) for pair in zip(text, references)]
    next_one = [_shared(*pair) for pair in zip(text, [*references[1:], references[0]])]
    difference = np.subtract(own, next_one)
    return difference.mean() > 2 * difference.std(ddof=1) / len(text) ** 0.5


def _shared(one: str, other: str) -> float:
    """Dice coefficient of the character pairs of two lines, from 0 to 1."""
    pairs = [set(pairwise(line.casefold())) for line in (one, other)]
    return 2 * len(pairs[0] & pairs[1]) / max(1, len(pairs[0]) + len(pairs[1]))
