"""Supports: nothing that matters is left out, and noise drawn for a few symbols is distributed as noise for all."""

import math

import pytest
import torch

from fairseq_bertloss.loss.soft_predictions import SoftPrediction, soft_prediction
from fairseq_bertloss.loss.sparse import DROPPED_MASS, GumbelArrivals, Predictor, nearest_to_the_largest, reach

SAMPLES, VOCABULARY = 20_000, 12


def sampled(temperature: float, hard: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples from GumbelArrivals, dense, and as many from the plain definition, of the same logits."""
    torch.manual_seed(4)
    logits = torch.randn(VOCABULARY) * 1.5
    logits[3] = -torch.inf
    logits = logits.expand(SAMPLES, -1)
    predict = Predictor(
        SoftPrediction("gumbel_softmax", temperature, hard), SAMPLES, VOCABULARY, VOCABULARY, logits.device
    )
    predicted = predict(logits, logits.softmax(dim=-1), slice(0, SAMPLES))
    ours = torch.zeros(SAMPLES, VOCABULARY).scatter_add_(1, predicted.symbols, predicted.fed)
    return ours, soft_prediction(logits, "gumbel_softmax", temperature, gumbel_hard=hard)


@pytest.mark.parametrize("temperature, hard", [(0.05, False), (0.1, False), (0.18, False), (0.1, True)])
def test_arrivals_are_distributed_as_gumbel_softmax(temperature, hard):
    """First and second moments and the entropy, each within 5 standard errors of the difference."""
    ours, plain = sampled(temperature, hard)
    assert (ours[:, 3] == 0).all(), "ruled out"
    torch.testing.assert_close(ours.sum(dim=-1), torch.ones(SAMPLES))
    for moment in (
        lambda p: p,
        lambda p: p**2,
        lambda p: torch.special.entr(p).sum(dim=-1, keepdim=True),
        lambda p: (p.unsqueeze(1) * p.unsqueeze(2)).flatten(1),
        lambda p: torch.nn.functional.one_hot(p.argmax(dim=-1), VOCABULARY).float(),
    ):
        one, other = moment(ours), moment(plain)
        error = ((one.var(dim=0) + other.var(dim=0)) / SAMPLES).sqrt()
        assert ((one.mean(dim=0) - other.mean(dim=0)).abs() <= 5 * error + 1e-9).all()


def test_arrivals_repeat_for_the_same_seed_and_rows():
    logits = torch.randn(10, 50)
    torch.manual_seed(2)
    one = GumbelArrivals(10, 0.1, 50, logits.device)
    torch.manual_seed(2)
    other = GumbelArrivals(10, 0.1, 50, logits.device)
    masses = logits.exp()
    for chunk in (slice(0, 4), slice(4, 10)):
        for first, again, scaled in zip(
            one(masses[chunk], chunk), other(masses[chunk], chunk), one(7 * masses[chunk], chunk), strict=True
        ):
            assert torch.equal(first, again) and torch.equal(first, scaled)
    assert not torch.equal(
        one(masses, slice(0, 10))[1], GumbelArrivals(10, 0.1, 50, logits.device)(masses, slice(0, 10))[1]
    )


@pytest.mark.parametrize("vocabulary", [8, 30_522, 250_000])
def test_arrivals_reach_as_far_as_stated(vocabulary):
    """What would come later has, all symbols together, less than DROPPED_MASS of the first one's weight."""
    torch.manual_seed(0)
    arrivals = GumbelArrivals(2000, 0.1, vocabulary, torch.device("cpu"))
    weights = arrivals._log_weights.exp()
    finite = weights > 0
    assert (weights[:, 0] == 1).all() and (weights[finite] * vocabulary >= DROPPED_MASS * 0.999).all()
    # A row has 1 + (r - 1) t_1 arrivals on average within r times the first; t_1 has mean 1.
    expected = math.exp(reach("softmax", 0.1, vocabulary))
    assert finite.sum(dim=-1).double().mean() == pytest.approx(expected, rel=0.1)
    assert finite.sum(dim=-1).max() == finite.size(1), "no column in vain"


def test_noise_for_all_where_many_arrivals_would_matter():
    assert GumbelArrivals.suit(0.1, 30_522) and GumbelArrivals.suit(0.1, 250_000)
    assert not GumbelArrivals.suit(0.5, 30_522)
    logits = torch.randn(6, 40)
    predict = Predictor(SoftPrediction("gumbel_softmax", 1.0), 6, 40, 3, logits.device)
    first, again = (predict(logits, logits.exp(), slice(0, 6)).probabilities for _ in range(2))
    assert torch.equal(first, again) and first.shape == logits.shape
    assert not torch.allclose(first, logits.softmax(dim=-1), atol=0.1)


def test_the_caller_s_generator_moves_on():
    logits = torch.randn(6, 40)
    for temperature in (0.1, 1.0):
        draws = [Predictor(SoftPrediction("gumbel_softmax", temperature), 6, 40, 3, logits.device) for _ in range(2)]
        one, other = (draw(logits, logits.exp(), slice(0, 6)).probabilities for draw in draws)
        assert one.shape != other.shape or not torch.equal(one, other)


def test_nearest_to_the_largest():
    logits = torch.tensor([[0.0, 3.0, 2.5, -torch.inf, 1.9], [7.0, 7.0, 0.0, 6.5, 6.0]])
    symbols, values = nearest_to_the_largest(logits, 1.0, 5)
    assert set(symbols[1].tolist()) == {0, 1, 3, 4}
    assert symbols[0, :2].tolist() == [1, 2] and values[0].tolist() == [3.0, 2.5, -torch.inf, -torch.inf]
    assert values[1].tolist() == [7.0, 7.0, 6.5, 6.0]
    assert nearest_to_the_largest(logits, 1.0, 3) is None
    assert nearest_to_the_largest(torch.tensor([[1.0, torch.nan, 0.0]]), 0.5, 2) is None


@pytest.mark.parametrize("kind", ["sparsemax", "entmax15", "softmax"])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
def test_what_lies_beyond_the_reach_has_no_probability(kind, temperature):
    torch.manual_seed(0)
    logits = torch.randn(200, 300, dtype=torch.float64) * 6
    beyond = logits < logits.amax(dim=-1, keepdim=True) - reach(kind, temperature, 300)
    assert beyond.any()
    left_out = soft_prediction(logits, kind, temperature).masked_fill(~beyond, 0.0).sum(dim=-1)
    assert left_out.max() <= (DROPPED_MASS if kind == "softmax" else 0.0)


@pytest.mark.parametrize("kind, symbols_below", [("sparsemax", -0.6), ("entmax15", -1.9)])
def test_a_short_support_among_many_that_could_belong_to_it_is_listed(kind, symbols_below):
    logits = torch.full((3, 200), symbols_below, dtype=torch.float64)
    logits[:, [7, 11]] = 0.0
    logits[2, 100:] = 0.0  # one row with a support of its own
    soft = SoftPrediction(kind, 1.0)
    assert nearest_to_the_largest(logits, reach(kind, 1.0, 200), 20) is None
    predicted = Predictor(soft, 3, 200, 20, logits.device)(logits[:2], logits[:2].exp(), slice(0, 2))
    assert predicted.symbols.sort(dim=-1).values.tolist() == [[7, 11], [7, 11]]
    torch.testing.assert_close(predicted.probabilities, torch.full((2, 2), 0.5, dtype=torch.float64))
    assert Predictor(soft, 3, 200, 20, logits.device)(logits, logits.exp(), slice(0, 3)).symbols is None


@pytest.mark.parametrize("temperature", [0.1, 1.0], ids=["on the support", "noise for every symbol"])
def test_noise_given_what_it_drew_is_distributed_as_noise(temperature):
    """Symbols drawn first, and then the noise that has drawn them: the same as noise drawn at once."""
    torch.manual_seed(4)
    logits = torch.randn(VOCABULARY) * 1.5
    logits[3] = -torch.inf
    drawn = torch.multinomial(logits.softmax(dim=-1), SAMPLES, replacement=True)
    logits = logits.expand(SAMPLES, -1)
    predict = Predictor(SoftPrediction("gumbel_softmax", temperature), SAMPLES, VOCABULARY, VOCABULARY, logits.device)
    predicted = predict(logits, logits.softmax(dim=-1), slice(0, SAMPLES), drawn)
    ours = predicted.probabilities
    if predicted.symbols is not None:
        ours = torch.zeros(SAMPLES, VOCABULARY).scatter_add_(1, predicted.symbols, ours)
    assert torch.equal(ours.argmax(dim=-1), drawn) and (ours[:, 3] == 0).all()
    plain = soft_prediction(logits, "gumbel_softmax", temperature)
    for power in (1, 2):
        one, other = ours**power, plain**power
        error = ((one.var(dim=0) + other.var(dim=0)) / SAMPLES).sqrt()
        assert ((one.mean(dim=0) - other.mean(dim=0)).abs() <= 5 * error + 1e-9).all()
    one, other = (torch.special.entr(p).sum(dim=-1) for p in (ours, plain))
    assert (one.mean() - other.mean()).abs() <= 5 * ((one.var() + other.var()) / SAMPLES).sqrt()
