"""Whether a file of translations is of the test set that it is compared with.

fairseq-generate's output has the targets, which must be the references, or where there are several one of them.
Plain text must share more with its own references than with others.
"""

import html
import unicodedata
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import regex

from fairseq_bertloss.evaluation.generated import WHY_MISSING
from fairseq_bertloss.evaluation.hypotheses import Translations
from fairseq_bertloss.evaluation.printed import is_of_numbers
from fairseq_bertloss.evaluation.references import ReferenceFile, References
from fairseq_bertloss.language_model.tokenization import detokenize
from fairseq_bertloss.language_model.vocabulary import FAIRSEQS_UNKNOWN

ENOUGH_SENTENCES = 20
"""Fewer sentences do not tell whether translations belong to their references."""


class Pair(NamedTuple):
    """A target that fairseq-generate printed, with its number there, and the references that it should be one of."""

    number: int
    target: str
    references: Sequence[str]


def check_belong_together(files: Sequence[ReferenceFile]) -> None:
    """Makes sure that files of references are of one test set, by the lines that are not blank in both.

    Raises:
        ValueError: another number of sentences, or another test set.
    """
    first, *others = files
    for path, text in others:
        if len(text) != len(first.text):
            raise ValueError(
                f"{path} has {len(text)} references and {first.path} has {len(first.text)}; each file needs a line for "
                "every sentence, blank where the sentence has no further reference"
            )
        both = [pair for pair in zip(text, first.text, strict=True) if all(map(str.strip, pair))]
        lines, references = ([pair[side] for pair in both] for side in (0, 1))
        if not _is_collapsed(lines) and not _fit_their_own(lines, References.of(references)):
            raise ValueError(
                f"{path} is of another test set than {first.path}, or in another order: its references share no more "
                "with those on the same lines than with those on the next"
            )


def check_belongs(translations: Translations, references: References, reference_path: str, tokenizer) -> None:
    """Makes sure that translations are of the test set that the references are of.

    Where there are no targets, translations that share no more with their own reference than with the next one are of
    other sentences. Where most lines are alike the system has collapsed instead, which is a result and no mistake.

    Args:
        translations: what is checked.
        references: text.
        reference_path: their file, of several the first, for messages.
        tokenizer: the language model's, whose pieces targets may be printed as.

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
    telling = [pair for pair in _pairs(targets, references.by_sentence) if FAIRSEQS_UNKNOWN not in pair.target]
    if telling:
        _check_most_agree(path, reference_path, telling, lambda pair: _is_text_of(pair, tokenizer))
    elif not _is_collapsed(text) and not _fit_their_own(text, references):
        raise ValueError(
            f"{path} is of another test set than {reference_path}, or in another order: its sentences share no more "
            "with the references on their own lines than with those on the next"
        )


def check_same_targets(path: str, targets: Sequence[str], origin: str, references: Sequence[str]) -> None:
    """Makes sure that fairseq-generate's targets, pieces or text, are the references of a prepared data set.

    Args:
        path: the file that has the targets.
        targets: its T- lines.
        origin: what the data set is called in messages.
        references: its lines as symbols of whatever dictionary.

    Raises:
        ValueError: they are of another test set.
    """
    telling = [
        pair
        for pair in _pairs(targets, [[reference] for reference in references])
        if any(map(_fingerprint, (pair.target, *pair.references))) and not is_of_numbers(pair.references)
    ]
    _check_most_agree(
        path, origin, telling, lambda pair: _fingerprint(pair.target) in map(_fingerprint, pair.references)
    )


def _pairs(targets: Sequence[str], references: Sequence[Sequence[str]]) -> list[Pair]:
    return [Pair(number, *pair) for number, pair in enumerate(zip(targets, references, strict=False))]


def _check_most_agree(path: str, origin: str, pairs: Sequence[Pair], agree: Callable[[Pair], bool]) -> None:
    """Refuses a file if more than half of its targets are not the references; a few may differ, as after an edit."""
    differ = [pair for pair in pairs if not agree(pair)]
    if 2 * len(differ) > len(pairs):
        number, target, (reference, *_) = differ[0]
        raise ValueError(
            f"{path} is of another test set than {origin}: its line T-{number} is {target!r}, and the "
            f"reference of this sentence is {reference!r}"
        )


def _is_text_of(pair: Pair, tokenizer) -> bool:
    """Whether a target, as pieces or as text, is a reference up to case, accents, spaces and punctuation."""
    expected = list(map(_letters, pair.references))
    return _letters(pair.target) in expected or _letters(detokenize(tokenizer, pair.target.split())) in expected


def _letters(text: str) -> str:
    """What spaces, punctuation and its escapes (Moses's &apos;) do not change."""
    text = html.unescape(text)
    return "".join(char for char in unicodedata.normalize("NFKD", text.casefold()) if char.isalnum())


def _fingerprint(text: str) -> str:
    """What a line of symbols has in common with the text that any tokenizer joins them to: ASCII letters and digits.

    Not those beneath an accent: byte-level pieces write bytes as accented letters (Ġ is a space). A mark that is a
    piece of its own comes back to its letter first, and an escape (Moses's &apos;) is the character.
    """
    unescaped = html.unescape(regex.sub("@@ | ", "", text))
    joined = regex.sub(r"[^\p{Letter}\p{Mark}\p{Decimal_Number}]", "", unescaped)
    return regex.sub(r"[^A-Za-z0-9]", "", unicodedata.normalize("NFC", joined))


def _is_collapsed(text: Sequence[str]) -> bool:
    return len(set(text)) <= len(text) / 2


def _fit_their_own(text: Sequence[str], references: References) -> bool:
    """Whether lines share more character pairs with a reference of theirs than of the next, beyond chance (z > 2)."""
    if len(text) < ENOUGH_SENTENCES:
        return True
    own = references.by_sentence
    with_own = [_most_shared(*pair) for pair in zip(text, own, strict=True)]
    with_next = [_most_shared(*pair) for pair in zip(text, [*own[1:], own[0]], strict=True)]
    difference = np.subtract(with_own, with_next)
    return difference.mean() > 2 * difference.std(ddof=1) / len(text) ** 0.5


def _most_shared(line: str, references: Sequence[str]) -> float:
    return max(_shared(line, reference) for reference in references)


def _shared(one: str, other: str) -> float:
    """Dice coefficient of the character pairs of two lines, from 0 to 1."""
    pairs = set(pairwise(one.casefold()))
    other_pairs = set(pairwise(other.casefold()))
    return 2 * len(pairs & other_pairs) / max(1, len(pairs) + len(other_pairs))
