"""What fairseq-generate prints of a language model's word pieces: which symbols are pieces, and the text of them."""

import functools
from collections.abc import Sequence

from fairseq_bertloss.evaluation.unjoined import words_of
from fairseq_bertloss.language_model.spaces import is_word_piece, line_mark
from fairseq_bertloss.language_model.tokenization import UNKNOWN, UNKNOWN_IN_REFERENCE, detokenize
from fairseq_bertloss.language_model.vocabulary import FAIRSEQS_UNKNOWN, FAIRSEQS_UNKNOWN_IN_REFERENCE
from fairseq_bertloss.text.canonical import composed
from fairseq_bertloss.text.subwords import kind_of


def hypothesis_text(hypothesis: str, tokenizer) -> str:
    """The text of a hypothesis (H- line), which fairseq always prints as pieces."""
    return detokenize(tokenizer, [UNKNOWN if symbol == FAIRSEQS_UNKNOWN else symbol for symbol in hypothesis.split()])


def target_text(target: str, tokenizer) -> str:
    """The text of a target (T- line), which fairseq prints as pieces or, with --tokenizer word_pieces, as text."""
    text = target.replace(FAIRSEQS_UNKNOWN_IN_REFERENCE, UNKNOWN_IN_REFERENCE)
    symbols = text.split()
    mark = line_mark(tokenizer)
    has_pieces = any(symbol.startswith(mark) for symbol in symbols)
    return detokenize(tokenizer, symbols) if has_pieces else composed(text)


def foreign_symbol(line: str, tokenizer) -> str | None:
    """The first symbol of a line that is neither a piece of the tokenizer's nor fairseq's unknown symbol."""
    known = _known_symbols(tokenizer)
    return next((symbol for symbol in line.split() if symbol not in known), None)


@functools.lru_cache(maxsize=8)
def _known_symbols(tokenizer) -> frozenset[str]:
    return frozenset((*tokenizer.get_vocab(), FAIRSEQS_UNKNOWN, FAIRSEQS_UNKNOWN_IN_REFERENCE))


def are_pieces(lines: Sequence[str], tokenizer) -> bool:
    """Whether lines are made of the tokenizer's pieces, and fairseq's unknown symbol, alone.

    WordPiece may know every character of fairseq's --bpe characters, which only the sign for the space tells apart.
    """
    if any(foreign_symbol(line, tokenizer) for line in lines):
        return False
    return not (is_word_piece(tokenizer) and kind_of(words_of(lines)))


def check_pieces(path: str, lines: Sequence[str], tokenizer) -> None:
    """Makes sure that lines are made of the tokenizer's pieces.

    Raises:
        ValueError: they are not; names the file and the first symbol that is no piece.
    """
    for number, line in enumerate(lines):
        if foreign := foreign_symbol(line, tokenizer):
            raise ValueError(
                f"{path}: sentence {number} has {foreign!r}, which is no piece of the language model "
                f"{tokenizer.name_or_path!r}: name the model whose pieces these are with --word-pieces-lm, or pass "
                "text, or what fairseq-generate prints with the --bpe that joins them"
            )
