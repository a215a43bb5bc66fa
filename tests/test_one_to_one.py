"""One-to-one matching against all permutations, a linear programme and what it is there for."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from test_bertscore import random_side
from test_loss import encode, make_loss, symbols_of

from fairseq_bertloss.loss.matching import Comparison, Side
from fairseq_bertloss.loss.one_to_one import one_to_one_match


def compared(predicted, reference) -> Comparison:
    return Comparison.of(Side(*predicted), Side(*reference))


def evenly(side):
    """The same side with a weight of 1 at each position."""
    embeddings, _, mask = side
    return embeddings, mask.to(embeddings.dtype), mask


def of_cosines(cosine, predicted_weights, reference_weights) -> Comparison:
    """A batch of one pair."""
    sides = predicted_weights, reference_weights
    weights = [torch.as_tensor(side, dtype=torch.float64).unsqueeze(0) for side in sides]
    masks = [torch.ones_like(side, dtype=torch.bool) for side in weights]
    return Comparison(torch.as_tensor(cosine, dtype=torch.float64).unsqueeze(0), *weights, *masks)


def by_permutations(cosine: np.ndarray) -> float:
    """The largest sum of cosines."""
    if cosine.shape[0] > cosine.shape[1]:
        cosine = cosine.T
    rows = range(len(cosine))
    return max(cosine[rows, columns].sum() for columns in itertools.permutations(range(cosine.shape[1]), len(cosine)))


def by_linear_programme(cosine: np.ndarray, predicted: np.ndarray, reference: np.ndarray) -> float:
    """The largest sum of amounts times cosines, where no position gives more than its weight."""
    k, l = cosine.shape
    of_row, of_column = np.kron(np.eye(k), np.ones(l)), np.kron(np.ones(k), np.eye(l))
    lighter, heavier = (of_row, predicted), (of_column, reference)
    if predicted.sum() > reference.sum():
        lighter, heavier = heavier, lighter
    done = linprog(-cosine.ravel(), A_eq=lighter[0], b_eq=lighter[1], A_ub=heavier[0], b_ub=heavier[1] * (1 + 1e-12))
    assert done.success
    return -done.fun


def f_of(precision, recall):
    return 2 * precision * recall / (precision + recall) if precision * recall > 0 else 0.0


SIDES = st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 5)


@settings(max_examples=60, deadline=None)
@given(*SIDES, st.integers(0, 2), st.integers(0, 2))
def test_all_permutations(seed, k, l, predicted_padding, reference_padding):
    generator = torch.Generator().manual_seed(seed)
    predicted = evenly(random_side(generator, 3, k, padding=predicted_padding))
    reference = evenly(random_side(generator, 3, l, padding=reference_padding))
    pairs = compared(predicted, reference)
    for cosine, *score in zip(pairs.cosine, *one_to_one_match(pairs), strict=True):
        best = by_permutations(cosine[:k, :l].numpy())
        expected = best / k, best / l, f_of(best / k, best / l)
        assert [part.item() for part in score] == pytest.approx(expected, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(*SIDES)
def test_negative_cosines_are_matched_as_well(seed, k, l):
    cosine = -np.random.default_rng(seed).uniform(size=(k, l))
    precision, recall, f1 = one_to_one_match(of_cosines(cosine, np.ones(k), np.ones(l)))
    best = by_permutations(cosine)
    assert [precision.item(), recall.item()] == pytest.approx([best / k, best / l], abs=1e-12)
    assert f1.item() == pytest.approx(f_of(best / k, best / l), abs=1e-12) and best < 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_weights_are_transported_as_a_linear_programme_does(seed, k, l, balanced):
    random = np.random.default_rng(seed)
    cosine = random.uniform(-1, 1, (k, l)).round(1)  # with ties
    predicted, reference = (random.uniform(0.01, 9, side) for side in (k, l))
    if balanced:
        reference *= predicted.sum() / reference.sum()
    precision, recall, f1 = one_to_one_match(of_cosines(cosine, predicted, reference))
    best = by_linear_programme(cosine, predicted, reference)
    expected = best / predicted.sum(), best / reference.sum()
    assert [precision.item(), recall.item()] == pytest.approx(expected, abs=1e-9)
    assert f1.item() == pytest.approx(f_of(*expected), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 30))
def test_equal_weights_are_an_assignment_whatever_they_are(seed, k, l):
    generator = torch.Generator().manual_seed(seed)
    pairs = compared(evenly(random_side(generator, 2, k)), evenly(random_side(generator, 2, l)))
    ones = one_to_one_match(pairs)
    thirds = {name: getattr(pairs, name) / 3 for name in ("predicted_weights", "reference_weights")}
    torch.testing.assert_close(tuple(one_to_one_match(pairs._replace(**thirds))), tuple(ones))
    # Just different enough for the transport.
    nearly = pairs.predicted_weights * (1 + 1e-9 * torch.arange(1, k + 1))
    transported = one_to_one_match(pairs._replace(predicted_weights=nearly))
    torch.testing.assert_close(tuple(transported), tuple(ones), atol=1e-6, rtol=0)


@pytest.mark.parametrize("weigh", [evenly, lambda side: side], ids=["assignment", "transport"])
def test_padding_and_batching_change_nothing(weigh):
    generator = torch.Generator().manual_seed(3)
    predicted = weigh(random_side(generator, 6, 7, padding=3))
    reference = weigh(random_side(generator, 6, 5, padding=2))
    pairs = compared(predicted, reference)
    score = one_to_one_match(pairs)
    unpadded = compared([part[:, :7] for part in predicted], [part[:, :5] for part in reference])
    torch.testing.assert_close(tuple(one_to_one_match(unpadded)), tuple(score))
    for i in range(6):
        alone = compared(*([part[i : i + 1] for part in side] for side in (predicted, reference)))
        torch.testing.assert_close(tuple(one_to_one_match(alone)), tuple(part[i : i + 1] for part in score))
    cosine = pairs.cosine.clone()
    cosine[:, 7:], cosine[:, :, 5:] = torch.nan, torch.nan
    torch.testing.assert_close(tuple(one_to_one_match(pairs._replace(cosine=cosine))), tuple(score))


def test_a_side_without_weight_scores_zero_with_finite_gradient():
    generator = torch.Generator().manual_seed(4)
    (embeddings, weights, mask), reference = random_side(generator, 2, 4), random_side(generator, 2, 3)
    embeddings.requires_grad_()
    weights[0] = 0
    score = one_to_one_match(compared((embeddings, weights, mask), reference))
    assert [part[0].item() for part in score] == [0, 0, 0] and all(part[1] != 0 for part in score)
    score.f1.sum().backward()
    assert (embeddings.grad[0] == 0).all() and (embeddings.grad[1] != 0).any()


def test_positions_without_weight_take_no_part():
    marked = of_cosines([[0.9, 0.1], [0.8, 0.2]], [0, 1], [1, 1])
    assert [part.item() for part in one_to_one_match(marked)] == pytest.approx([0.8, 0.4, 1.6 / 3])


def test_what_is_not_finite_is_not_a_score():
    pairs = compared(*(evenly(random_side(torch.Generator().manual_seed(4), 2, 3)) for _ in range(2)))
    pairs.cosine[0, 1] = torch.nan
    for part in one_to_one_match(pairs):
        assert part[0].isnan() and part[1].isfinite()


@pytest.mark.parametrize("weigh", [evenly, lambda side: side], ids=["assignment", "transport"])
def test_gradient(weigh):
    generator = torch.Generator().manual_seed(4)
    embeddings, weights, mask = weigh(random_side(generator, 2, 4, padding=1))
    reference = weigh(random_side(generator, 2, 3, padding=2))
    embeddings.requires_grad_()
    assert torch.autograd.gradcheck(lambda e: one_to_one_match(compared((e, weights, mask), reference)), embeddings)
    score = one_to_one_match(compared((embeddings, weights, mask), reference))
    (gradient,) = torch.autograd.grad(score.f1.sum(), embeddings)
    assert (gradient[:, 4:] == 0).all() and gradient.abs().sum() > 0.1


def test_half_precision_is_matched_in_float32():
    sides = [evenly(random_side(torch.Generator().manual_seed(seed), 3, 5)) for seed in (1, 2)]
    halves = [(embeddings.bfloat16(), weights.bfloat16(), mask) for embeddings, weights, mask in sides]
    floats = [(embeddings.float(), weights.float(), mask) for embeddings, weights, mask in halves]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        score = one_to_one_match(compared(*halves))
    assert score.f1.dtype == torch.float32
    torch.testing.assert_close(tuple(score), tuple(one_to_one_match(compared(*floats))))


REPEATED = [
    ("a man in a red shirt is riding a bicycle .", "a man in a red shirt red shirt is riding a bicycle ."),
    ("two little dogs are playing in the snow .", "two little dogs dogs are playing in the snow ."),
    ("please check the network connection again .", "please check the network network connection again ."),
    ("the children are sitting on the grass .", "the children are sitting sitting on the grass ."),
]
REFERENCES = [
    "a man wearing a red shirt rides his bike .",
    "a pair of dogs play in the snow .",
    "check your network connection , please .",
    "children sit on the grass .",
]


def test_repeating_a_word_pays_by_greedy_matching_alone(minilm):
    """In translations no shorter than their references, which have no position left for a word that is said again."""
    symbols, once, again = symbols_of(minilm), *zip(*REPEATED, strict=True)
    target = encode(minilm, symbols, REFERENCES)
    before, after = (
        make_loss(minilm, 5, matching="one-to-one").score_candidates(encode(minilm, symbols, lines), target)
        for lines in (once, again)
    )
    assert (before.rewarded.precision - after.rewarded.precision > 0.04).all()
    assert (before.rewarded.f1 - after.rewarded.f1 > 0.01).all()
    assert (before.reported.precision - after.reported.precision < 0.03).all()
    assert (after.reported.f1 > before.reported.f1 + 0.03).any(), "greedy matching pays for nothing here"


def test_both_matchings_of_the_loss_are_those_of_the_same_cosines(minilm):
    symbols = symbols_of(minilm)
    hypothesis, target = encode(minilm, symbols, [again for _, again in REPEATED]), encode(minilm, symbols, REFERENCES)
    greedy, one_to_one = (make_loss(minilm, 5, matching=name) for name in ("greedy", "one-to-one"))
    scores = one_to_one.score_candidates(hypothesis, target)
    torch.testing.assert_close(tuple(scores.reported), tuple(greedy.score_ids(hypothesis, target)), rtol=0, atol=1e-6)
    assert (scores.rewarded.f1 < scores.reported.f1).all()
    torch.testing.assert_close(one_to_one.objective(one_to_one.score_ids(hypothesis, target)), -scores.rewarded.f1)
    alike = greedy.score_candidates(hypothesis, target)
    assert all(torch.equal(*parts) for parts in zip(*alike, strict=True))
    one_to_one.baseline = greedy.baseline = (0.2, 0.3, 0.25)
    for ours, plain in zip(one_to_one.score_candidates(hypothesis, target), scores, strict=True):
        torch.testing.assert_close(tuple(ours), tuple(plain.rescaled((0.2, 0.3, 0.25))), rtol=0, atol=1e-6)
