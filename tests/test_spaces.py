"""spaces.py: how the pieces of every kind of tokenizer tell where words begin."""

import pytest

from fairseq_bertloss.language_model.spaces import is_word_piece, line_mark, loses_spaces, space_mark
from fairseq_bertloss.language_model.vocabulary import load_tokenizer


@pytest.mark.parametrize(
    "family, after_a_space, at_the_start",
    [("bert", "", ""), ("mpnet", "", ""), ("xlm-roberta", "▁", "▁"), ("roberta", "Ġ", "Ġ"), ("deberta", "Ġ", "")],
)
def test_marks(family, after_a_space, at_the_start, tiny_lm):
    tokenizer = load_tokenizer(tiny_lm(family))
    assert (space_mark(tokenizer), line_mark(tokenizer)) == (after_a_space, at_the_start)
    assert is_word_piece(tokenizer) == loses_spaces(tokenizer) == (not after_a_space)
