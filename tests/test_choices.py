"""Options offer what the machinery has, and naming them loads none of it."""

import ast
from pathlib import Path

import fairseq_bertloss.choices as choices
from fairseq_bertloss.language_model.frozen import DTYPES
from fairseq_bertloss.loss.matching import BERTScore
from fairseq_bertloss.loss.one_to_one import MATCHINGS
from fairseq_bertloss.loss.soft_predictions import DEFAULT_TEMPERATURE


def test_choices_are_those_of_the_machinery():
    assert choices.SCORE_NAMES == BERTScore._fields
    assert choices.MATCHING_NAMES == tuple(MATCHINGS)
    assert choices.DTYPE_NAMES == tuple(DTYPES)
    assert choices.SOFT_PREDICTIONS == tuple(DEFAULT_TEMPERATURE)


def test_choices_import_nothing():
    tree = ast.parse(Path(choices.__file__).read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
