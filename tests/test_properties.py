"""What holds of the loss for any logits, lengths, padding and weights."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_loss import BOS, EOS, PAD, make_loss

from fairseq_bertloss.choices import SOFT_PREDICTIONS
from fairseq_bertloss.loss.matching import Comparison, Side, greedy_match
from fairseq_bertloss.loss.soft_predictions import soft_prediction

LONGEST = 60
SCALES = st.sampled_from([0.0, 1e-3, 1.0, 30.0, 1e4])
"""Scales of logits: all equal, flat, like a model's, peaked, extreme."""


@st.composite
def targets(draw, vocabulary: int) -> torch.Tensor:
    """(batch, length), each row padded on either side."""
    lengths = draw(st.lists(st.integers(1, LONGEST), min_size=1, max_size=4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    width = max(lengths) + draw(st.integers(0, 5))
    target = torch.full((len(lengths), width), PAD)
    for row, length in zip(target, lengths, strict=True):
        start = width - length if draw(st.booleans()) else 0
        row[start : start + length - 1] = torch.randint(4, vocabulary, (length - 1,), generator=generator)
        row[start + length - 1] = EOS
    return target


def logits_for(target: torch.Tensor, vocabulary: int, scale: float, masked: bool, seed: int) -> torch.Tensor:
    """(*target.shape, vocabulary); with `masked` a third of the symbols is ruled out, the same everywhere."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(*target.shape, vocabulary, generator=generator)
    if masked:
        logits[..., torch.rand(vocabulary, generator=generator) < 1 / 3] = -torch.inf
        logits[..., EOS] = 0.0  # at least one is possible
    return logits.requires_grad_()


@pytest.fixture(scope="module")
def losses(tiny_lm, tmp_path_factory):
    """Losses of each kind of soft prediction, without weights and with idf."""
    references = tmp_path_factory.mktemp("idf") / "references"
    references.write_text("two men are sitting on a house\na dog\n", encoding="utf-8")
    return {
        (kind, idf): make_loss(tiny_lm("bert"), soft_prediction=kind, idf_references=str(references) if idf else None)
        for kind in SOFT_PREDICTIONS
        for idf in (False, True)
    }


@settings(max_examples=60, deadline=None)
@given(data=st.data(), kind=st.sampled_from(SOFT_PREDICTIONS), idf=st.booleans(), scale=SCALES, masked=st.booleans())
def test_scores_and_gradients(losses, data, kind, idf, scale, masked):
    """F lies between -1 and 1 and its gradient is finite, with noise and without."""
    loss = losses[kind, idf].train(data.draw(st.booleans()))
    vocabulary = len(loss.embedding_table)
    target = data.draw(targets(vocabulary))
    logits = logits_for(target, vocabulary, scale, masked, seed=data.draw(st.integers(0, 10**6)))
    score = loss(logits, target)
    for part in score:
        assert part.isfinite().all() and (part.abs() <= 1 + 1e-6).all()
    (gradient,) = torch.autograd.grad(loss.objective(score).sum(), logits)
    assert gradient.isfinite().all()
    assert (gradient[target == PAD] == 0).all()
    assert (gradient[logits == -torch.inf] == 0).all()


@settings(max_examples=60, deadline=None)
@given(data=st.data(), kind=st.sampled_from(SOFT_PREDICTIONS), idf=st.booleans())
def test_predictions_of_the_reference_itself_score_one(losses, data, kind, idf):
    loss = losses[kind, idf].eval()
    vocabulary = len(loss.embedding_table)
    target = data.draw(targets(vocabulary))
    logits = 1e4 * torch.nn.functional.one_hot(target, vocabulary).float()
    score = loss(logits, target)
    # With idf a sentence whose symbols all weigh 0, as [SEP] alone does, scores 0.
    weights = torch.ones(vocabulary) if loss.idf is None else loss.idf
    expected = (weights[target].masked_fill(target == PAD, 0).sum(dim=1) > 0).float()
    for part in score:
        torch.testing.assert_close(part, expected, rtol=0, atol=1e-5)
    for part, its_own in zip(score, loss.score_ids(target, target), strict=True):
        torch.testing.assert_close(part, its_own, rtol=0, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), idf=st.booleans())
def test_exchanged_sides_exchange_precision_and_recall(losses, data, idf):
    loss = losses["softmax", idf]
    one, other = (data.draw(targets(len(loss.embedding_table))) for _ in range(2))
    one, other = one[: len(other)], other[: len(one)]
    score, exchanged = loss.score_ids(one, other), loss.score_ids(other, one)
    for part, its_own in zip(score, (exchanged.recall, exchanged.precision, exchanged.f1), strict=True):
        torch.testing.assert_close(part, its_own, rtol=0, atol=1e-5)


@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from(SOFT_PREDICTIONS),
    temperature=st.sampled_from([0.01, 0.1, 1.0, 10.0]),
    hard=st.booleans(),
    scale=SCALES,
    masked=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_soft_predictions_lie_on_the_simplex(kind, temperature, hard, scale, masked, seed):
    logits = logits_for(torch.full((2, 5), BOS), 90, scale, masked, seed)
    p = soft_prediction(logits, kind, temperature, gumbel_hard=hard and kind == "gumbel_softmax")
    assert (p >= 0).all() and (p[logits == -torch.inf] == 0).all()
    torch.testing.assert_close(p.sum(dim=-1), torch.ones(2, 5), rtol=0, atol=1e-5)


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    k=st.integers(1, LONGEST),
    l=st.integers(1, LONGEST),
    scale=st.sampled_from([1e-20, 1.0, 1e15]),
)
def test_matching_any_embeddings(seed, k, l, scale):
    generator = torch.Generator().manual_seed(seed)
    embeddings = [scale * torch.randn(2, n, 3, generator=generator) for n in (k, l)]
    weights = [torch.rand(2, n, generator=generator) * (torch.rand(2, n, generator=generator) < 0.7) for n in (k, l)]
    masks = [torch.arange(n).expand(2, n) <= torch.tensor([[n - 1], [n // 2]]) for n in (k, l)]
    predicted, reference = map(Side, embeddings, weights, masks)
    for part in greedy_match(Comparison.of(predicted, reference)):
        assert part.isfinite().all() and (part.abs() <= 1 + 1e-6).all()
