"""Decoder features -> cross-entropy and the model's own distribution over the vocabulary, a chunk of tokens at a time."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fairseq_bertloss.loss.output_layer import KEPT_BYTES, Chunking, Kept, Projection, joined


class TokenStatistics(NamedTuple):
    """What training wants to know of each target's distribution, (targets,) each; gradients flow through the first two."""

    nll: Tensor  # -log p(target) of the model, nats
    uniform: Tensor | None  # -sum_i log p(i) over the symbols the model does not rule out
    correct: Tensor  # bool, the target is the model's most probable symbol
    p_eos: Tensor  # the model's probability of </s>


def token_statistics(
    features: Tensor,
    target: Tensor,
    projection: Projection | None = None,
    *,
    of: Tensor | None = None,
    eos: int = 0,
    with_uniform: bool = False,
    chunk_tokens: int | None = None,
    kept_bytes: int = KEPT_BYTES,
) -> TokenStatistics:
    """The statistics of each target, without a tensor over the vocabulary for all of them.

    Args:
        features: decoder features (tokens, dim), or logits (tokens, vocabulary) without a projection.
        target: (targets,) symbol indices.
        projection: the decoder's output layer, which gets its gradient.
        of: (targets,) on the CPU and ascending, the token that each target may follow: sentences that begin alike share
            theirs. None: each token has one target.
        eos: index of </s>.
        with_uniform: whether `uniform` is wanted, for label smoothing.
        chunk_tokens: tokens whose logits exist at a time; None: as many as suit the device.
        kept_bytes: what the backward pass needs is kept up to so much, and computed again beyond it.

    Raises:
        ValueError: shapes disagree, `of` descends, there is no token, or chunk_tokens is below 1.
    """
    if of is None:
        check_target(features, target)
        of = torch.arange(len(target))
    elif of.shape != target.shape:
        raise ValueError(f"target {tuple(target.shape)} and the tokens it is asked of {tuple(of.shape)} disagree")
    elif (of.diff() < 0).any():
        raise ValueError("the tokens that targets are asked of must ascend")
    chunking = Chunking.of(features, projection, chunk_tokens)
    weight, bias = (None, None) if projection is None else projection
    # The operator itself always runs without a graph.
    kept_bytes = kept_bytes if torch.is_grad_enabled() else 0
    plan = _Plan(chunking, of, eos, with_uniform, kept_bytes)
    with torch.autocast(features.device.type, enabled=False):
        return TokenStatistics(*_TokenStatistics.apply(features, weight, bias, target, plan))


def check_target(features: Tensor, target: Tensor) -> None:
    """Raises ValueError unless there is a target for each token."""
    if features.shape[:1] != target.shape:
        raise ValueError(f"predictions {tuple(features.shape)} and target {tuple(target.shape)} disagree")


class _Plan(NamedTuple):
    chunking: Chunking
    of: Tensor
    eos: int
    with_uniform: bool
    kept_bytes: int

    def chunks(self, features: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
        """Tokens, their targets, and which of the chunk's tokens each target is asked of."""
        for rows in self.chunking.chunks(len(features)):
            first, last = torch.searchsorted(self.of, torch.tensor([rows.start, rows.stop])).tolist()
            yield rows, slice(first, last), (self.of[first:last] - rows.start).to(features.device, non_blocking=True)


class _TokenStatistics(torch.autograd.Function):
    """Tensors in, the fields of TokenStatistics out."""

    @staticmethod
    def forward(ctx, features, weight, bias, target, plan):
        layer = plan.chunking.layer(features, weight, bias)
        kept, columns = Kept(plan.kept_bytes), []
        for rows, targets, of in plan.chunks(features):
            scores = layer.logits(rows)
            model = ModelDistribution.of(scores)
            columns.append(model.statistics(scores, target[targets], of, plan.eos, plan.with_uniform))
            needed = (model, scores) if plan.with_uniform else (model, None)
            kept.offer(rows, needed, model.masses.nbytes * (1 + plan.with_uniform))
        ctx.plan, ctx.kept = plan, kept
        ctx.save_for_backward(features, weight, bias, target)
        ctx.set_materialize_grads(False)
        outputs = joined(columns)
        ctx.mark_non_differentiable(*outputs[2:])
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx, nll, uniform, *_):
        if nll is None and uniform is None:
            return (None,) * 5
        features, weight, bias, target = ctx.saved_tensors
        layer = ctx.plan.chunking.layer(features, weight, bias)
        for rows, targets, of in ctx.plan.chunks(features):
            model, scores = ctx.kept.take(rows) or (None, None)
            if model is None:
                scores = layer.logits(rows)
                model = ModelDistribution.of(scores)
            learning = (None if whole is None else whole[targets] for whole in (nll, uniform))
            layer.add_gradient(rows, model.gradient(scores, target[targets], of, *learning), None)
        return *layer.gradients(), None, None


class ModelDistribution(NamedTuple):
    """The model's own distribution over the vocabulary, without temperature or noise, for a chunk of logits."""

    masses: Tensor  # (n, vocabulary), probabilities times `total`
    total: Tensor  # (n, 1)
    largest: Tensor  # (n, 1), logit, which all others are taken relative to: they may share a large offset
    most_probable: Tensor  # (n, 1), its symbol

    @classmethod
    def of(cls, scores: Tensor) -> "ModelDistribution":
        """From logits (n, vocabulary), which stay as they are."""
        largest, most_probable = scores.max(dim=-1, keepdim=True)
        masses = (scores - largest).exp_()
        total = masses.sum(dim=-1, keepdim=True)
        return cls(masses, total, largest, most_probable)

    def statistics(self, scores: Tensor, target: Tensor, of: Tensor, eos: int, with_uniform: bool) -> TokenStatistics:
        """Of targets (targets,), each asked of the row `of` of the logits; without a graph."""
        total, largest = self.total.squeeze(1), self.largest.squeeze(1)
        nll, uniform = total.log()[of] + (largest[of] - scores[of, target]), None
        if with_uniform:
            possible = ~scores.isneginf()
            below = (self.largest - scores).masked_fill_(~possible, 0.0).sum(dim=-1)
            uniform = (below + possible.sum(dim=-1) * total.log())[of]
        p_eos = self.masses[:, eos] / total
        correct = self.most_probable.squeeze(1)[of].eq(target)
        return TokenStatistics(nll, uniform, correct, p_eos[of])

    def gradient(
        self, scores: Tensor | None, target: Tensor, of: Tensor, nll: Tensor | None, uniform: Tensor | None
    ) -> Tensor:
        """The gradient of the logits from those of nll and uniform, (n, vocabulary), which takes the masses' place.

        Args:
            scores: the logits; may be None where there is no gradient of uniform.
        """
        share = torch.zeros_like(self.total).squeeze(1)
        if nll is not None:
            share.index_add_(0, of, nll)
        if uniform is not None:
            possible = ~scores.isneginf()
            pull = torch.zeros_like(share).index_add_(0, of, uniform)
            share += pull * possible.sum(dim=-1)
        gradient = self.masses.mul_((share / self.total.squeeze(1)).unsqueeze(1))
        if nll is not None:
            gradient.index_put_((of, target), -nll, accumulate=True)
        if uniform is not None:
            gradient.addcmul_(possible.to(gradient.dtype), pull.unsqueeze(1), value=-1)
        return gradient
