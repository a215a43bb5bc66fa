"""Decoder features with their projection against logits: the same numbers, whatever the model."""

import copy
from argparse import Namespace

import pytest
import torch
import torch.nn.functional as F
from fairseq.distributed import DistributedTimeoutWrapper, LegacyDistributedDataParallel, ModuleProxyWrapper
from fairseq.models import FairseqEncoderDecoderModel
from fairseq.models.bart import BARTModel
from fairseq.models.bart.model import bart_base_architecture
from fairseq.models.transformer import TransformerDecoder
from test_criterion import PIECES, build, gradients, make_sample  # noqa: F401, build is a fixture
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import fairseq_bertloss.training.decoder_output as module
from fairseq_bertloss.choices import SOFT_PREDICTIONS
from fairseq_bertloss.training.decoder_output import decoder_output

LONG = ("zwei", " ".join([PIECES[0][1]] * 12))  # more symbols than the language model has positions for


# Which models hand over features.


def bart(task):
    """A tiny BART, which ties all its embeddings and so needs one dictionary for both languages."""
    task.src_dict = task.tgt_dict
    sizes = dict(layers=1, embed_dim=32, ffn_embed_dim=32, attention_heads=2)
    args = Namespace(**{f"{side}_{name}": size for side in ("encoder", "decoder") for name, size in sizes.items()})
    bart_base_architecture(args)
    return BARTModel.build_model(args, task)


def give_bias(projection: nn.Linear) -> None:
    projection.bias = nn.Parameter(torch.randn(projection.out_features, generator=torch.Generator().manual_seed(2)))


class LouderFeatures(TransformerDecoder):
    """Changes what comes before the projection."""

    def extract_features(self, *args, **kwargs):
        features, extra = super().extract_features(*args, **kwargs)
        return 2 * features, extra


@pytest.mark.parametrize("kind", ["untied", "tied", "other width", "bias", "bart", "own features"])
def test_features_and_their_projection(build, kind):
    arguments = {"tied": ["--share-decoder-input-output-embed"], "other width": ["--decoder-output-dim", "16"]}
    _, network, task = build(*arguments.get(kind, []))
    if kind == "bart":
        network = bart(task)
    if kind == "bias":
        give_bias(network.decoder.output_projection)
    usual = network.eval()(**make_sample(task, PIECES)["net_input"])[0]
    if kind == "own features":
        network.decoder.__class__ = LouderFeatures
    net_input = make_sample(task, PIECES)["net_input"]
    features, projection = decoder_output(network, net_input)
    logits = network(**net_input)[0]
    assert features.shape == (*logits.shape[:2], 16 if kind == "other width" else 32)
    assert projection.weight is network.decoder.output_projection.weight
    assert projection.bias is network.decoder.output_projection.bias
    assert (projection.bias is not None) == (kind == "bias")
    assert (projection.weight is network.decoder.embed_tokens.weight) == (kind in ("tied", "bart"))
    torch.testing.assert_close(F.linear(features, *projection), logits)
    assert torch.equal(logits, usual) == (kind != "own features")


class OwnOutputLayer(TransformerDecoder):
    def output_layer(self, features):
        return super().output_layer(features).tanh()


class OwnForward(TransformerDecoder):
    def forward(self, *args, **kwargs):
        logits, extra = super().forward(*args, **kwargs)
        return logits.tanh(), extra


class OwnProjection(nn.Linear):
    def forward(self, features):
        return super().forward(features).tanh()


class Wrapper(nn.Module):
    """A wrapper that nobody knows, with an answer of its own."""

    def __init__(self, model):
        super().__init__()
        self.module, self.decoder = model, model.decoder

    def forward(self, *args, **kwargs):
        logits, extra = self.module(*args, **kwargs)
        return logits.tanh(), extra


def with_own_output_layer(network):
    network.decoder.__class__ = OwnOutputLayer
    return network


def with_own_forward(network):
    network.decoder.__class__ = OwnForward
    return network


def with_own_projection(network):
    network.decoder.output_projection.__class__ = OwnProjection
    return network


def with_changed_logits(network):
    network.decoder.output_projection.register_forward_hook(lambda layer, inputs, logits: logits.tanh())
    return network


def with_changed_features(network):
    network.decoder.output_projection.register_forward_pre_hook(lambda layer, inputs: (inputs[0].tanh(),))
    return network


CHANGES = [
    with_own_output_layer, with_own_forward, with_own_projection, with_changed_logits, with_changed_features, Wrapper,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_logits_where_the_projection_is_not_the_last_word(build, change):
    criterion, network, task = build("--soft-prediction", "sparsemax")
    sample = make_sample(task, PIECES)
    usual = network.eval()(**sample["net_input"])[0]
    network = change(network)
    logits, projection = decoder_output(network, sample["net_input"])
    assert projection is None
    torch.testing.assert_close(logits, network(**sample["net_input"])[0])
    assert not torch.allclose(logits, usual)
    torch.testing.assert_close(criterion(network, sample)[0], -criterion.bertscore(logits, sample["target"]).f1.sum())


@pytest.mark.parametrize("arch", ["lstm", "fconv", "transformer_align", "multilingual"])
def test_logits_of_models_that_offer_no_features(build, arch):
    known = arch if arch in ("lstm", "fconv") else "transformer"
    _, network, task = build(*(["--arch", arch] if arch == "transformer_align" else []), model=known)
    if arch == "multilingual":  # what multilingual_transformer makes of each pair of languages
        network = FairseqEncoderDecoderModel(network.encoder, network.decoder)
    sample = make_sample(task, PIECES)
    logits, projection = decoder_output(network.eval(), sample["net_input"])
    assert projection is None
    torch.testing.assert_close(logits, network(**sample["net_input"])[0])


def test_a_projection_of_weight_norm_learns(build):
    """torch.nn.utils.weight_norm makes the weight anew in each forward pass of the projection, out of g and v."""
    criterion, network, task = build("--soft-prediction", "sparsemax")
    nn.utils.weight_norm(network.decoder.output_projection)
    sample = make_sample(task, PIECES)
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss, _, _ = criterion(network, sample)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        assert network.decoder.output_projection.weight_g.grad.abs().sum() > 0
    assert losses[2] < losses[1] < losses[0]


@pytest.mark.parametrize("wrapped", [False, True])
def test_adaptive_softmax_is_refused(build, wrapped, group):
    _, network, task = build("--adaptive-softmax-cutoff", "20,40")
    if wrapped:
        network = ModuleProxyWrapper(LegacyDistributedDataParallel(network, group))
    with pytest.raises(ValueError, match="adaptive softmax does not give: train .* without --adaptive-softmax-cutoff"):
        decoder_output(network, make_sample(task, PIECES)["net_input"])


# Wrapped for distributed training.


@pytest.fixture(scope="module")
def group():
    """A process group of this process alone."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield torch.distributed.group.WORLD
    torch.distributed.destroy_process_group()


WRAPPED = {
    "legacy_ddp": lambda network, group: ModuleProxyWrapper(LegacyDistributedDataParallel(network, group)),
    "pytorch_ddp": lambda network, group: ModuleProxyWrapper(DistributedDataParallel(network)),
    "heartbeat": lambda network, group: DistributedTimeoutWrapper(
        ModuleProxyWrapper(DistributedDataParallel(network)), timeout=0
    ),
    "unused": lambda network, group: ModuleProxyWrapper(DistributedDataParallel(network, find_unused_parameters=True)),
}


@pytest.mark.parametrize("tied", [[], ["--share-decoder-input-output-embed"]], ids=["untied", "tied"])
def test_wrapped_models(build, group, tied):
    """DDP that looks for unused parameters would take the projection for one: it sees only what forward returns."""
    criterion, original, task = build("--soft-prediction", "sparsemax", *tied)
    sample = make_sample(task, PIECES)
    expected, _, _ = criterion(original, sample)
    gradient = gradients(expected, original)
    for kind, wrap in WRAPPED.items():
        network = copy.deepcopy(original)
        wrapped = wrap(network, group)
        assert (decoder_output(wrapped, sample["net_input"])[1] is None) == (kind == "unused"), kind
        # In between, a batch of which nothing is scored; whatever a pass leaves undone, DDP complains of in the next.
        for batch in (sample, make_sample(task, [LONG]), sample):
            network.zero_grad()
            loss, size, _ = criterion(wrapped, batch)
            loss.backward()
            if kind == "legacy_ddp":
                wrapped.all_reduce_grads()
            torch.testing.assert_close(loss, expected if size else torch.tensor(0.0))
            for name, parameter in network.named_parameters():
                wanted = gradient[name] if size else torch.zeros_like(parameter)
                torch.testing.assert_close(parameter.grad, wanted, rtol=1e-4, atol=1e-6)


# The criterion's numbers are the same with features as with logits.


def numbers(criterion, network, sample, reduce=True):
    """Loss, log and gradients of a batch."""
    torch.manual_seed(4)  # of the Gumbel noise
    loss, size, log = criterion(network, sample, reduce=reduce)
    upstream = torch.arange(1.0, 1 + loss.numel(), dtype=loss.dtype).view(loss.shape)
    return loss, log | {"size": size}, gradients((loss * upstream).sum(), network)


def assert_same(ours, theirs):
    """Compares to 1e-6 of each number's size; a gradient's size is its norm, and rounding moves what should be 0."""
    (loss, log, gradient), (its_loss, its_log, its_gradient) = ours, theirs
    torch.testing.assert_close(loss, its_loss, rtol=1e-6, atol=0)
    assert list(log) == list(its_log)
    for name, value in its_log.items():
        torch.testing.assert_close(torch.as_tensor(log[name]), torch.as_tensor(value), rtol=1e-6, atol=0)
    rounding = 10 * torch.finfo(loss.dtype).eps * sum(value.norm() for value in its_gradient.values())
    assert rounding > 0
    for name, value in its_gradient.items():
        assert (gradient[name] - value).norm() <= 1e-6 * value.norm() + rounding, name


def assert_same_numbers(criterion, network, sample, monkeypatch, reduce=True):
    """From features and from logits."""
    assert decoder_output(network, sample["net_input"])[1] is not None
    from_features = numbers(criterion, network, sample, reduce)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_projects_last", lambda model: False)
        assert decoder_output(network, sample["net_input"])[1] is None
        assert_same(from_features, numbers(criterion, network, sample, reduce))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("kind", SOFT_PREDICTIONS)
def test_features_give_the_numbers_of_logits(build, kind, dtype, monkeypatch):
    """Float64 leaves no room for luck. One target of four does not fit and is skipped."""
    mixed = ["--cross-entropy-weight", "0.5"]
    for options in ([], [*mixed, "--temperature", "0.7"], [*mixed, "--label-smoothing", "0.1"]):
        criterion, network, task = build("--soft-prediction", kind, *options)
        give_bias(network.decoder.output_projection)
        sample = make_sample(task, [*PIECES, LONG])
        assert (sample["target"] == 1).sum(dim=1).unique().numel() > 2, "no padding"
        criterion.to(dtype), network.to(dtype)
        assert criterion(network, sample)[2]["skipped"] == 1
        assert_same_numbers(criterion, network, sample, monkeypatch)


def test_features_give_the_numbers_of_logits_with_a_tied_projection(build, monkeypatch):
    criterion, network, task = build(
        "--share-decoder-input-output-embed", "--cross-entropy-weight", "0.5", "--chunk-tokens", "7"
    )
    criterion.double(), network.double()
    for kind in SOFT_PREDICTIONS:
        criterion.bertscore.soft_prediction = kind
        assert_same_numbers(criterion, network, make_sample(task, PIECES), monkeypatch, reduce=False)


def test_features_give_the_numbers_of_logits_with_hard_gumbel(build, monkeypatch):
    for temperature in ("0.1", "0.7"):  # noise for the symbols that matter alone, and for all
        options = ["--gumbel-hard", "--temperature", temperature]
        criterion, network, task = build(*options, "--cross-entropy-weight", "0.5")
        criterion.double(), network.double()
        assert_same_numbers(criterion, network, make_sample(task, PIECES), monkeypatch)


def test_features_give_the_numbers_of_logits_with_symbols_ruled_out(build, monkeypatch):
    criterion, network, task = build("--cross-entropy-weight", "0.3", "--label-smoothing", "0.1", "--chunk-tokens", "5")
    sample = make_sample(task, PIECES)
    give_bias(network.decoder.output_projection)
    ruled_out = [symbol for symbol in range(4, 30) if not (sample["target"] == symbol).any()]
    with torch.no_grad():
        network.decoder.output_projection.bias[ruled_out] = -torch.inf
    assert len(ruled_out) > 5
    assert_same_numbers(criterion.double(), network.double(), sample, monkeypatch, reduce=False)


def test_features_give_the_numbers_of_logits_in_validation(build, monkeypatch):
    criterion, network, task = build("--cross-entropy-weight", "0.5")
    sample = make_sample(task, [*PIECES, LONG])
    criterion.eval(), network.eval()
    with torch.no_grad():
        loss, _, log = criterion(network, sample)
        monkeypatch.setattr(module, "_projects_last", lambda model: False)
        its_loss, _, its_log = criterion(network, sample)
    torch.testing.assert_close(loss, its_loss, rtol=1e-6, atol=0)
    assert {k: float(v) for k, v in log.items()} == pytest.approx({k: float(v) for k, v in its_log.items()}, rel=1e-6)


def test_padding_on_the_left(build):
    criterion, network, task = build("--soft-prediction", "sparsemax", "--cross-entropy-weight", "0.5")
    criterion.double(), network.double()
    sample = make_sample(task, [*PIECES, LONG])
    usual = numbers(criterion, network, sample)
    padding = (sample["target"] == 1).sum(dim=1).tolist()
    for batch, name in ((sample, "target"), (sample["net_input"], "prev_output_tokens")):
        batch[name] = torch.stack([row.roll(n) for row, n in zip(batch[name], padding, strict=True)])
    assert (sample["target"][:3, 0] == 1).all()
    assert_same(numbers(criterion, network, sample), usual)


def test_a_frozen_projection(build):
    """A model whose projection does not learn: the others learn what they learned before."""
    criterion, network, task = build("--soft-prediction", "sparsemax", "--cross-entropy-weight", "0.5")
    sample = make_sample(task, PIECES)
    expected = gradients(criterion(network, sample)[0], network)
    network.decoder.output_projection.requires_grad_(False)
    criterion(network, sample)[0].backward()
    for name, parameter in network.named_parameters():
        if name == "decoder.output_projection.weight":
            assert parameter.grad is None
        else:
            torch.testing.assert_close(parameter.grad, expected[name])
