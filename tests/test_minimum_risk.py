"""Minimum risk in torch alone: its value, its gradient, the scales of rewards, unfinished candidates."""

import math

import pytest
import torch

from fairseq_bertloss import minimum_risk
from fairseq_bertloss.loss.minimum_risk import (
    SMALLEST_DEVIATION,
    SMALLEST_RANGE,
    candidate_weights,
    cross_entropy_of_best,
    scaled,
    without_unfinished,
)
from fairseq_bertloss.training.risk import risk_sums

LENGTHS = torch.tensor([[4, 1, 7], [2, 9, 0]])
MASK = LENGTHS > 0


def test_risk_and_its_gradient_by_hand():
    per_symbol = torch.tensor([[-1.0, -2.0, -0.5], [-3.0, -1.0, 0.0]], dtype=torch.float64)
    log_p = (per_symbol * LENGTHS).requires_grad_()
    f = torch.tensor([[0.9, 0.5, -0.2], [0.3, 0.8, 0.0]], dtype=torch.float64)
    unfinished = torch.tensor([[False, True, False], [True, False, True]])
    value = minimum_risk(log_p, LENGTHS, f, MASK, alpha=2.0)
    sums = risk_sums(candidate_weights(log_p, LENGTHS, MASK, 2.0), f, MASK, unfinished)
    expected, slopes = [], []
    for scores, goodness, lengths in zip(per_symbol.tolist(), f.tolist(), LENGTHS.tolist(), strict=True):
        weights = [math.exp(2.0 * score) if length else 0.0 for score, length in zip(scores, lengths, strict=True)]
        q = [weight / sum(weights) for weight in weights]
        mean = sum(p * good for p, good in zip(q, goodness, strict=True))
        expected.append(1 - mean)
        slopes.append([
            -2.0 * p * (good - mean) / length if length else 0.0
            for p, good, length in zip(q, goodness, lengths, strict=True)
        ])  # fmt: skip
    torch.testing.assert_close(value, torch.tensor(expected, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(value.sum(), log_p)
    torch.testing.assert_close(gradient, torch.tensor(slopes, dtype=torch.float64))
    assert sums["f_expected"].item() == pytest.approx(2 - sum(expected))
    assert sums["f_first"].item() == pytest.approx(1.2) and sums["f_best"].item() == pytest.approx(1.7)
    assert sums["candidates"].item() == 5 and sums["unfinished"].item() == 2


def test_gradcheck():
    log_p = -torch.rand(2, 3, dtype=torch.float64) * LENGTHS
    rewards = torch.rand(2, 3, dtype=torch.float64)
    for scale in ("none", "min-max", "std"):
        torch.autograd.gradcheck(
            lambda given, scale=scale: minimum_risk(given, LENGTHS, rewards, MASK, alpha=1.5, scale=scale),
            log_p.requires_grad_(),
        )


@pytest.mark.parametrize("scale", ["none", "min-max", "std"])
@pytest.mark.parametrize("padding", [0.0, -1e30, 7.0, math.nan, -math.inf])
def test_what_stands_where_no_candidate_is_does_not_matter(scale, padding):
    """Nor is a sentence without candidates NaN, which has no gradient."""
    log_p = torch.tensor([[-3.0, -1.0, padding], [padding] * 3], requires_grad=True)
    rewards = torch.tensor([[0.2, 0.9, padding], [padding] * 3])
    lengths = torch.tensor([[3, 2, 0], [0, 0, 0]])
    risk = minimum_risk(log_p, lengths, rewards, lengths > 0, scale=scale)
    alone = minimum_risk(log_p[:1, :2], lengths[:1, :2], rewards[:1, :2], lengths[:1, :2] > 0, scale=scale)
    torch.testing.assert_close(risk, torch.cat([alone, torch.ones(1)]))
    risk.sum().backward()
    assert (log_p.grad[lengths == 0] == 0).all() and (log_p.grad[lengths > 0] != 0).all()


def test_rewards_have_no_gradient():
    rewards = torch.rand(2, 3, requires_grad=True)
    risk = minimum_risk(torch.full((2, 3), -5.0, requires_grad=True), LENGTHS, rewards, MASK)
    risk.sum().backward()
    assert rewards.grad is None


@pytest.mark.parametrize("scale", ["none", "min-max", "std"])
def test_rewards_of_any_number_type(scale):
    log_p = torch.tensor([[-4.0, -2.0, -3.0], [-2.0, -5.0, 0.0]])
    counts = torch.tensor([[3, 1, 2], [0, 1, 0]])
    expected = minimum_risk(log_p, LENGTHS, counts.float(), MASK, scale=scale)
    torch.testing.assert_close(minimum_risk(log_p, LENGTHS, counts, MASK, scale=scale), expected)
    right = minimum_risk(log_p, LENGTHS, counts > 1, MASK, scale=scale)
    torch.testing.assert_close(right, minimum_risk(log_p, LENGTHS, (counts > 1).float(), MASK, scale=scale))


def test_bad_arguments():
    tensor = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"rewards \(6,\) .* must agree on \(sentences, candidates\)"):
        minimum_risk(tensor, LENGTHS, torch.zeros(6), MASK)
    with pytest.raises(ValueError, match="alpha must be above 0, not 0"):
        minimum_risk(tensor, LENGTHS, tensor, MASK, alpha=0)
    for wrong in (math.nan, math.inf):
        rewards = torch.tensor([[0.5, wrong, 0.1], [0.2, 0.3, wrong]])  # the last is where no candidate is
        with pytest.raises(ValueError, match="a candidate's reward must be a finite number: 1 of 5 is not"):
            minimum_risk(tensor, LENGTHS, rewards, MASK)
    with pytest.raises(ValueError, match="unknown scale 'max': choose one of none, min-max, std"):
        minimum_risk(tensor, LENGTHS, tensor, MASK, scale="max")


def test_a_best_candidate_below_zero_is_not_the_padding():
    log_p, f = torch.tensor([[-2.0, 0.0]]), torch.tensor([[-0.3, 0.0]])
    lengths = torch.tensor([[2, 0]])
    sums = risk_sums(candidate_weights(log_p, lengths, lengths > 0, 1.0), f, lengths > 0, f > 1)
    assert sums["f_best"].item() == pytest.approx(-0.3)
    torch.testing.assert_close(cross_entropy_of_best(log_p, lengths, f, lengths > 0), torch.tensor([1.0]))


def test_min_max_gives_every_sentence_the_same_range():
    f = torch.tensor([[0.80, 0.90, 0.85], [0.10, 0.50, 9.0], [-0.2, -0.6, -0.4]])
    drawn = torch.tensor([[True, True, True], [True, True, False], [True, True, True]])
    found = scaled(f, drawn, "min-max").masked_fill(~drawn, 0.0)
    torch.testing.assert_close(found, torch.tensor([[0.0, 1.0, 0.5], [0.0, 1.0, 0.0], [1.0, 0.0, 0.5]]))


def test_std_gives_every_sentence_the_same_deviation():
    f = torch.tensor([[0.80, 0.90, 0.85, 0.99], [0.10, 0.50, 9.0, 9.0]])
    drawn = torch.tensor([[True] * 4, [True, True, False, False]])
    found = scaled(f, drawn, "std")
    for values, given, own in zip(found, f, drawn, strict=True):
        torch.testing.assert_close(values[own].mean(), torch.tensor(0.0), atol=1e-5, rtol=0)
        torch.testing.assert_close(values[own].std(correction=0), torch.tensor(1.0))
        assert values[own].argsort().tolist() == given[own].argsort().tolist()


@pytest.mark.parametrize("scale, smallest", [("min-max", SMALLEST_RANGE), ("std", SMALLEST_DEVIATION)])
def test_candidates_that_hardly_differ_are_not_blown_up(scale, smallest):
    """Nor is one candidate alone divided by nothing."""
    f = torch.tensor([[0.8, 0.8 + smallest / 10], [0.7, 0.0]], dtype=torch.float64)
    found = scaled(f, torch.tensor([[True, True], [True, False]]), scale)
    assert 0.09 <= (found[0, 1] - found[0, 0]).item() <= 0.11
    assert found[1, 0].item() == 0


def test_unfinished_candidates():
    mask = torch.tensor([[True, True, True], [True, True, False], [True, True, False]])
    f = torch.tensor([[0.5, 0.9, 0.7], [0.8, 0.6, 0.0], [0.8, 0.6, 0.0]])
    unfinished = torch.tensor([[False, True, False], [False, False, False], [True, True, False]])
    kept, rewards = without_unfinished(mask, f, unfinished, "scored")
    assert kept is mask and rewards is f
    kept, rewards = without_unfinished(mask, f, unfinished, "lowest")
    assert kept is mask and rewards[0].tolist() == pytest.approx([0.5, 0.5, 0.7])
    assert torch.equal(rewards[1], f[1])
    assert rewards[2, 0] == rewards[2, 1], "where none has ended, none is better"
    kept, rewards = without_unfinished(mask, f, unfinished, "left-out")
    assert kept[0].tolist() == [True, False, True] and torch.equal(kept[1:], mask[1:])
    assert rewards[2, 0] == rewards[2, 1]
