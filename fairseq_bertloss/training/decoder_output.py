"""What a fairseq decoder hands over to the loss: features and their projection, or logits if a model makes its own."""

import inspect
from collections.abc import Sequence
from typing import NamedTuple

import torch
from fairseq.distributed import DistributedTimeoutWrapper, LegacyDistributedDataParallel, ModuleProxyWrapper
from fairseq.models.transformer import TransformerDecoderBase
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fairseq_bertloss.loss.output_layer import Projection

WRAPPERS = (ModuleProxyWrapper, DistributedTimeoutWrapper, LegacyDistributedDataParallel, DistributedDataParallel)


class DecoderOutput(NamedTuple):
    """Features with the projection that makes logits of them, or logits."""

    features: Tensor  # (batch, length, dim), or logits (batch, length, vocabulary) where there is no projection
    projection: Projection | None


class TargetBatch(NamedTuple):
    """Target sides that are decoded together."""

    prev_output_tokens: Tensor  # (target sides, length)
    source_index: Tensor  # (target sides,), which of the sources each belongs to
    learns: bool  # whether gradients flow from them


def decoder_output(model: nn.Module, net_input: dict) -> DecoderOutput:
    """What the loss reads of a pass of the model.

    Args:
        model: a fairseq encoder-decoder, as it comes or wrapped for distributed training.
        net_input: its arguments.

    Raises:
        ValueError: the model has an adaptive softmax.
    """
    if getattr(model.decoder, "adaptive_softmax", None) is not None:
        raise ValueError(
            "bertscore_loss needs the probability of every symbol, which an adaptive softmax does not give: "
            "train the model without --adaptive-softmax-cutoff"
        )
    if not _projects_last(model):
        return DecoderOutput(model(**net_input)[0], None)
    output_projection = model.decoder.output_projection
    features = model(**net_input, features_only=True)[0]
    return DecoderOutput(features, Projection(output_projection.weight, output_projection.bias))


def decoder_outputs(model: nn.Module, net_input: dict, batches: Sequence[TargetBatch]) -> list[DecoderOutput]:
    """What the loss reads of several batches of target sides, for which the encoder reads the sources once.

    The model, which may be wrapped for distributed training, is still called as a whole; its encoder then answers with
    what it has read.

    Args:
        model: a fairseq encoder-decoder.
        net_input: its arguments, with the sources; prev_output_tokens are ignored.
        batches: of target sides.

    Raises:
        ValueError: the model has an adaptive softmax.
    """
    outputs = []
    encoder = model.encoder
    encoded = encoder(**{name: part for name, part in net_input.items() if name != "prev_output_tokens"})
    own = vars(encoder).get("forward")
    try:
        for batch in batches:
            encoder.forward = lambda *_, batch=batch, **__: encoder.reorder_encoder_out(encoded, batch.source_index)
            with torch.set_grad_enabled(torch.is_grad_enabled() and batch.learns):
                read = net_input | {"prev_output_tokens": batch.prev_output_tokens}
                outputs.append(decoder_output(model, read))
    finally:
        vars(encoder).pop("forward", None)
        if own is not None:
            encoder.forward = own
    return outputs


def one_pass_an_update(model: nn.Module) -> bool:
    """Whether torch's DistributedDataParallel wraps the model.

    It counts what each pass leaves unused, and may wait for the other workers at each.
    """
    _, wrappers = unwrapped(model)
    return any(isinstance(wrapper, DistributedDataParallel) for wrapper in wrappers)


def unwrapped(model: nn.Module) -> tuple[nn.Module, list[nn.Module]]:
    """The model itself, and what wraps it for distributed training, from the outside inwards."""
    wrappers = []
    while isinstance(model, WRAPPERS):
        wrappers.append(model)
        model = model.module
    return model, wrappers


def _projects_last(model: nn.Module) -> bool:
    """Whether the logits are a linear layer's, whose weight may get its gradient outside of the model's forward."""
    model, wrappers = unwrapped(model)
    if any(getattr(wrapper, "find_unused_parameters", False) for wrapper in wrappers):
        return False  # DDP would take the projection for unused
    decoder = getattr(model, "decoder", None)  # another wrapper may hide it
    return (
        isinstance(decoder, TransformerDecoderBase)
        and type(decoder).forward is TransformerDecoderBase.forward
        and type(decoder).output_layer is TransformerDecoderBase.output_layer
        and type(decoder.output_projection) is nn.Linear
        and not _has_hooks(decoder.output_projection)
        and "features_only" in inspect.signature(model.forward).parameters
    )


def _has_hooks(layer: nn.Module) -> bool:
    """Whether hooks act on what the layer does, as those of weight_norm, which makes the weight before each forward."""
    return any((layer._forward_pre_hooks, layer._forward_hooks, layer._backward_pre_hooks, layer._backward_hooks))
