"""The judges of benchmarks/effect.py: `bertloss score`'s figures, and what is not asked twice."""

import pytest
from conftest import import_benchmark

REFERENCES = ["A man is riding a horse.", "Two dogs play in the snow.", "She reads a book."]
TRANSLATIONS = ["A man rides a horse.", "Two dogs are in the water.", "She reads a book."]


@pytest.fixture(scope="module")
def judges():
    """The module of the judges."""
    return import_benchmark("effect_judges")


@pytest.fixture
def files(tmp_path):
    """References and translations."""
    paths = tmp_path / "reference", tmp_path / "translated"
    for path, lines in zip(paths, (REFERENCES, TRANSLATIONS), strict=True):
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return paths


def test_scores_and_sentences(judges, files, minilm, monkeypatch):
    """By one language model in the place of all three, each at its own layer."""
    monkeypatch.setattr(judges, "E5_LAYER", 6)
    monkeypatch.setattr(judges, "MPNET_LAYER", 2)
    nothing = judges.Judgement({}, {})
    scores, sentences, parts = judges.Judges(minilm, minilm, minilm).judge(*files, nothing, {"all": 3})
    evaluator = judges.Evaluator(minilm, judges.LAYER, lowercase=True)
    (run,) = evaluator.score([judges.read_translations(str(files[1]), evaluator.tokenizer)], REFERENCES).runs
    assert run.corpus == {name: pytest.approx(scores[name], abs=1e-4) for name in run.corpus}
    for name, layer in (("f_bert_e5", 6), ("f_bert_mpnet", 2)):
        expected = 100 * sum(judges.FBertScorer(minilm, layer).score(TRANSLATIONS, REFERENCES).f_bert) / 3
        assert scores[name] == pytest.approx(expected, abs=1e-4)
    assert scores["moverscore_mpnet"] == pytest.approx(scores["moverscore"], abs=1e-4)
    assert sentences.keys() == {"f_bert", "f_bert_e5"} and sentences["f_bert"][2] == 100
    assert sentences["f_bert"] == pytest.approx(run.sentences["f_bert"], abs=0.006) and parts == {}


def test_parts_are_scored_apart(judges, files, minilm, monkeypatch, tmp_path):
    """Each as if it were alone; the whole has their mean."""
    monkeypatch.setattr(judges, "E5_LAYER", 6)
    own = judges.Judges(minilm, minilm)
    whole = own.judge(*files, judges.Judgement({}, {}), {"first": 2, "second": 1})
    assert list(whole.parts) == ["first", "second"]
    for part, lines in (("first", slice(2)), ("second", slice(2, 3))):
        paths = tmp_path / f"{part}.reference", tmp_path / f"{part}.translated"
        for path, text in zip(paths, (REFERENCES, TRANSLATIONS), strict=True):
            path.write_text("".join(f"{line}\n" for line in text[lines]), encoding="utf-8")
        alone = own.judge(*paths, judges.Judgement({}, {}), {part: len(REFERENCES[lines])})
        assert whole.parts[part] == pytest.approx(alone.scores, abs=1e-4)
        assert whole.sentences["f_bert"][lines] == pytest.approx(alone.sentences["f_bert"], abs=0.011)
    for name, score in whole.scores.items():
        assert score == pytest.approx(sum(part[name] for part in whole.parts.values()) / 2)


def test_what_is_known_is_not_asked_again(judges, files, minilm, monkeypatch):
    """The judge that was added is, and without it nothing is missing."""
    monkeypatch.setattr(judges, "E5_LAYER", 6)
    monkeypatch.setattr(judges, "MPNET_LAYER", 2)
    known = judges.Judgement({"f_bert": 1.0, "f_bert_e5": 2.0}, {"f_bert": [1.0], "f_bert_e5": [2.0]})
    added = judges.Judges(minilm, minilm, minilm)
    assert judges.Judges(minilm, minilm).have_judged(known) and not added.have_judged(known)
    scores, sentences, _ = added.judge(*files, known, {"all": 3})
    assert scores.keys() == {"f_bert", "f_bert_e5", "f_bert_mpnet", "moverscore_mpnet"} and sentences == known.sentences
    assert (scores["f_bert"], scores["f_bert_e5"]) == (1.0, 2.0)
    assert added.have_judged(judges.Judgement(scores, sentences))


def test_a_folder_that_is_not_there(judges, tmp_path):
    with pytest.raises(ValueError, match="there is no folder .*nowhere, which --mpnet names"):
        judges.Judges("", tmp_path, tmp_path / "nowhere").check()


def test_layers_are_bert_scores(judges):
    from bert_score.utils import model2layers

    assert (judges.E5_LAYER, judges.MPNET_LAYER) == (
        model2layers["xlm-roberta-base"],
        model2layers["microsoft/mpnet-base"],
    )
