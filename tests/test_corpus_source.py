"""corpus/source.py: words as fairseq's recipes make them, and byte pair encoding."""

import pytest
from fairseq.data import Dictionary
from fairseq.data.encoders.moses_tokenizer import MosesTokenizer, MosesTokenizerConfig

from fairseq_bertloss.corpus.source import SourceText, is_marked, learn_bpe, readable

GERMAN = [
    'Dr. Müller sagt: "Das ist z.B. <unk> & Co."',
    "Wie geht's? Die 3.500 Hunde (alle!) laufen ...",
    "Ein E-Mail-Konto kostet 5% | mehr.",
]


def test_words_are_those_of_fairseqs_moses():
    fairseqs = MosesTokenizer(MosesTokenizerConfig(source_lang="de", moses_no_dash_splits=True))
    for line in GERMAN:
        assert " ".join(SourceText("de").words(line)) == fairseqs.encode(line)


@pytest.mark.parametrize("language", ["de", "es", "tr", "zh"])
def test_no_source_line_spells_a_special(language):
    specials = set(Dictionary().symbols)
    words = SourceText(language).words("<s> a</s> <pad> <unk> 你好<unk>。")
    assert words and not specials & set(words)


def test_chinese_is_split_into_words():
    assert SourceText("zh").words("我 来到北京清华大学。") == ["我", "来到", "北京", "清华大学", "。"]


def test_lower_casing_follows_tokenization():
    assert SourceText("de", lowercased=True).words("Nr. 5 Ist Da.") == ["nr.", "5", "ist", "da", "."]
    assert SourceText("tr", lowercased=True).words("IŞIK İzmir") == ["ışık", "izmir"]


@pytest.fixture()
def codes(tmp_path):
    path = str(tmp_path / "bpe.codes")
    learn_bpe({"laufen": 5, "kaufen": 4, "laufend": 2, "&quot;": 1}, 10, path)
    return path


def test_subwords_are_reversible_and_learned(codes):
    source = SourceText("de", codes=codes)
    assert source.encode("laufen") == "laufen"
    line = 'raufen, "laufende" Kosten'
    encoded = source.encode(line)
    assert "@@" in encoded
    assert readable(encoded) == 'raufen , " laufende " Kosten'


def test_merges_do_not_depend_on_the_order_of_counting(tmp_path):
    counts = {"laufen": 5, "kaufen": 5, "taufen": 5, "hunde": 5, "runde": 5}
    paths = [str(tmp_path / name) for name in "ab"]
    learn_bpe(counts, 12, paths[0])
    learn_bpe(dict(reversed(counts.items())), 12, paths[1])
    first, second = (open(path, encoding="utf-8").read() for path in paths)
    assert first == second and len(first.splitlines()) == 13


@pytest.mark.parametrize("counts", [{"我": 3, "你": 2}, {"ab": 1, "cd": 1}])
def test_nothing_to_merge_is_an_error(tmp_path, counts):
    with pytest.raises(ValueError, match="too small for BPE"):
        learn_bpe(counts, 10, str(tmp_path / "bpe.codes"))


def test_marks_of_the_source_side():
    assert is_marked("lau@@") and is_marked("&apos;s")
    assert not is_marked("@") and not is_marked("&") and not is_marked("##s")


def test_readable_undoes_each_escape_once():
    assert readable("A &amp; B &amp;lt; &apos; &eacute;") == "A & B &lt; ' &eacute;"


def test_folder_of_another_origin_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not written by 'bertloss prepare'"):
        SourceText.load(str(tmp_path))
