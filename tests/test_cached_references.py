"""Cached references: the same scores without reading them again, in the loss and in fairseq-train."""

import random

import pytest
import torch
from lms import TEXT

from fairseq_bertloss import BERTScoreLoss
from fairseq_bertloss.choices import END_OF_SENTENCE
from fairseq_bertloss.language_model.tokenization import tokenize
from fairseq_bertloss.language_model.vocabulary import Specials, dictionary_symbols, load_tokenizer

BOS, PAD, EOS, UNK = range(4)


class Counted:
    """A language model that remembers how many sentences it has read, and whether a gradient was wanted."""

    def __init__(self, language_model):
        self._language_model = language_model
        self.read = {True: 0, False: 0}

    def __getattr__(self, name):
        return getattr(self._language_model, name)

    def __call__(self, embeddings, mask):
        self.read[torch.is_grad_enabled()] += len(embeddings)
        return self._language_model(embeddings, mask)


@pytest.fixture
def batch(tiny_lm):
    """A function that makes a loss, and a batch for it: leaning logits and padded targets."""

    def make(left_pad=False, symbols_seed=0, **options):
        lm = tiny_lm("bert")
        pieces = dictionary_symbols(load_tokenizer(lm))
        random.Random(symbols_seed).shuffle(pieces)
        symbols = [*Specials(), *pieces]
        loss = BERTScoreLoss.from_pretrained(lm, symbols, 2, soft_prediction="sparsemax", **options)
        loss.language_model = Counted(loss.language_model)
        rows = [[*map(symbols.index, p), EOS] for p in tokenize(load_tokenizer(lm), TEXT)]
        target = torch.full((len(rows), max(map(len, rows)) + 1), PAD)
        for padded, row in zip(target, rows, strict=True):
            padded[slice(-len(row), None) if left_pad else slice(len(row))] = torch.tensor(row)
        torch.manual_seed(0)
        one_hot = torch.nn.functional.one_hot(target, len(symbols))
        logits = torch.randn(*target.shape, len(symbols)) + 3 * one_hot
        return loss, logits.requires_grad_(), target

    return make


def f1_and_gradient(loss, logits, target):
    score = loss(logits, target)
    return score.f1.detach(), torch.autograd.grad(score.f1.sum(), logits)[0]


@pytest.mark.parametrize("end_of_sentence", END_OF_SENTENCE)
@pytest.mark.parametrize("idf", [False, True])
def test_scores_as_without_a_cache(batch, end_of_sentence, idf, tmp_path):
    (tmp_path / "references").write_text("\n".join(TEXT))
    options = {"idf_references": str(tmp_path / "references")} if idf else {}
    loss, logits, target = batch(end_of_sentence=end_of_sentence, **options)
    f1, gradient = f1_and_gradient(loss, logits, target)
    loss.cache_references(str(tmp_path / "cache"), 10**9)
    first, first_gradient = f1_and_gradient(loss, logits, target)
    again, again_gradient = f1_and_gradient(loss, logits, target)
    assert torch.equal(first, again) and torch.equal(first_gradient, again_gradient)
    # float16 moves a cosine by less than 2^-10.
    torch.testing.assert_close(first, f1, rtol=0, atol=2**-10)
    torch.testing.assert_close(first_gradient, gradient, rtol=0, atol=2**-8 * float(gradient.abs().max()))
    assert not torch.equal(first, f1), "it did not go through float16"


def test_references_are_read_once(batch, tmp_path):
    loss, logits, target = batch()
    loss.cache_references(str(tmp_path), 10**9)
    for _ in range(3):
        loss(logits, target)
    distinct = len(target)
    assert loss.language_model.read == {False: distinct, True: 3 * distinct}


def test_another_run_reads_what_one_has_kept(batch, tmp_path):
    """In another order of symbols, padded on the other side: sentences are known by the language model's ids."""
    kept, logits, target = batch()
    kept.cache_references(str(tmp_path), 10**9)
    kept(logits, target)
    loss, logits, target = batch(left_pad=True, symbols_seed=1)
    loss.cache_references(str(tmp_path), 10**9)
    loss(logits, target)
    assert loss.language_model.read == {False: 0, True: len(target)}


def test_part_of_a_batch_may_be_there(batch, tmp_path):
    loss, logits, target = batch()
    whole = loss(logits, target)
    loss.cache_references(str(tmp_path), 10**9)
    loss(logits[1:3], target[1:3])
    for part, expected in zip(loss(logits, target), whole, strict=True):
        torch.testing.assert_close(part, expected, rtol=0, atol=2**-10)
    assert loss.language_model.read[False] == len(target) + len(target)  # once without the cache


def test_hard_predictions_are_scored_against_the_cache_too(batch, tmp_path):
    loss, _, target = batch()
    expected = loss.score_ids(target.flip(0), target)
    loss.cache_references(str(tmp_path), 10**9)
    for _ in range(2):
        torch.testing.assert_close(loss.score_ids(target.flip(0), target).f1, expected.f1, rtol=0, atol=2**-10)
        reference_index = [0, 0, 1]
        several = loss.score_ids(target[:3].flip(0), target, reference_index)
        torch.testing.assert_close(several.f1, loss.score_ids(target[:3].flip(0), target[reference_index]).f1)


def test_another_precision_has_a_cache_of_its_own(batch, tmp_path):
    for lm_dtype in (None, "float32", "bfloat16"):
        loss, logits, target = batch(lm_dtype=lm_dtype)
        loss.cache_references(str(tmp_path), 10**9)
        loss(logits, target)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("opened_first", [False, True], ids=["moved", "moved after the cache was opened"])
@pytest.mark.parametrize("lm_dtype", [None, "float32"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_a_loss_of_another_type(batch, tmp_path, dtype, lm_dtype, opened_first):
    loss, logits, target = batch(lm_dtype=lm_dtype)
    if opened_first:
        loss.cache_references(str(tmp_path), 10**9)
        loss(logits, target)
    loss.to(dtype)
    if not opened_first:
        loss.cache_references(str(tmp_path), 10**9)
    logits = logits.detach().to(dtype).requires_grad_()
    first, gradient = f1_and_gradient(loss, logits, target)
    again, _ = f1_and_gradient(loss, logits, target)
    reference_index = [1] * len(target)
    hard = loss.score_ids(target.flip(0), target, reference_index).f1
    loss.reference_caches = None
    exact, exact_gradient = f1_and_gradient(loss, logits, target)
    assert torch.equal(first, again) and first.dtype == exact.dtype
    torch.testing.assert_close(first, exact, rtol=0, atol=2**-10)
    if dtype == torch.float64:
        torch.testing.assert_close(gradient, exact_gradient, rtol=0, atol=2**-8 * float(exact_gradient.abs().max()))
    torch.testing.assert_close(hard, loss.score_ids(target.flip(0), target, reference_index).f1, rtol=0, atol=2**-10)


def test_weights_that_half_precision_has_rounded_have_a_cache_of_their_own(batch, tmp_path):
    loss, logits, target = batch()
    loss.cache_references(str(tmp_path), 10**9)
    loss(logits, target)
    loss.bfloat16().float()
    loss(logits, target)
    assert len(list(tmp_path.iterdir())) == 2


def test_training_and_validation_in_other_precisions_do_not_mix(batch, tmp_path):
    """Under --amp fairseq trains in autocast and validates without."""
    loss, logits, target = batch()
    with torch.autocast("cpu", torch.bfloat16):
        expected = loss(logits, target)
    loss.cache_references(str(tmp_path), 10**9)
    loss(logits, target)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(loss(logits, target).f1, expected.f1, rtol=0, atol=2**-10)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_language_model_of_its_own_precision_reads_exact_embeddings(batch):
    """Whatever the training rounds to."""
    loss, _, _ = batch(lm_dtype="float32")
    table = loss.embedding_table.clone()
    assert torch.equal(loss.half().float().embedding_table, table)
    usual, _, _ = batch()
    assert not torch.equal(usual.half().float().embedding_table, table)
