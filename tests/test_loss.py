"""The whole line without fairseq: against bert-score, by identity, by gradient."""

import random

import bert_score
import lms
import pytest
import torch
from fairseq.data import Dictionary
from transformers import AutoTokenizer

from fairseq_bertloss import BERTScoreLoss
from fairseq_bertloss.choices import END_OF_SENTENCE, SOFT_PREDICTIONS
from fairseq_bertloss.language_model.tokenization import tokenize
from fairseq_bertloss.language_model.vocabulary import Specials, dictionary_symbols, load_tokenizer

BOS, PAD, EOS, UNK = range(4)


def symbols_of(lm: str) -> list[str]:
    """The four specials and the whole vocabulary, shuffled: no order may matter."""
    pieces = dictionary_symbols(load_tokenizer(lm))
    random.Random(1).shuffle(pieces)
    return [*Specials(), *pieces, "madeupword0000"]


def encode(lm: str, symbols: list[str], sentences: list[str], left_pad: bool = False) -> torch.Tensor:
    """(sentences, length) indices with </s> and padding."""
    index = {symbol: i for i, symbol in enumerate(symbols)}
    rows = [[index.get(piece, UNK) for piece in pieces] + [EOS] for pieces in tokenize(load_tokenizer(lm), sentences)]
    longest = max(map(len, rows))
    padding = [[PAD] * (longest - len(row)) for row in rows]
    return torch.tensor([pad + row if left_pad else row + pad for row, pad in zip(rows, padding, strict=True)])


def make_loss(lm: str, layer: int = 2, **options) -> BERTScoreLoss:
    return BERTScoreLoss.from_pretrained(lm, symbols_of(lm), layer, **options)


def random_batch(loss, lengths, seed=0, dtype=torch.float32):
    """Logits that lean towards their target, and right-padded targets of the given lengths (</s> included)."""
    generator = torch.Generator().manual_seed(seed)
    vocabulary = len(loss.embedding_table)
    target = torch.full((len(lengths), max(lengths)), PAD)
    for row, length in zip(target, lengths, strict=True):
        row[: length - 1] = torch.randint(4, vocabulary - 1, (length - 1,), generator=generator)
        row[length - 1] = EOS
    logits = torch.randn(*target.shape, vocabulary, generator=generator)
    logits += 3 * torch.nn.functional.one_hot(target, vocabulary)
    return logits.to(dtype).requires_grad_(), target


def assert_scores(score, expected, atol=1e-5):
    for part, value in zip(score, expected, strict=True):
        torch.testing.assert_close(part, value, atol=atol, rtol=0)


# Oracle: the bert-score package.


@pytest.mark.parametrize("family", lms.FAMILIES)
@pytest.mark.parametrize("idf", [False, True])
@pytest.mark.parametrize("rescaled", [False, True])
def test_hard_predictions_score_as_bert_score_does(family, idf, rescaled, tiny_lm, tmp_path):
    lm = tiny_lm(family)
    hypotheses, references = lms.TEXT, lms.TEXT[2:] + lms.TEXT[:2]
    (tmp_path / "references").write_text("\n".join(references))
    (tmp_path / "baseline.tsv").write_text("LAYER,P,R,F\n0,0.1,0.1,0.1\n1,0.2,0.2,0.2\n2,0.3,0.4,0.35\n")
    loss = make_loss(
        lm,
        end_of_sentence="gold",
        idf_references=str(tmp_path / "references") if idf else None,
        rescale_with_baseline=rescaled,
        baseline_path=str(tmp_path / "baseline.tsv"),
    )
    score = loss.score_ids(encode(lm, symbols_of(lm), hypotheses), encode(lm, symbols_of(lm), references))
    # One pair at a time: bert-score's own figures for DeBERTa-v2 depend on the padding of a batch.
    expected = bert_score.score(
        hypotheses,
        references,
        model_type=lm,
        num_layers=2,
        idf=idf,
        nthreads=0,
        batch_size=1,
        lang="en",
        rescale_with_baseline=rescaled,
        baseline_path=str(tmp_path / "baseline.tsv"),
    )
    assert_scores(score, expected)
    assert score.f1.std() > 1e-3, "all alike: nothing was compared"


@pytest.mark.parametrize("idf", [False, True])
def test_200_real_pairs_score_as_bert_score_does(idf, minilm, real_pairs, tmp_path):
    hypotheses, references = real_pairs
    assert len(hypotheses) == 200
    (tmp_path / "references").write_text("\n".join(references))
    loss = make_loss(minilm, 5, end_of_sentence="gold", idf_references=str(tmp_path / "references") if idf else None)
    symbols = symbols_of(minilm)
    score = loss.score_ids(encode(minilm, symbols, hypotheses), encode(minilm, symbols, references))
    assert_scores(score, bert_score.score(hypotheses, references, model_type=minilm, num_layers=5, idf=idf, nthreads=0))


@pytest.mark.parametrize("idf", [False, True])
@pytest.mark.parametrize("end_of_sentence", END_OF_SENTENCE)
@pytest.mark.parametrize("kind", SOFT_PREDICTIONS)
def test_one_hot_soft_predictions_equal_hard_ones(kind, end_of_sentence, idf, tiny_lm, tmp_path):
    lm = tiny_lm("bert")
    (tmp_path / "references").write_text("\n".join(lms.TEXT))
    loss = make_loss(
        lm,
        soft_prediction=kind,
        temperature=1.0,
        end_of_sentence=end_of_sentence,
        idf_references=str(tmp_path / "references") if idf else None,
    )
    logits, target = random_batch(loss, [6, 3, 1])
    hypothesis = logits.argmax(-1).masked_fill(target == PAD, PAD)
    hypothesis[target == EOS] = EOS
    certain = torch.where(torch.nn.functional.one_hot(hypothesis, logits.size(-1)).bool(), 0.0, -torch.inf)
    assert_scores(loss(certain, target), loss.score_ids(hypothesis, target), atol=1e-6)


# Identity.


@pytest.mark.parametrize("family", lms.FAMILIES)
@pytest.mark.parametrize("kind", ["softmax", "sparsemax", "entmax15"])
def test_a_batch_equals_its_sentences_alone(family, kind, tiny_lm):
    loss = make_loss(tiny_lm(family), soft_prediction=kind)
    lengths = [9, 1, 4, 2, 30]
    logits, target = random_batch(loss, lengths)
    score = loss(logits, target)
    for i, length in enumerate(lengths):
        alone = loss(logits[i : i + 1, :length], target[i : i + 1, :length])
        assert_scores(alone, [part[i : i + 1] for part in score], atol=1e-6)


def test_padding_on_the_left_or_right_is_the_same(tiny_lm):
    loss = make_loss(tiny_lm("roberta"), soft_prediction="softmax")
    lengths = [9, 1, 4]
    logits, target = random_batch(loss, lengths)
    left, left_target = torch.randn_like(logits), torch.full_like(target, PAD)
    for i, length in enumerate(lengths):
        left[i, -length:], left_target[i, -length:] = logits[i, :length], target[i, :length]
    assert_scores(loss(left, left_target), loss(logits, target), atol=1e-6)
    assert_scores(loss.score_ids(left_target, target), loss.score_ids(target, target), atol=1e-6)


def test_padding_beyond_the_language_models_positions(tiny_lm):
    loss = make_loss(tiny_lm("roberta"), soft_prediction="softmax")
    logits, target = random_batch(loss, [9, 4])
    wide, wide_target = (
        torch.nn.functional.pad(logits, (0, 0, 0, 200)),
        torch.nn.functional.pad(target, (0, 200), value=PAD),
    )
    assert_scores(loss(wide, wide_target), loss(logits, target), atol=1e-6)


def test_padding_symbols_stand_for_the_unknown_token(tiny_lm):
    loss = make_loss(tiny_lm("bert"))
    assert torch.equal(loss.embedding_table[-1], loss.embedding_table[UNK])


def test_a_fairseq_dictionary_serves_as_symbols(tiny_lm):
    lm = tiny_lm("bert")
    dictionary = Dictionary()
    for symbol in dictionary_symbols(load_tokenizer(lm)):
        dictionary.add_symbol(symbol)
    dictionary.finalize(padding_factor=8)
    loss = BERTScoreLoss.from_pretrained(lm, dictionary, 2)
    ids = AutoTokenizer.from_pretrained(lm)("two men", return_tensors="pt")["input_ids"][0]
    target = dictionary.encode_line("two men", add_if_not_exist=False).long()
    table = loss.language_model.embedding_table
    assert torch.equal(loss.embedding_table[target], table[ids[1:]])
    assert torch.equal(loss.embedding_table[dictionary.bos()], table[ids[0]])


def test_specials_of_another_spelling(tiny_lm):
    lm = tiny_lm("bert")
    pieces = dictionary_symbols(load_tokenizer(lm))
    specials = Specials("BOS", "PAD", "EOS", "UNK")
    own, usual = (BERTScoreLoss.from_pretrained(lm, [*s, *pieces], 2, specials=s) for s in (specials, Specials()))
    assert torch.equal(own.embedding_table, usual.embedding_table)
    with pytest.raises(ValueError, match="bos='<s>'.*name all four"):
        BERTScoreLoss.from_pretrained(lm, [*specials, *pieces], 2)


# What end_of_sentence says.


def test_end_of_sentence(tiny_lm):
    """'gold' does not look at the soft </s>; 'context' only lets its neighbours feel it; 'scored' counts it too."""
    lm = tiny_lm("bert")
    losses = {mode: make_loss(lm, soft_prediction="softmax", end_of_sentence=mode) for mode in END_OF_SENTENCE}
    logits, target = random_batch(losses["gold"], [5])
    for mode, loss in losses.items():
        (gradient,) = torch.autograd.grad(loss(logits, target).f1.sum(), logits)
        assert (gradient[0, 4].abs().sum() > 0) == (mode != "gold")

    # With layer 0 there are no neighbours to feel it, and the score is the plain mean over positions.
    flat = {mode: make_loss(lm, 0, soft_prediction="softmax", end_of_sentence=mode) for mode in END_OF_SENTENCE}
    wrong_end = logits.detach().clone()
    wrong_end[0, 4] = wrong_end[0, 3]
    loss_of_recall = {
        mode: (loss(logits, target).recall - loss(wrong_end, target).recall).item() for mode, loss in flat.items()
    }
    assert loss_of_recall["gold"] == 0 and abs(loss_of_recall["context"]) < 1e-6
    assert loss_of_recall["scored"] > 1e-3


def test_an_empty_reference(tiny_lm):
    """Scored, only the prediction of </s> is there to compare; otherwise nothing is, which is 0 as in bert-score."""
    for mode in END_OF_SENTENCE:
        loss = make_loss(tiny_lm("bert"), end_of_sentence=mode)
        logits, target = random_batch(loss, [1, 3])
        score = loss(logits, target)
        assert (score.f1[0] != 0) == (mode == "scored")
        score.f1.sum().backward()
        assert logits.grad.isfinite().all()


# Gradient.


@pytest.mark.parametrize("family", lms.FAMILIES)
def test_gradient_through_the_whole_line(family, tiny_lm):
    loss = make_loss(tiny_lm(family), soft_prediction="softmax").double()
    generator = torch.Generator().manual_seed(3)
    target = torch.tensor([[4, 5, EOS], [6, EOS, PAD]])
    basis = torch.randn(3, len(loss.embedding_table), generator=generator, dtype=torch.float64)
    features = torch.randn(2, 3, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    # DeBERTa computes its layer norms in float32, whose rounding a small step would magnify.
    precision = dict(eps=1e-3, atol=1e-3) if family == "deberta" else {}
    assert torch.autograd.gradcheck(lambda x: loss.objective(loss(x @ basis, target)), features, **precision)
    loss.matching = "one-to-one"
    assert torch.autograd.gradcheck(lambda x: loss.objective(loss(x @ basis, target)), features, **precision)


@pytest.mark.parametrize("kind", SOFT_PREDICTIONS)
@pytest.mark.parametrize("score", ["f1", "precision", "recall"])
def test_descending_the_gradient_raises_the_score(kind, score, tiny_lm):
    loss = make_loss(tiny_lm("bert"), soft_prediction=kind, temperature=1.0, score=score).eval()
    logits, target = random_batch(loss, [6, 4])
    before = loss.objective(loss(logits, target))
    (gradient,) = torch.autograd.grad(before.sum(), logits)
    after = loss.objective(loss(logits - 0.1 * gradient / gradient.norm(), target))
    assert after.sum() < before.sum()
    assert torch.equal(before, -getattr(loss(logits, target), score))


@pytest.mark.parametrize("kind", SOFT_PREDICTIONS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_masked_logits(kind, dtype, tiny_lm):
    loss = make_loss(tiny_lm("bert"), soft_prediction=kind)
    logits, target = random_batch(loss, [6, 4], dtype=dtype)
    with torch.no_grad():
        logits[..., 50:60] = -torch.inf
    score = loss(logits, target)
    score.f1.sum().backward()
    assert score.f1.dtype == torch.float32 and score.f1.isfinite().all()
    assert logits.grad.isfinite().all() and (logits.grad != 0).any()


# The module.


def test_the_language_model_stays_out_of_the_module(tiny_lm):
    loss = make_loss(tiny_lm("bert"))
    assert list(loss.parameters()) == [] and loss.state_dict() == {}
    loss.train()
    logits, target = random_batch(loss, [6])
    first = loss.score_ids(target, target)
    assert torch.equal(first.f1, loss.score_ids(target, target).f1), "the language model is in train mode"
    loss(logits, target).f1.sum().backward()
    assert loss.language_model.embedding_table.grad is None and loss.embedding_table.grad is None


def test_precision_follows_the_module(tiny_lm):
    loss = make_loss(tiny_lm("bert"), soft_prediction="softmax")
    logits, target = random_batch(loss, [6, 5])
    expected = loss(logits, target)
    loss.bfloat16()
    assert loss.language_model.embedding_table.dtype == loss.embedding_table.dtype == torch.bfloat16
    assert_scores(loss(logits, target), expected, atol=0.02)


def test_idf_keeps_its_precision(tiny_lm, tmp_path):
    (tmp_path / "references").write_text("\n".join(lms.TEXT))
    loss = make_loss(tiny_lm("bert"), idf_references=str(tmp_path / "references"))
    idf = loss.idf.clone()
    assert torch.equal(loss.bfloat16().idf, idf) and idf.dtype == torch.float32


def test_noise_in_training_only(tiny_lm):
    loss = make_loss(tiny_lm("bert"))
    logits, target = random_batch(loss, [6])
    assert not torch.equal(loss(logits, target).f1, loss(logits, target).f1)
    loss.eval()
    assert torch.equal(loss(logits, target).f1, loss(logits, target).f1)


def test_identical_ids_score_one(tiny_lm):
    loss = make_loss(tiny_lm("electra"))
    _, target = random_batch(loss, [6, 2])
    assert_scores(loss.score_ids(target, target), [torch.ones(2)] * 3, atol=1e-6)


def test_hypotheses_of_one_reference_read_it_once(tiny_lm, monkeypatch):
    loss = make_loss(tiny_lm("bert"), end_of_sentence="gold")
    _, target = random_batch(loss, [9, 3, 5])
    _, hypothesis = random_batch(loss, [4, 9, 2, 7, 3], seed=1)
    reference_index = [2, 0, 0, 1, 2]
    expected = loss.score_ids(hypothesis, target[reference_index])
    reads, read = type(loss.language_model).__call__, []
    monkeypatch.setattr(
        type(loss.language_model), "__call__", lambda *arguments: read.append(len(arguments[2])) or reads(*arguments)
    )
    assert_scores(loss.score_ids(hypothesis, target, reference_index), expected, atol=1e-6)
    assert sum(read) == len(hypothesis) + len(target)
    with pytest.raises(ValueError, match="5 sentences cannot be scored against 3 references"):
        loss.score_ids(hypothesis, target)


def test_bad_input(tiny_lm):
    lm = tiny_lm("bert")
    loss = make_loss(lm)
    logits, target = random_batch(loss, [6, 2])
    for score in (loss, loss.score_predictions):
        with pytest.raises(ValueError, match="disagree"):
            score(logits[:, :3], target)
        with pytest.raises(ValueError, match="the predictions have 9 symbols, the dictionary has"):
            score(logits[..., :9], target)
    for bad in ([5, 6], [5, PAD, EOS], [PAD, PAD], [EOS, 5]):
        with pytest.raises(ValueError, match="must end with </s>"):
            loss.score_ids(torch.tensor([bad]), torch.tensor([[5, EOS]]))
    long = torch.tensor([[5] * 99 + [EOS]])
    assert loss.max_target_length == 99
    with pytest.raises(ValueError, match="100 symbols is longer than the 99"):
        loss.score_ids(long, long)
    for option in ("soft_prediction", "score", "matching", "end_of_sentence"):
        with pytest.raises(ValueError, match=f"unknown {option} 'x'"):
            make_loss(lm, **{option: "x"})
    with pytest.raises(ValueError, match="2 of the target dictionary's 7 symbols .* 'hund', 'katze'"):
        BERTScoreLoss.from_pretrained(lm, [*Specials(), "hund", "katze", "a"], 2)
