"""benchmarks/differences.py: the published loss less its deviations is ours, and what each of them does."""

from dataclasses import asdict

import pytest
import torch
from conftest import import_benchmark
from prepared import PAIRS

from fairseq_bertloss.language_model.vocabulary import load_tokenizer
from fairseq_bertloss.loss.bertscore_loss import BERTScoreLoss
from fairseq_bertloss.loss.soft_predictions import soft_prediction

SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]
PAD, EOS = 1, 2


@pytest.fixture(scope="module")
def differences():
    """The benchmark as a module."""
    return import_benchmark("differences")


@pytest.fixture(scope="module")
def batch(minilm):
    """Loss, logits and padded targets of real sentences of several lengths."""
    pieces = [load_tokenizer(minilm).tokenize(english) for _, english in PAIRS[:5]]
    symbols = [*SPECIALS, *dict.fromkeys(piece for sentence in pieces for piece in sentence)]
    target = torch.full((len(pieces), max(map(len, pieces)) + 1), PAD)
    for row, sentence in zip(target, pieces, strict=True):
        row[: len(sentence) + 1] = torch.tensor([*map(symbols.index, sentence), EOS])
    assert (target == PAD).any()
    torch.manual_seed(0)
    logits = torch.randn(*target.shape, len(symbols))
    logits += 4 * torch.nn.functional.one_hot(target, len(symbols))
    return BERTScoreLoss.from_pretrained(minilm, symbols, layer=5, soft_prediction="softmax"), logits, target


@pytest.fixture(scope="module")
def rows(differences, batch, minilm):
    """A function from deviations to F and gradient of the published loss."""
    bertscore, logits, target = batch
    published = differences.PublishedLoss(bertscore, load_tokenizer(minilm).convert_tokens_to_ids("[unused1]"))

    def measure(**switched_on):
        deviations = differences.Deviations(**switched_on)
        loss = differences.Loss(lambda soft, target: published.f1(soft, target, deviations))
        return differences.gradient(bertscore, loss, logits, target, batch=0)

    return measure


def ours(differences, bertscore, logits, target):
    loss = differences.Loss(lambda soft, target: bertscore.score_predictions(soft, target).f1)
    return differences.gradient(bertscore, loss, logits, target, batch=0)


def test_published_loss_without_its_deviations_is_ours(differences, batch, rows):
    assert not any(asdict(differences.Deviations()).values())
    f1, gradient = rows()
    expected, expected_gradient = ours(differences, *batch)
    torch.testing.assert_close(f1, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-8)


def test_padding_counts_as_positions_that_match_nothing(batch, rows):
    target = batch[2]
    share = target.ne(PAD).sum(dim=1) / target.size(1)
    f1, gradient = rows()
    counted, counted_gradient = rows(padding=True)
    torch.testing.assert_close(counted, f1 * share, rtol=0, atol=1e-6)
    torch.testing.assert_close(counted_gradient, gradient * share[:, None, None], rtol=1e-4, atol=1e-8)
    assert counted_gradient[target == PAD].abs().max() == 0


def test_end_marker_takes_the_place_of_sep(differences, batch, rows, minilm):
    bertscore, logits, target = batch
    f1, gradient = rows(end=True)
    before = bertscore.embedding_table[EOS].clone()
    marker = load_tokenizer(minilm).convert_tokens_to_ids("[unused1]")
    try:
        bertscore.embedding_table[EOS] = bertscore.language_model.embedding_table[marker]
        expected, expected_gradient = ours(differences, bertscore, logits, target)
    finally:
        bertscore.embedding_table[EOS] = before
    torch.testing.assert_close(f1, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-8)
    assert (f1 - rows()[0]).abs().min() > 1e-4


def test_without_cls_the_first_word_stands_first(batch, rows):
    bertscore, logits, target = batch
    f1, _ = rows(start=True)
    alone = target[:1, : int(target[0].ne(PAD).sum())]
    soft = logits[:1, : alone.size(1)].softmax(dim=-1)
    mask = torch.ones_like(alone, dtype=torch.bool)
    predicted, reference = (
        torch.nn.functional.normalize(bertscore.language_model(embeddings, mask), dim=-1)[0]
        for embeddings in (soft @ bertscore.embedding_table, bertscore.embedding_table[alone])
    )
    cosine = predicted @ reference.T
    precision, recall = cosine.amax(dim=1).mean(), cosine.amax(dim=0).mean()
    torch.testing.assert_close(f1[0], 2 * precision * recall / (precision + recall), rtol=0, atol=1e-5)


def test_rows_divide_by_sentences_or_tokens(differences, batch):
    bertscore, _, target = batch
    rows = differences.losses(bertscore, end_marker_id=2)
    tokens = int(target.ne(PAD).sum())
    counts = {name: loss.count(target) for name, loss in rows.items()}
    assert {name for name, count in counts.items() if count == tokens} == {"divided by tokens", "all of it"}
    assert {count for count in counts.values() if count != tokens} == {len(target)}


@pytest.mark.parametrize("kind", ["softmax", "sparsemax", "gumbel_softmax"])
def test_soft_predictions_of_log_probabilities_are_those_of_logits(batch, kind):
    logits = batch[1]
    temperature = 0.1 if kind == "gumbel_softmax" else 1.0
    soft = []
    for scores in (logits, logits.log_softmax(dim=-1)):
        torch.manual_seed(1)
        soft.append(soft_prediction(scores, kind, temperature))
    torch.testing.assert_close(*soft, rtol=0, atol=1e-5)


def test_sentence_weights_of_three_batches(differences):
    lengths = [[2, 4], [8], [6]]
    targets = [torch.tensor([[5] * (n - 1) + [EOS] + [PAD] * (max(batch) - n) for n in batch]) for batch in lengths]
    # Here 1/2, 1/2, 1, 1; by tokens 1/6, 1/6, 1/6, 1/8; with padding counted 1/12, 1/6, 1/6, 1/8.
    assert differences.sentence_weights(targets, pad=PAD) == [
        "| shortest | 2.0 | 0.67 | 1.07 | 0.62 |",
        "| second | 4.0 | 0.67 | 1.07 | 1.23 |",
        "| third | 6.0 | 1.33 | 1.07 | 1.23 |",
        "| longest | 8.0 | 1.33 | 0.80 | 0.92 |",
    ]
