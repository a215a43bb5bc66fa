"""What changed by sentence: where each belongs, and which words differ."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from results import comparison, system

from fairseq_bertloss.report.changes import changes, differences, length_buckets


def test_every_sentence_has_its_place():
    whole = comparison()
    change = changes(whole, whole.system("tuned"))
    assert change.f_bert[:5] == pytest.approx([0, -1, 1, 3, 5])
    assert np.count_nonzero(change.unchanged) == 4 and change.unchanged[0]
    counts = {signs: np.count_nonzero(change.quadrant(*signs)) for signs in ((1, 1), (-1, -1), (1, -1), (-1, 1))}
    assert counts == {(1, 1): 12, (-1, -1): 4, (1, -1): 0, (-1, 1): 0}
    assert change.largest(5, 1) == [4, 9, 14, 19, 3] and change.largest(5, -1) == [1, 6, 11, 16]


def test_rounding_is_no_change():
    whole = comparison(system("baseline", 30.0), system("same", 30.0, gain=1e-5), control=None)
    assert changes(whole, whole.systems[1]).unchanged.all()


def test_buckets_hold_every_sentence_once():
    names, members = zip(*length_buckets(["a"] * 5 + ["a b"] * 5 + ["a b c", "a b c d"] * 5 + [""]), strict=True)
    assert names == ("0–1 word", "2 words", "3 words", "4 words")
    assert (np.sum(members, axis=0) == 1).all() and [part.sum() for part in members] == [6, 5, 5, 5]
    assert [name for name, _ in length_buckets(["我"] * 9)] == ["1 word"]


@given(st.text("ab 中。,", max_size=12), st.text("ab 中。,", max_size=12))
def test_differences_keep_the_text(before, after):
    for side, line in zip(differences(before, after), (before, after), strict=True):
        assert "".join(piece for piece, _ in side).rstrip() == line.rstrip()
    same, _ = differences(before, before)
    assert not any(differs for _, differs in same)


def test_differences_mark_words_and_chinese_characters():
    assert [piece for piece, differs in differences("the red, cat sat", "the blue big, cat")[1] if differs] == [
        "blue big"
    ]
    assert [piece for piece, differs in differences("我爱这本书。", "我喜欢这本书。")[1] if differs] == ["喜欢"]
