"""The chunked operator against its twin, the composition written out that keeps every tensor."""

import gc

import pytest
import torch
import torch.nn.functional as F
from twins import Case, assert_same

from fairseq_bertloss.choices import SOFT_PREDICTIONS
from fairseq_bertloss.loss import expected_embeddings as module
from fairseq_bertloss.loss import sparse
from fairseq_bertloss.loss.expected_embeddings import expected_embeddings
from fairseq_bertloss.loss.output_layer import Projection
from fairseq_bertloss.loss.soft_predictions import SoftPrediction, soft_prediction

KINDS = [
    SoftPrediction("softmax", 1.0),
    SoftPrediction("softmax", 0.1),  # so steep that it is taken on its support
    SoftPrediction("sparsemax", 1.0),
    SoftPrediction("sparsemax", 0.7),
    SoftPrediction("entmax15", 1.0),
    SoftPrediction("entmax15", 1.6),
    SoftPrediction("gumbel_softmax", 0.1, noise=False),
    SoftPrediction("gumbel_softmax", 0.5, hard=True, noise=False),
]


UPSTREAM = {
    "embeddings": [True, False, False, False],
    "embeddings and weights": [True, True, False, False],
    "cross-entropy": [False, False, True, False],
    "everything": [True, True, True, True],
}


@pytest.mark.parametrize("kept", [0, module.KEPT_BYTES], ids=["computed again", "kept"])
@pytest.mark.parametrize("projected", [True, False], ids=["features", "logits"])
@pytest.mark.parametrize("soft", KINDS, ids=lambda soft: f"{soft.kind} {soft.temperature}")
def test_value_and_gradient_equal_the_twins(soft, projected, kept):
    for bias in (True, False):
        case = Case(bias=bias)
        learning, statistics = case.twin(soft)
        ours = case.operator(soft, projected, kept_bytes=kept)
        assert_same(ours[:4], learning)
        assert torch.equal(ours.correct, statistics[0])
        assert_same(ours[5:7], statistics[1:3])
        # An exponential below the bound on what is dropped counts as 0.
        assert (ours.support <= statistics[3]).all()
        assert soft.kind in ("softmax", "gumbel_softmax") or torch.equal(ours.support, statistics[3])
        for wanted in UPSTREAM.values():
            upstream = [u if want else None for u, want in zip(case.upstream, wanted, strict=True)]
            theirs = case.gradients(case.twin(soft)[0], upstream)
            assert_same(case.gradients(case.operator(soft, projected, kept_bytes=kept), upstream), theirs)


@pytest.mark.parametrize("temperature", [0.1, 0.5], ids=["on the support", "noise for every symbol"])
@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("kept", [0, module.KEPT_BYTES], ids=["computed again", "kept"])
def test_gumbel_softmax_equals_its_twin_with_the_same_noise(temperature, hard, kept):
    soft = SoftPrediction("gumbel_softmax", temperature, hard)
    case = Case(dtype=torch.float64)
    torch.manual_seed(1)
    ours = case.operator(soft, kept_bytes=kept)
    assert (ours.support.max() < 30) == (temperature == 0.1 or hard)

    torch.manual_seed(1)
    predict = sparse.Predictor(soft, len(case.target), len(case.table), 150, case.table.device)
    noise = torch.full_like(case.logits, -torch.inf)
    for chunk in (slice(start, start + 7) for start in range(0, len(noise), 7)):
        logits = case.logits[chunk].detach()
        p, symbols, _ = predict(logits, logits.softmax(dim=-1), chunk)
        noisy = temperature * p.log()  # of a softmax at that temperature, up to a constant
        if symbols is None:
            noise[chunk] = noisy - logits
        else:
            order = p.argsort(dim=-1)  # padding first, should it repeat a symbol
            noise[chunk].scatter_(1, symbols.gather(1, order), (noisy - logits.gather(1, symbols)).gather(1, order))
    learning, statistics = case.twin(soft, noise)
    assert_same(ours[:4], learning, 1e-9)
    assert_same(ours[5:7], statistics[1:3], 1e-9)
    assert_same(case.gradients(ours), case.gradients(case.twin(soft, noise)[0]), 1e-9)


@pytest.mark.parametrize("drawn", [False, True])
@pytest.mark.parametrize(
    "soft", [*KINDS, SoftPrediction("gumbel_softmax", 0.5)], ids=lambda soft: f"{soft.kind} {soft.temperature}"
)
def test_logits_may_share_a_large_offset(soft, drawn):
    """Sixteenths, which float32 holds beside a million; a support may list a symbol more, of probability near 0."""
    case = Case()
    logits = (case.logits.detach() * 16).round() / 16

    def outputs(logits):
        torch.manual_seed(3)
        return expected_embeddings(logits, case.target, case.table, soft, with_uniform=True, target_is_drawn=drawn)[:-1]

    for offset in (1e4, -1e6):
        for ours, expected in zip(outputs(logits + offset), outputs(logits), strict=True):
            if expected is not None:
                torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("soft", KINDS[:-1], ids=lambda soft: f"{soft.kind} {soft.temperature}")
@pytest.mark.parametrize("peak", [0.0, 8.0], ids=["flat", "peaked"])
def test_gradcheck(soft, peak):
    case = Case(tokens=4, dim=3, vocabulary=130, size=3, dtype=torch.float64, peak=peak)

    def learning(features, weight, bias):
        return expected_embeddings(
            features, case.target, case.table, soft, projection=Projection(weight, bias), symbol_weights=case.idf,
            with_uniform=True, chunk_tokens=3,
        )[:4]  # fmt: skip

    assert torch.autograd.gradcheck(learning, (case.features, case.weight, case.bias))


def test_flat_and_peaked_rows_share_a_batch():
    """Chunks whose support is large are multiplied with the whole table, the others gathered."""
    case = Case(bias=False)
    with torch.no_grad():
        case.features[:7] *= 0.001
    for kind in ("sparsemax", "entmax15"):
        soft = SoftPrediction(kind, 1.0)
        ours = case.operator(soft)
        assert ours.support[:7].max() > 900 / 6 and ours.support[7:].max() < 14
        assert_same(ours[:4], case.twin(soft)[0])
        assert_same(case.gradients(ours), case.gradients(case.twin(soft)[0]))


@pytest.mark.parametrize("kind", SOFT_PREDICTIONS)
def test_chunks_change_nothing(kind):
    """With noise too: at low temperatures Gumbel-Softmax draws it for all tokens before the first chunk."""
    case = Case(dtype=torch.float64)
    soft = SoftPrediction(kind, 0.1)
    results = []
    for chunk_tokens in (1, 7, 23, 1000, None):
        torch.manual_seed(3)
        ours = case.operator(soft, chunk_tokens=chunk_tokens)
        results.append((*ours[:4], ours.entropy, *case.gradients(ours)))
    for other in results[1:]:
        assert_same(other, results[0], sparse.DROPPED_MASS)  # a chunk is gathered or multiplied as a whole


def test_tied_projection_learns_from_both_ends():
    case = Case(bias=False)
    soft = SoftPrediction("sparsemax", 1.0)
    gradients = []
    for run in (lambda: case.operator(soft), lambda: case.twin(soft)[0]):
        case.features = F.embedding(case.target, case.weight) * 2
        outputs = run()
        gradients.append(torch.autograd.grad(outputs[0], case.weight, case.upstream[0]))
    assert_same(*gradients)


@pytest.mark.parametrize("soft", KINDS, ids=lambda soft: f"{soft.kind} {soft.temperature}")
def test_masked_symbols_get_nothing(soft):
    case = Case(bias=False)
    ruled_out = torch.arange(900) % 3 == 0
    case.target = case.target // 3 * 3 + 1
    logits = case.logits.detach().masked_fill(ruled_out, -torch.inf).requires_grad_()
    ours = expected_embeddings(logits, case.target, case.table, soft, with_uniform=True, chunk_tokens=7)
    left = logits[:, ~ruled_out].detach().requires_grad_()
    target = (~ruled_out).cumsum(dim=0)[case.target] - 1
    alone = expected_embeddings(left, target, case.table[~ruled_out], soft, with_uniform=True, chunk_tokens=7)
    used = [0, 2, 3]
    assert_same([ours[i] for i in used], [alone[i] for i in used])
    upstream = [case.upstream[i] for i in used]
    (gradient,) = torch.autograd.grad([ours[i] for i in used], logits, upstream)
    (expected,) = torch.autograd.grad([alone[i] for i in used], left, upstream)
    assert (gradient[:, ruled_out] == 0).all()
    assert_same([gradient[:, ~ruled_out]], [expected])


@pytest.mark.parametrize("soft", KINDS, ids=lambda soft: soft.kind)
def test_one_hot_looks_the_row_up_in_the_tables_precision(soft):
    table = torch.randn(6, 4, dtype=torch.bfloat16)
    certain = torch.where(torch.eye(6)[[2, 5]] > 0, 0.0, -torch.inf)
    assert torch.equal(expected_embeddings(certain, torch.tensor([2, 5]), table, soft).embeddings, table[[2, 5]])


@pytest.mark.parametrize("soft", [*KINDS, SoftPrediction("gumbel_softmax", 0.1)], ids=lambda soft: soft.kind)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_broken_logit_is_not_hidden(soft, value):
    """fairseq skips or stops at a loss that is not finite; it must get to see one."""
    case = Case()
    with torch.no_grad():
        case.bias[5] = value
    assert not case.operator(soft).embeddings.isfinite().any()


def test_random_logits_of_a_large_vocabulary_at_low_temperature():
    """What is dropped has less than the stated mass."""
    case = Case(tokens=50, vocabulary=20000, dim=30, peak=2.0)
    soft = SoftPrediction("softmax", 0.15)
    ours = case.operator(soft, chunk_tokens=50)
    p = soft_prediction(case.logits, soft.kind, soft.temperature)
    assert ours.support.max() < 20000 / 30
    kept = p.sort(dim=-1, descending=True).values.cumsum(dim=-1).gather(1, ours.support.unsqueeze(1) - 1)
    assert (1 - kept.double()).max() < 10 * sparse.DROPPED_MASS, "float32 sums 20,000 numbers"
    assert_same(ours[:1], [p @ case.table])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", ["softmax", "sparsemax"])
def test_half_precision_stays_near_float32(kind, dtype):
    """Products round to half precision, soft predictions do not: distances are those of the rounded inputs."""
    case, exact = Case(dtype=dtype, peak=6.0), Case(peak=6.0)
    for tensor, rounded in zip(exact.inputs, case.inputs, strict=True):
        tensor.data.copy_(rounded.data)
    exact.table, exact.upstream = case.table.float(), [u.float() for u in case.upstream]
    soft = SoftPrediction(kind, 1.0)
    ours = case.operator(soft, symbol_weights=case.idf.float())
    assert ours.embeddings.dtype == dtype and ours.nll.dtype == torch.float32
    bound = 20 * torch.finfo(dtype).eps  # logits of about 10 are rounded to it, times a few units of the table
    theirs = exact.operator(soft)
    assert ((ours.embeddings.float() - theirs.embeddings).abs() < bound * 4).all()
    gradients = torch.autograd.grad(ours.embeddings, case.inputs, case.upstream[0])
    expected = torch.autograd.grad(theirs.embeddings, exact.inputs, exact.upstream[0])
    for one, other in zip(gradients, expected, strict=True):
        assert one.dtype == dtype
        assert (one.float() - other).norm() < bound * 4 * other.norm()


def test_autocast_rounds_the_products_alone():
    case, soft = Case(), SoftPrediction("sparsemax", 1.0)
    with torch.autocast("cpu", torch.bfloat16):
        ours = case.operator(soft, chunk_tokens=None)
        rounded = case.logits
    assert ours.embeddings.dtype == torch.float32 and rounded.dtype == torch.bfloat16
    torch.testing.assert_close(ours.nll, F.cross_entropy(rounded.float(), case.target, reduction="none"))
    assert not torch.allclose(ours.nll, case.operator(soft).nll, atol=1e-4)
    gradients = case.gradients(ours)
    assert all(g.dtype == torch.float32 and g.isfinite().all() for g in gradients)


@pytest.mark.parametrize("kind", ["softmax", "sparsemax"])
def test_frozen_parts_get_no_gradient(kind):
    for frozen in range(3):
        case = Case()
        whole = case.gradients(case.operator(SoftPrediction(kind, 1.0)))
        case.inputs[frozen].requires_grad_(False)
        learning = [tensor for tensor in case.inputs if tensor.requires_grad]
        outputs = case.operator(SoftPrediction(kind, 1.0))[:4]
        gradients = torch.autograd.grad(outputs, learning, case.upstream)
        assert_same(gradients, [g for i, g in enumerate(whole) if i != frozen], 1e-6)


def kept():
    return [thing for thing in gc.get_objects() if isinstance(thing, sparse.Predicted)]


@pytest.mark.parametrize("soft", [SoftPrediction("softmax", 1.0), SoftPrediction("gumbel_softmax", 0.1)])
def test_what_is_kept_is_kept_for_a_backward_pass_and_no_longer(soft):
    case = Case()
    with torch.no_grad():
        outputs = case.operator(soft)
    assert not any(tensor.requires_grad for tensor in outputs) and not kept()
    outputs = case.operator(soft)
    assert len(kept()) == 4
    upstream = case.upstream[0]
    gradients = torch.autograd.grad(outputs.embeddings, case.inputs, upstream, retain_graph=True)
    assert not kept()
    assert_same(torch.autograd.grad(outputs.embeddings, case.inputs, upstream), gradients, 1e-6)


@pytest.mark.parametrize("kind", ["softmax", "sparsemax", "entmax15"])
def test_hard_is_for_gumbel_softmax_alone(kind):
    case = Case()
    hard, soft = (case.operator(SoftPrediction(kind, 1.0, hard=hard)) for hard in (True, False))
    assert torch.equal(hard.embeddings, soft.embeddings) and torch.equal(hard.support, soft.support)


def test_shapes_that_disagree():
    case = Case()
    with pytest.raises(ValueError, match="have 900 symbols, the dictionary has 899"):
        expected_embeddings(case.logits, case.target, case.table[1:], KINDS[0])
    with pytest.raises(ValueError, match=r"predictions \(23, 900\) and target \(22,\) disagree"):
        expected_embeddings(case.logits, case.target[1:], case.table, KINDS[0])
    with pytest.raises(ValueError, match="no token"):
        expected_embeddings(case.logits[:0], case.target[:0], case.table, KINDS[0])
    for chunk_tokens in (0, -1):
        with pytest.raises(ValueError, match="chunk_tokens must be at least 1, not"):
            case.operator(KINDS[0], chunk_tokens=chunk_tokens)
