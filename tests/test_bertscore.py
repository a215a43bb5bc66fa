"""Greedy matching against a loop, and the properties that BERTScore must have."""

import pytest
import torch
from bert_score.utils import greedy_cos_idf
from hypothesis import given, settings
from hypothesis import strategies as st

from fairseq_bertloss.loss.matching import BERTScore, Comparison, Side, greedy_match


def random_side(generator, batch, length, dim=6, padding=0):
    """Embeddings, weights and mask, (batch, length + padding, ...), with a padding of large numbers."""
    embeddings = torch.randn(batch, length + padding, dim, generator=generator, dtype=torch.float64)
    weights = torch.rand(batch, length + padding, generator=generator, dtype=torch.float64)
    mask = torch.ones(batch, length + padding, dtype=torch.bool)
    mask[:, length:] = False
    embeddings[:, length:] *= 1e3
    weights[:, length:] = 0
    return embeddings, weights, mask


def match(predicted, reference):
    return greedy_match(Comparison.of(Side(*predicted), Side(*reference)))


def match_by_loop(predicted, reference):
    scores = []
    for (p, wp, mp), (r, wr, mr) in zip(zip(*predicted, strict=True), zip(*reference, strict=True), strict=True):
        p, wp, r, wr = p[mp], wp[mp], r[mr], wr[mr]
        cosine = torch.tensor([[torch.cosine_similarity(x, y, dim=0) for y in r] for x in p], dtype=torch.float64)
        precision = sum(w * row.max() for w, row in zip(wp, cosine, strict=True)) / wp.sum()
        recall = sum(w * column.max() for w, column in zip(wr, cosine.T, strict=True)) / wr.sum()
        f1 = 2 * precision * recall / (precision + recall) if precision * recall > 0 else torch.tensor(0.0)
        scores.append(torch.stack([precision, recall, f1.double()]))
    return BERTScore(*torch.stack(scores).T)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 7), st.integers(1, 7), st.integers(0, 3), st.integers(0, 3))
def test_properties(seed, k, l, predicted_padding, reference_padding):
    generator = torch.Generator().manual_seed(seed)
    predicted = random_side(generator, 3, k, padding=predicted_padding)
    reference = random_side(generator, 3, l, padding=reference_padding)
    score = match(predicted, reference)
    torch.testing.assert_close(tuple(score), tuple(match_by_loop(predicted, reference)))

    unpadded = match([part[:, :k] for part in predicted], [part[:, :l] for part in reference])
    torch.testing.assert_close(tuple(score), tuple(unpadded))

    swapped = match(reference, predicted)
    torch.testing.assert_close(tuple(score), (swapped.recall, swapped.precision, swapped.f1))
    assert all((part.abs() <= 1).all() for part in score)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_identical_sides_score_one(dtype):
    embeddings, weights, mask = random_side(torch.Generator().manual_seed(0), 4, 9, padding=2)
    side = (embeddings.to(dtype), weights.to(dtype), mask)
    for part in match(side, side):
        assert part.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        torch.testing.assert_close(part, torch.ones_like(part), atol=1e-6, rtol=0)


def test_gradient():
    generator = torch.Generator().manual_seed(4)
    embeddings, weights, mask = random_side(generator, 2, 4, padding=1)
    reference = random_side(generator, 2, 3, padding=2)
    embeddings.requires_grad_()
    weights.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda e, w: match((e, w.masked_fill(~mask, 0), mask), reference), (embeddings, weights)
    )
    (gradient,) = torch.autograd.grad(match((embeddings, weights, mask), reference).f1.sum(), embeddings)
    assert (gradient[:, :4].abs().sum(-1) > 0).all() and (gradient[:, 4:] == 0).all()


def test_matching_keeps_its_precision_under_autocast():
    generator = torch.Generator().manual_seed(4)
    sides = [random_side(generator, 3, 5) for _ in range(2)]
    predicted, reference = [(embeddings.float(), weights.float(), mask) for embeddings, weights, mask in sides]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = match(predicted, reference)
    torch.testing.assert_close(tuple(under_autocast), tuple(match(predicted, reference)))


def test_no_weight_scores_zero_with_finite_gradient():
    generator = torch.Generator().manual_seed(4)
    embeddings, weights, mask = random_side(generator, 2, 4)
    embeddings.requires_grad_()
    score = match((embeddings, weights * 0, mask), random_side(generator, 2, 3))
    assert (score.precision == 0).all() and (score.f1 == 0).all()
    score.f1.sum().backward()
    assert (embeddings.grad == 0).all()


def test_a_position_without_weight_can_still_be_matched():
    predicted = (torch.eye(3).unsqueeze(0), torch.tensor([[1.0, 1.0, 0.0]]), torch.ones(1, 3, dtype=torch.bool))
    reference = (torch.eye(3)[None, 2:], torch.ones(1, 1), torch.ones(1, 1, dtype=torch.bool))
    assert match(predicted, reference).recall.item() == 1.0


def test_bert_score_lets_padding_beat_a_negative_cosine_and_we_do_not():
    """bert-score multiplies by the mask, so that a padded column offers a cosine of 0."""
    word, opposite = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[-1.0, 0.0], [5.0, 5.0]]])
    one, padded = torch.ones(1, 1), torch.tensor([[1.0, 0.0]])
    theirs, *_ = greedy_cos_idf(
        opposite.clone(), padded.clone(), padded.clone(), word.clone(), one.clone(), one.clone()
    )
    ours = match((word, one, one.bool()), (opposite, padded, padded.bool()))
    assert theirs.item() == 0.0
    assert ours.precision.item() == -1.0


def test_disagreeing_shapes():
    side = random_side(torch.Generator(), 2, 4)
    with pytest.raises(ValueError, match=r"reference embeddings \(2, 4, 6\), weights \(2, 3\)"):
        match(side, (side[0], side[1][:, :3], side[2]))


def test_rescaled():
    score = BERTScore(torch.tensor([0.9]), torch.tensor([0.8]), torch.tensor([0.85]))
    rescaled = score.rescaled((0.5, 0.6, 0.55))
    torch.testing.assert_close(torch.cat(rescaled), torch.tensor([0.8, 0.5, 2 / 3]))
