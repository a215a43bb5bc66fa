"""The text of what fairseq-generate printed for a model of any dictionary: its D- and T- lines.

They are text where --post-process, --bpe and --tokenizer made it so. Where nothing undid the subwords, marks that
cannot be mistaken (@@ and ▁) are undone here.
"""

import logging
from collections.abc import Sequence

from fairseq_bertloss.evaluation.generated import Generated
from fairseq_bertloss.evaluation.pieces import check_pieces
from fairseq_bertloss.evaluation.unjoined import found_mark, marks_in, warn_of_subwords, words_of
from fairseq_bertloss.language_model.tokenization import UNKNOWN, UNKNOWN_IN_REFERENCE
from fairseq_bertloss.language_model.vocabulary import FAIRSEQS_UNKNOWN, FAIRSEQS_UNKNOWN_IN_REFERENCE
from fairseq_bertloss.text.canonical import composed
from fairseq_bertloss.text.subwords import join, most_marked

logger = logging.getLogger(__name__)

UNKNOWNS = {FAIRSEQS_UNKNOWN, FAIRSEQS_UNKNOWN_IN_REFERENCE}


def translations_text(path: str, generated: Generated, tokenizer) -> list[str]:
    """The text of the best hypotheses: of the D- lines or, where there are none, of the H- lines.

    Args:
        path: the file that has them.
        generated: what it holds.
        tokenizer: the language model's, whose pieces the hypotheses are not.

    Raises:
        ValueError: nothing joined the hypotheses' subwords, and which they are cannot be told.
    """
    lines = generated.detokenized or generated.hypotheses
    text = joined(f"{path}, {'D' if generated.detokenized else 'H'}- lines", lines)
    if text is None:
        untouched = lines == generated.hypotheses
        if generated.detokenized is None or (untouched and marks_in(lines, least=1)):
            check_pieces(path, lines, tokenizer)
    return _warned_of(path, [line.replace(FAIRSEQS_UNKNOWN, UNKNOWN) for line in text or lines])


def targets_text(path: str, generated: Generated, tokenizer) -> list[str]:
    """The text of the targets, of which there are some.

    Args:
        path: the file that has them.
        generated: what it holds.
        tokenizer: the language model's, whose pieces the hypotheses are not.

    Raises:
        ValueError: as of `translations_text`; the hypotheses are such subwords then as well.
    """
    lines = generated.targets
    text = joined(f"{path}, T- lines", lines)
    if text is None and marks_in(lines, least=1).keys() & marks_in(generated.hypotheses, least=1).keys():
        check_pieces(path, lines, tokenizer)
    return _warned_of(
        path, [line.replace(FAIRSEQS_UNKNOWN_IN_REFERENCE, UNKNOWN_IN_REFERENCE) for line in text or lines]
    )


def joined(origin: str, lines: Sequence[str]) -> list[str] | None:
    """Lines without the marks of the subwords that they are full of, which is said; None where there are none such.

    Args:
        origin: where the lines are from, for messages.
        lines: of a model that has subwords, so that a single one counts.

    Raises:
        ValueError: they are the numbers that fairseq's GPT-2 pieces are written as.
    """
    words = words_of(lines)
    if is_of_numbers(lines):
        raise ValueError(f"{origin}: these are numbers of pieces, not text: generate with --bpe gpt2")
    mark, found = most_marked(words, least=1) or (None, [])
    if mark is None or mark.post_process is None:
        return None
    logger.warning(
        f"{origin}: {found_mark(mark, found, words)}: they are joined here, as --post-process {mark.post_process} does"
    )
    return [join(line, mark.post_process) for line in lines]


def is_of_numbers(lines: Sequence[str]) -> bool:
    """Whether lines are pieces of GPT-2's as fairseq writes them: numbers, several a line."""
    words = words_of(lines)
    return len(words) > len(lines) and all(word.isdecimal() or word in UNKNOWNS for word in words)


def _warned_of(path: str, text: Sequence[str]) -> list[str]:
    """The text, composed; of marks that are still in it is warned."""
    warn_of_subwords(path, text, least=1)
    return list(map(composed, text))
