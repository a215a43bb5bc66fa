"""The chunked statistics of the model's distribution against their twin, log-softmax written out."""

import pytest
import torch
import torch.nn.functional as F
from twins import EOS, Case, assert_same

from fairseq_bertloss.loss.cross_entropy import token_statistics
from fairseq_bertloss.loss.output_layer import KEPT_BYTES, Projection


def statistics(case, projected=True, **options):
    options = {"eos": EOS, "chunk_tokens": 7} | options
    if projected:
        return token_statistics(case.features, case.target, Projection(case.weight, case.bias), **options)
    return token_statistics(case.logits, case.target, **options)


def twin(case):
    lprobs = case.logits.log_softmax(dim=-1)
    nll = -lprobs.gather(-1, case.target.unsqueeze(-1)).squeeze(-1)
    return (nll, -lprobs.sum(dim=-1)), (lprobs.argmax(dim=-1) == case.target, lprobs[:, EOS].exp())


@pytest.mark.parametrize("kept", [0, 10**5, KEPT_BYTES], ids=["computed again", "a chunk kept", "kept"])
@pytest.mark.parametrize("projected", [True, False], ids=["features", "logits"])
@pytest.mark.parametrize("with_uniform", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_value_and_gradient_equal_the_twins(with_uniform, projected, kept, bias):
    case = Case(bias=bias)
    case.target[:5] = case.logits[:5].argmax(dim=-1)
    (nll, uniform), (correct, p_eos) = twin(case)
    ours = statistics(case, projected, with_uniform=with_uniform, kept_bytes=kept)
    assert torch.equal(ours.correct, correct) and 0 < correct.sum() < len(correct)
    assert_same([ours.nll, ours.p_eos], [nll, p_eos])
    upstream = case.upstream[2:3]
    assert_same(case.gradients([ours.nll], upstream), case.gradients([nll], upstream))
    if with_uniform:
        assert_same([ours.uniform], [uniform])
        for wanted in ([None, case.upstream[3]], case.upstream[2:]):
            ours = statistics(case, projected, with_uniform=True, kept_bytes=kept)
            assert_same(case.gradients(ours[:2], wanted), case.gradients(twin(case)[0], wanted))
    else:
        assert ours.uniform is None


def test_gradcheck():
    case = Case(tokens=4, dim=3, vocabulary=50, dtype=torch.float64)

    def learning(features, weight, bias):
        return token_statistics(features, case.target, Projection(weight, bias), with_uniform=True, chunk_tokens=3)[:2]

    assert torch.autograd.gradcheck(learning, (case.features, case.weight, case.bias))


@pytest.mark.parametrize("with_uniform", [True, False])
def test_targets_may_share_a_token(with_uniform):
    case = Case()
    token_index = torch.tensor(
        [0, 0, 0, 1, 5, 5, 6, 7, 7, 13, 14, 14, 20]
    )  # some tokens have none, some chunks begin with two
    target = torch.arange(len(token_index)) * 31
    lprobs = case.logits.log_softmax(dim=-1)
    expected = [-lprobs[token_index, target], -lprobs.sum(dim=-1)[token_index]][: 1 + with_uniform]
    ours = token_statistics(
        case.features,
        target,
        Projection(case.weight, case.bias),
        token_index=token_index,
        eos=EOS,
        with_uniform=with_uniform,
        chunk_tokens=7,
    )
    assert_same(ours[: 1 + with_uniform], expected)
    assert_same([ours.p_eos], [lprobs[token_index, EOS].exp()])
    assert torch.equal(ours.correct, lprobs.argmax(dim=-1)[token_index] == target)
    upstream = [given[: len(token_index)] for given in case.upstream[2 : 3 + with_uniform]]
    assert_same(case.gradients(ours[: 1 + with_uniform], upstream), case.gradients(expected, upstream))


def test_a_second_backward_pass_is_the_first_again():
    case = Case()
    ours = statistics(case)
    first = torch.autograd.grad(ours.nll, case.inputs, case.upstream[2], retain_graph=True)
    assert_same(torch.autograd.grad(ours.nll, case.inputs, case.upstream[2]), first)


def test_symbols_that_the_model_rules_out():
    logits = torch.tensor([[1.0, -torch.inf, 2.0], [0.0, 0.5, -torch.inf]], requires_grad=True)
    target = torch.tensor([2, 0])
    ours = token_statistics(logits, target, with_uniform=True)
    possible = [logits[0, [0, 2]].log_softmax(-1), logits[1, :2].log_softmax(-1)]
    nll = torch.stack([-possible[0][1], -possible[1][0]])
    assert_same([ours.nll, ours.uniform], [nll, torch.stack([-p.sum() for p in possible])])
    (gradient,) = torch.autograd.grad((ours.nll + ours.uniform).sum(), logits)
    assert gradient.isfinite().all() and gradient[0, 1] == gradient[1, 2] == 0
    (expected,) = torch.autograd.grad(sum(-2 * p.sum() for p in possible) + possible[0][0] + possible[1][1], logits)
    assert_same([gradient], [expected])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("offset", [0.0, 1e4, -1e4, 1e6, -1e6])
def test_logits_may_share_a_large_offset(offset, dtype):
    """Exact for the logits as they are, which have been rounded with their offset; half precision holds less of one."""
    case = Case(dtype=torch.float64)
    offset = offset if dtype == torch.float32 else offset / 1e3
    logits = (case.logits.detach() + offset).to(dtype)
    logits[:, [1, 4]] = -torch.inf
    case.target[(case.target == 1) | (case.target == 4)] = 5
    lprobs = logits.double().log_softmax(dim=-1)
    nll = -lprobs.gather(1, case.target.unsqueeze(1)).squeeze(1)
    uniform = -lprobs.masked_fill(logits.isneginf(), 0.0).sum(dim=-1)
    ours = token_statistics(logits, case.target, eos=EOS, with_uniform=True, chunk_tokens=7)
    for value, expected in zip((ours.nll, ours.uniform, ours.p_eos), (nll, uniform, lprobs[:, EOS].exp()), strict=True):
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "features, target, options, message",
    [
        (torch.randn(3, 5), torch.zeros(2, dtype=torch.long), {}, "disagree"),
        (torch.randn(0, 5), torch.zeros(0, dtype=torch.long), {}, "no token"),
        (torch.randn(3, 5), torch.zeros(3, dtype=torch.long), {"chunk_tokens": 0}, "at least 1, not 0"),
    ],
)
def test_bad_input(features, target, options, message):
    with pytest.raises(ValueError, match=message):
        token_statistics(features, target, **options)
    with pytest.raises(ValueError, match="disagree"):
        token_statistics(
            torch.randn(3, 5), torch.zeros(2, dtype=torch.long), token_index=torch.zeros(3, dtype=torch.long)
        )


def test_autocast_rounds_the_product_alone():
    case = Case(bias=False)
    with torch.autocast("cpu", torch.bfloat16):
        ours = statistics(case)
    logits = F.linear(case.features.bfloat16(), case.weight.bfloat16()).float()
    assert ours.nll.dtype == torch.float32
    assert_same([ours.nll], [F.cross_entropy(logits, case.target, reduction="none")])
