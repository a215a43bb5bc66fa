"""Soft predictions: on the simplex, the right point of it, with the right gradient."""

import pytest
import torch

from fairseq_bertloss.choices import SOFT_PREDICTIONS
from fairseq_bertloss.loss.soft_predictions import (
    SUPPORT_BOUND,
    soft_prediction,
)
from fairseq_bertloss.loss.temperature import TemperatureSchedule


def project_onto_simplex(z: torch.Tensor) -> torch.Tensor:
    """argmin_p ||p - z|| by bisection for the threshold, an algorithm apart from entmax's sort."""
    low, high = z.max(-1, keepdim=True)[0] - 1, z.max(-1, keepdim=True)[0]
    for _ in range(100):
        middle = (low + high) / 2
        too_much = (z - middle).clamp(min=0).sum(-1, keepdim=True) > 1
        low, high = torch.where(too_much, middle, low), torch.where(too_much, high, middle)
    return (z - low).clamp(min=0)


def entmax15_by_bisection(z: torch.Tensor) -> torch.Tensor:
    """p_i = max(z_i / 2 - tau, 0)^2 with tau such that the sum is 1."""
    z = z / 2
    low, high = z.max(-1, keepdim=True)[0] - 1, z.max(-1, keepdim=True)[0]
    for _ in range(100):
        middle = (low + high) / 2
        too_much = ((z - middle).clamp(min=0) ** 2).sum(-1, keepdim=True) > 1
        low, high = torch.where(too_much, middle, low), torch.where(too_much, high, middle)
    return (z - low).clamp(min=0) ** 2


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", SOFT_PREDICTIONS)
def test_rows_are_on_the_simplex_in_every_precision(kind, dtype):
    logits = (torch.randn(2, 5, 3000) * 3).to(dtype)
    p = soft_prediction(logits, kind, 0.5)
    assert p.shape == logits.shape
    assert p.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert (p >= 0).all()
    torch.testing.assert_close(p.sum(-1), torch.ones_like(p[..., 0]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind, twin", [("sparsemax", project_onto_simplex), ("entmax15", entmax15_by_bisection)])
@pytest.mark.parametrize("scale", [0.01, 3.0])
def test_sparse_kinds_equal_another_algorithm(kind, twin, scale):
    logits = torch.randn(4, 1000, dtype=torch.float64) * scale
    p = soft_prediction(logits, kind, 1.0)
    torch.testing.assert_close(p, twin(logits), atol=1e-8, rtol=0)
    if scale == 0.01:
        assert ((p > 0).sum(-1) > SUPPORT_BOUND).all(), "the case of a support beyond the first guess"
    else:
        assert ((p > 0).sum(-1) < SUPPORT_BOUND).all()


@pytest.mark.parametrize("kind", SOFT_PREDICTIONS)
@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_gradient(kind, temperature):
    logits = torch.randn(3, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: soft_prediction(z, kind, temperature, noise=False), logits)


def test_gradient_of_gumbel_softmax_with_its_noise_held():
    def sample(z):
        torch.manual_seed(3)
        return soft_prediction(z, "gumbel_softmax", 0.8)

    assert torch.autograd.gradcheck(sample, torch.randn(3, 7, dtype=torch.float64, requires_grad=True))


@pytest.mark.parametrize("kind", SOFT_PREDICTIONS)
def test_low_temperature_is_argmax(kind):
    logits = torch.randperm(40).view(4, 10).double()
    p = soft_prediction(logits, kind, 1e-2, noise=False)
    torch.testing.assert_close(p, torch.nn.functional.one_hot(logits.argmax(-1), 10).double())


def test_gumbel_samples_follow_the_model():
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
    samples = soft_prediction(logits.expand(20000, 4), "gumbel_softmax", 0.1, gumbel_hard=True)
    torch.testing.assert_close(samples.mean(0), logits.softmax(-1), atol=0.015, rtol=0)


@pytest.mark.parametrize("noise", [True, False])
def test_straight_through_is_one_hot_with_the_soft_gradient(noise):
    logits = torch.randn(5, 9, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(5, 9, dtype=torch.float64)

    def gradient(hard):
        torch.manual_seed(5)
        p = soft_prediction(logits, "gumbel_softmax", 0.5, gumbel_hard=hard, noise=noise)
        return p.detach(), torch.autograd.grad(p, logits, upstream)[0]

    (hard, hard_gradient), (soft, soft_gradient) = gradient(True), gradient(False)
    torch.testing.assert_close(hard, torch.nn.functional.one_hot(soft.argmax(-1), 9).double())
    torch.testing.assert_close(hard_gradient, soft_gradient)


def test_noise_is_torchs_and_can_be_left_out():
    logits = torch.randn(4, 20)

    def draw(noise):
        return soft_prediction(logits, "gumbel_softmax", 0.1, noise=noise)

    torch.manual_seed(1)
    first, second = draw(True), draw(True)
    torch.manual_seed(1)
    assert torch.equal(draw(True), first) and not torch.equal(first, second)
    assert torch.equal(draw(False), draw(False))


@pytest.mark.parametrize("kind", SOFT_PREDICTIONS)
def test_masked_symbols_and_large_logits(kind):
    logits = torch.randn(3, 50) * 1e4
    logits[:, 10:] = -torch.inf
    logits.requires_grad_()
    p = soft_prediction(logits, kind, 0.1)
    (gradient,) = torch.autograd.grad((p * torch.randn(3, 50)).sum(), logits)
    assert p.isfinite().all() and gradient.isfinite().all()
    assert (p[:, 10:] == 0).all()


@pytest.mark.parametrize("offset", [1e4, -1e4, 1e6, -1e6])
@pytest.mark.parametrize("temperature", [0.1, 0.7])
@pytest.mark.parametrize("kind", SOFT_PREDICTIONS)
def test_logits_may_share_a_large_offset(kind, temperature, offset):
    """Sixteenths, which float32 holds beside a million."""
    logits = (torch.randn(6, 40) * 16).round() / 16

    def predict(scores):
        torch.manual_seed(2)
        return soft_prediction(scores, kind, temperature)

    torch.testing.assert_close(predict(logits + offset), predict(logits), rtol=0, atol=1e-6)
    ours, exact = (soft_prediction(part, kind, temperature, noise=False) for part in (logits + offset, logits.double()))
    torch.testing.assert_close(ours.double(), exact, rtol=0, atol=1e-6)


def test_unknown_kind_and_bad_temperature():
    with pytest.raises(ValueError, match="unknown soft prediction 'hardmax'.*sparsemax"):
        soft_prediction(torch.zeros(2), "hardmax", 1.0)
    for temperature in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="temperature must be positive"):
            soft_prediction(torch.zeros(2), "softmax", temperature)


def test_temperature_schedule():
    constant = TemperatureSchedule.parse("0.1")
    assert [constant.at(u) for u in (0, 10**6)] == [0.1, 0.1]
    annealed = TemperatureSchedule.parse("1.0:0.1@2000")
    assert annealed.at(0) == 1.0
    assert annealed.at(1000) == pytest.approx(0.55)
    assert annealed.at(2000) == annealed.at(9999) == annealed.end == 0.1
    assert TemperatureSchedule.parse("5e-1:2@4").at(1) == pytest.approx(0.875)


@pytest.mark.parametrize("text", ["", "hot", "1:2", "1.0:0.1@", "1:0.1@2.5", "0", "1:0@100", "-1", "nan"])
def test_bad_temperature_schedule(text):
    with pytest.raises(ValueError, match="temperature"):
        TemperatureSchedule.parse(text)
