"""What a fairseq decoder hands over to the loss: features and their projection, or logits where a model has its own way."""

import contextlib
import inspect
from collections.abc import Iterator

from fairseq.distributed import DistributedTimeoutWrapper, LegacyDistributedDataParallel, ModuleProxyWrapper
from fairseq.models.transformer import TransformerDecoderBase
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fairseq_bertloss.output_layer import Projection

WRAPPERS = (ModuleProxyWrapper, DistributedTimeoutWrapper, LegacyDistributedDataParallel, DistributedDataParallel)


def decoder_output(model: nn.Module, net_input: dict) -> tuple[Tensor, Projection | None]:
    """Features (batch, length, dim) with the projection that makes logits of them, or logits and None.

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
        return model(**net_input)[0], None
    layer = model.decoder.output_projection
    return model(**net_input, features_only=True)[0], Projection(layer.weight, layer.bias)


@contextlib.contextmanager
def encoder_output_repeated(model: nn.Module, order: Tensor) -> Iterator[None]:
    """For the time of a with statement, the decoder finds the encoder's output in another order.

    The encoder reads every source once, however often `order` names it. A hook does it, so that the model, wrapped for
    distributed training or not, is still called as a whole.

    Args:
        model: a fairseq encoder-decoder.
        order: (rows,), which source each row of prev_output_tokens belongs to.
    """
    hook = model.encoder.register_forward_hook(
        lambda encoder, _, output: encoder.reorder_encoder_out(output, order)
    )
    try:
        yield
    finally:
        hook.remove()


def _projects_last(model: nn.Module) -> bool:
    """Whether the logits are a linear layer's, whose weight may get its gradient outside of the model's forward."""
    while isinstance(model, WRAPPERS):
        if getattr(model, "find_unused_parameters", False):
            return False  # DDP would take the projection for unused
        model = model.module
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
    """Whether somebody acts on what the layer does, as weight_norm does, which makes the weight before each forward."""
    return any((layer._forward_pre_hooks, layer._forward_hooks, layer._backward_pre_hooks, layer._backward_hooks))
