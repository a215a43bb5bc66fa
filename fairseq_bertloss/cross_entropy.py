"""Decoder features -> cross-entropy and the model's own distribution over the vocabulary, a chunk of tokens at a time."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fairseq_bertloss.output_layer import KEPT_BYTES, Chunking, Projection


class TokenStatistics(NamedTuple):
    """What training wants to know of each token's distribution; gradients flow through the first two."""

    nll: Tensor  # (tokens,), -log p(target) of the model, nats
    uniform: Tensor | None  # (tokens,), -sum_i log p(i) over the symbols the model does not rule out
    correct: Tensor  # (tokens,) bool, the target is the model's most probable symbol
    p_eos: Tensor  # (tokens,), the model's probability of </s>


def token_statistics(
    features: Tensor,
    target: Tensor,
    projection: Projection | None = None,
    *,
    eos: int = 0,
    with_uniform: bool = False,
    chunk_tokens: int | None = None,
    kept_bytes: int = KEPT_BYTES,
) -> TokenStatistics:
    """The statistics of each token, without a tensor over the vocabulary for all of them.

    Args:
        features: decoder features (tokens, dim), or logits (tokens, vocabulary) without a projection.
        target: (tokens,) symbol indices.
        projection: the decoder's output layer, which gets its gradient.
        eos: index of </s>.
        with_uniform: whether `uniform` is wanted, for label smoothing.
        chunk_tokens: tokens whose logits exist at a time; None: as many as suit the device.
        kept_bytes: probabilities kept for the backward pass at most, without `uniform`; the others are computed again.

    Raises:
        ValueError: shapes disagree, there is no token, or chunk_tokens is below 1.
    """
    chunking = Chunking.of(features, target, projection, chunk_tokens)
    weight, bias = (None, None) if projection is None else projection
    # The operator itself always runs without a graph.
    kept_bytes = kept_bytes if torch.is_grad_enabled() and not with_uniform else 0
    plan = _Plan(chunking, eos, with_uniform, kept_bytes)
    with torch.autocast(features.device.type, enabled=False):
        return TokenStatistics(*_TokenStatistics.apply(features, weight, bias, target, plan))


class _Plan(NamedTuple):
    chunking: Chunking
    eos: int
    with_uniform: bool
    kept_bytes: int


class _TokenStatistics(torch.autograd.Function):
    """Tensors in, the fields of TokenStatistics out."""

    @staticmethod
    def forward(ctx, features, weight, bias, target, plan):
        layer = plan.chunking.layer(features, weight, bias)
        room, kept, columns = plan.kept_bytes, {}, []
        for rows in plan.chunking.chunks(len(features)):
            scores = layer.logits(rows)
            model = ModelDistribution.of(scores)
            columns.append(model.statistics(scores, target[rows], plan.eos, plan.with_uniform))
            if model.masses.nbytes <= room:
                room -= model.masses.nbytes
                kept[rows.start] = model
        ctx.plan, ctx.kept = plan, kept
        ctx.save_for_backward(features, weight, bias, target)
        ctx.set_materialize_grads(False)
        outputs = tuple(None if parts[0] is None else torch.cat(parts) for parts in zip(*columns))
        ctx.mark_non_differentiable(*outputs[2:])
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx, nll, uniform, *_):
        features, weight, bias, target = ctx.saved_tensors
        layer = ctx.plan.chunking.layer(features, weight, bias)
        for rows in ctx.plan.chunking.chunks(len(features) if nll is not None or uniform is not None else 0):
            # Taken away: a graph lives longer than its use. A second backward pass computes it again.
            model, scores = ctx.kept.pop(rows.start, None), None
            if model is None:
                scores = layer.logits(rows)
                model = ModelDistribution.of(scores)
            learning = (None if whole is None else whole[rows] for whole in (nll, uniform))
            layer.add_gradient(rows, model.gradient(scores, target[rows], *learning), None)
        return *layer.gradients(), None, None


class ModelDistribution(NamedTuple):
    """The model's own distribution over the vocabulary, without temperature or noise, for a chunk of logits."""

    masses: Tensor  # (n, vocabulary), probabilities times `total`
    total: Tensor  # (n, 1)
    log_total: Tensor  # (n, 1), logarithm of the exponentials' sum
    most_probable: Tensor  # (n, 1), symbol

    @classmethod
    def of(cls, scores: Tensor) -> "ModelDistribution":
        """From logits (n, vocabulary), which stay as they are."""
        largest, most_probable = scores.max(dim=-1, keepdim=True)
        masses = (scores - largest).exp_()
        total = masses.sum(dim=-1, keepdim=True)
        return cls(masses, total, largest + total.log(), most_probable)

    def statistics(self, scores: Tensor, target: Tensor, eos: int, with_uniform: bool) -> TokenStatistics:
        """Of targets (n,); without a graph."""
        target = target.unsqueeze(-1)
        nll = self.log_total - scores.gather(-1, target)
        uniform = None
        if with_uniform:
            possible = ~scores.isneginf()
            uniform = (self.log_total - scores).masked_fill_(~possible, 0.0).sum(dim=-1)
        p_eos = self.masses[:, eos] / self.total.squeeze(-1)
        return TokenStatistics(nll.squeeze(-1), uniform, self.most_probable.eq(target).squeeze(-1), p_eos)

    def gradient(self, scores: Tensor | None, target: Tensor, nll: Tensor | None, uniform: Tensor | None) -> Tensor:
        """The gradient of the logits from those of nll and uniform, (n, vocabulary), which takes the masses' place.

        Args:
            scores: the logits; may be None where there is no gradient of uniform.
        """
        share = torch.zeros_like(self.total)
        if nll is not None:
            share += nll.unsqueeze(-1)
        if uniform is not None:
            possible = ~scores.isneginf()
            share += uniform.unsqueeze(-1) * possible.sum(dim=-1, keepdim=True)
        gradient = self.masses.mul_(share / self.total)
        if nll is not None:
            gradient.scatter_add_(-1, target.unsqueeze(-1), -nll.unsqueeze(-1))
        if uniform is not None:
            gradient.addcmul_(possible.to(gradient.dtype), uniform.unsqueeze(-1), value=-1)
        return gradient
