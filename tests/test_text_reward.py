"""BERTScore of texts as a reward, beside FBertScorer."""

import pytest
import torch
from lms import FAMILIES, make_tokenizer, save_tiny

from fairseq_bertloss import TextReward
from fairseq_bertloss.evaluation.f_bert import FBertScorer
from fairseq_bertloss.language_model import tokenization
from fairseq_bertloss.loss import text_reward

EXACT = dict(rtol=0, atol=1e-5)
HYPOTHESES = [
    "The man is wearing glasses.",
    "A dog, white and black: running in the garden!",
    "",
    "Two men stand on the house.",
    "[SEP] </s> a hat </s>",
    "A " + "black and white " * 100 + "dog",
]
REFERENCES = [
    "The man with pierced ears is wearing glasses and an orange hat.",
    "A black and white dog is running in a grassy garden.",
    "A girl breaks a stick.",
    " ",
    "an orange hat",
    "A dog in a garden, " + "surrounded by a fence " * 100,
]


@pytest.fixture(scope="module")
def reward(tiny_lm):
    return TextReward(tiny_lm("bert"), 2)


@pytest.mark.parametrize("family", FAMILIES)
def test_f_is_f_bert(family, tiny_lm):
    """Of empty texts, of text that spells markers, and of texts that are too long, too."""
    lm = tiny_lm(family)
    expected = FBertScorer(lm, 2, "cpu").score(HYPOTHESES, REFERENCES)
    scores = TextReward(lm, 2)(HYPOTHESES, REFERENCES).reported
    for score, known in zip(scores, expected, strict=True):
        torch.testing.assert_close(score, torch.tensor(known), **EXACT)
    assert scores.f1[2:4].tolist() == [0.0, 0.0]


def test_f_of_real_text_is_f_bert(minilm, real_pairs):
    pairs = [side[80:120] for side in real_pairs]
    expected = torch.tensor(FBertScorer(minilm, 5, "cpu").score(*pairs).f_bert)
    torch.testing.assert_close(TextReward(minilm, 5)(*pairs).reported.f1, expected, **EXACT)
    assert expected.std() > 0.1


def test_relative_positions_have_no_end(tmp_path):
    """A text may be longer than the configuration's positions, where the model has no table of them."""
    tokenizer = make_tokenizer("deberta-v2")
    tokenizer.model_max_length = 10**30
    lm = save_tiny("deberta-v2", str(tmp_path), tokenizer, position_biased_input=False, max_position_embeddings=20)
    expected = FBertScorer(lm, 2, "cpu").score(HYPOTHESES, REFERENCES).f_bert
    torch.testing.assert_close(TextReward(lm, 2)(HYPOTHESES, REFERENCES).reported.f1, torch.tensor(expected), **EXACT)


def test_each_hypothesis_against_the_reference_named(reward):
    named = [1, 0, 1, 1]
    scores = reward(HYPOTHESES[:4], REFERENCES[:2], named)
    expected = reward(HYPOTHESES[:4], [REFERENCES[i] for i in named])
    torch.testing.assert_close(scores.rewarded.f1, expected.rewarded.f1)


def test_one_to_one_does_not_pay_twice(tiny_lm):
    lm = tiny_lm("bert")
    said_once, said_again = ["the white dog"], ["the white dog the white dog"]
    reward = TextReward(lm, 2, matching="one-to-one", score="precision")
    once, again = reward(said_once, said_once), reward(said_again, said_once)
    assert reward.maximised(once.rewarded).item() == pytest.approx(1)
    assert reward.maximised(again.rewarded).item() < 0.6 < again.reported.precision.item()


def test_idf_and_rescaling_are_bert_scores(minilm, real_pairs, tmp_path, write):
    from bert_score.utils import bert_cos_score_idf, get_idf_dict
    from transformers import AutoModel, AutoTokenizer

    hypotheses, references = (side[:20] for side in real_pairs)
    file = write("references.txt", "\n".join(references))
    baseline = write("baseline.tsv", "LAYER,P,R,F\n5,0.2,0.3,0.25\n")
    reward = TextReward(minilm, 5, idf_references=file, rescale_with_baseline=True, baseline_path=baseline)
    scores = reward(hypotheses, references).reported

    tokenizer = AutoTokenizer.from_pretrained(minilm)
    model = AutoModel.from_pretrained(minilm)
    model.encoder.layer = model.encoder.layer[:5]
    idf = get_idf_dict(references, tokenizer, nthreads=0)
    idf[tokenizer.sep_token_id] = idf[tokenizer.cls_token_id] = 0
    raw = bert_cos_score_idf(model, references, hypotheses, tokenizer, idf, device="cpu")
    expected = (raw - torch.tensor([0.2, 0.3, 0.25])) / (1 - torch.tensor([0.2, 0.3, 0.25]))
    torch.testing.assert_close(torch.stack(scores, dim=1), expected, rtol=0, atol=1e-4)


def test_nothing_learns_and_nothing_is_saved(reward):
    assert list(reward.parameters()) == [] and reward.state_dict() == {}
    assert not reward(HYPOTHESES[:1], REFERENCES[:1]).rewarded.f1.requires_grad


def test_the_table_of_embeddings_is_the_language_models_own(tiny_lm):
    """In every precision: XLM-R's takes a gigabyte."""
    reward = TextReward(tiny_lm("xlm-roberta"), 2)
    for changed in (reward, reward.half(), reward.float(), reward.double()):
        assert changed.embedding_table.data_ptr() == changed.language_model.embedding_table.data_ptr()
    assert reward(HYPOTHESES[:2], REFERENCES[:2]).rewarded.f1.dtype == torch.float64


def test_text_that_comes_again_is_tokenised_once(tiny_lm, monkeypatch):
    read = []

    def counting(tokenizer, lines, max_length=None):
        read.extend(lines)
        return tokenization.encode(tokenizer, lines, max_length)

    monkeypatch.setattr(text_reward, "encode", counting)
    monkeypatch.setattr(text_reward, "REMEMBERED", 3)
    reward = TextReward(tiny_lm("bert"), 2)
    first = reward(["a dog", "a dog"], ["the dog"] * 2)
    again = reward(["a dog", "a dog"], ["the dog"] * 2)
    assert read == ["a dog", "the dog"] and torch.equal(first.rewarded.f1, again.rewarded.f1)
    reward(["one", "a dog"], ["two"] * 2)
    assert read == ["a dog", "the dog", "one", "two"]
    reward(["a dog"], ["the dog"])
    assert read == ["a dog", "the dog", "one", "two", "the dog"], "the last ones used stay"


@pytest.mark.parametrize(("arguments", "message"), [
    ((["a"], []), "1 hypotheses and 0 references"),
    (([], []), "no hypothesis"),
    ((["a", "b"], ["a"], [0]), "2 sentences cannot be scored against 1 references"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(reward, arguments, message):
    with pytest.raises(ValueError, match=message):
        reward(*arguments)


def test_unknown_choices_are_refused(tiny_lm):
    with pytest.raises(ValueError, match="unknown matching 'best': choose one of greedy, one-to-one"):
        TextReward(tiny_lm("bert"), 2, matching="best")
    with pytest.raises(ValueError, match="unknown score 'f2'"):
        TextReward(tiny_lm("bert"), 2, score="f2")
