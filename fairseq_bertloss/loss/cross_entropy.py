"""Decoder features -> cross-entropy and the model's own distribution over the vocabulary, chunk by chunk of tokens."""

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fairseq_bertloss.loss.output_layer import KEPT_BYTES, Chunking, Kept, Projection, joined


class TokenStatistics(NamedTuple):
    """What training wants to know of each target's distribution; gradients flow through the first two."""

    nll: Tensor  # (targets,), -log p(target) of the model, nats
    uniform: Tensor | None  # (targets,), -sum_i log p(i) over the symbols the model does not rule out
    correct: Tensor  # (targets,) bool, the target is the model's most probable symbol
    p_eos: Tensor  # (targets,), the model's probability of </s>


def token_statistics(
    features: Tensor,
    target: Tensor,
    projection: Projection | None = None,
    *,
    token_index: Tensor | None = None,
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
        token_index: (targets,) on the CPU and ascending, the token whose distribution each target is looked up in:
            sentences that begin alike share theirs. None: each token has one target.
        eos: index of </s>.
        with_uniform: whether `uniform` is wanted, for label smoothing.
        chunk_tokens: tokens whose logits exist at a time; None: as many as suit the device.
        kept_bytes: what the backward pass needs is kept up to so much, and computed again beyond it.

    Raises:
        ValueError: shapes disagree, token_index descends, there is no token, or chunk_tokens is below 1.
    """
    if token_index is None:
        check_target(features, target)
        token_index = torch.arange(len(target))
    elif token_index.shape != target.shape:
        raise ValueError(f"target {tuple(target.shape)} and token_index {tuple(token_index.shape)} disagree")
    elif (token_index.diff() < 0).any():
        raise ValueError("token_index must ascend")
    chunking = Chunking.of(features, projection, chunk_tokens)
    weight, bias = (None, None) if projection is None else projection
    # The operator itself always runs without a graph.
    kept_bytes = kept_bytes if torch.is_grad_enabled() else 0
    plan = _Plan(chunking, token_index, eos, with_uniform, kept_bytes)
    with torch.autocast(features.device.type, enabled=False):
        return TokenStatistics(*_TokenStatistics.apply(features, weight, bias, target, plan))


def check_target(features: Tensor, target: Tensor) -> None:
    """Raises ValueError unless there is a target for each token."""
    if features.shape[:1] != target.shape:
        raise ValueError(f"predictions {tuple(features.shape)} and target {tuple(target.shape)} disagree")


class _Chunk(NamedTuple):
    """Some of the tokens and the targets that are looked up there."""

    tokens: slice
    targets: slice
    token_index: Tensor  # (targets,), which of the chunk's tokens, on the features' device


class _Plan(NamedTuple):
    """What the operator is to do, apart from the tensors that it differentiates."""

    chunking: Chunking
    token_index: Tensor
    eos: int
    with_uniform: bool
    kept_bytes: int

    def chunks(self, features: Tensor) -> Iterator[_Chunk]:
        """All tokens with their targets, chunk by chunk."""
        for tokens in self.chunking.chunks(len(features)):
            bounds = torch.tensor([tokens.start, tokens.stop])
            targets = slice(*torch.searchsorted(self.token_index, bounds).tolist())
            within = self.token_index[targets] - tokens.start
            yield _Chunk(tokens, targets, within.to(features.device, non_blocking=True))


class _TokenStatistics(torch.autograd.Function):
    """Tensors in, the fields of TokenStatistics out."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor | None, bias: Tensor | None, target: Tensor, plan: _Plan
    ) -> TokenStatistics:
        output_layer = plan.chunking.output_layer(features, weight, bias)
        kept = Kept(plan.kept_bytes)
        parts = []
        for chunk in plan.chunks(features):
            logits = output_layer.logits(chunk.tokens)
            model = ModelDistribution.of(logits)
            parts.append(
                model.statistics(logits, target[chunk.targets], chunk.token_index, plan.eos, plan.with_uniform)
            )
            needed = (model, logits) if plan.with_uniform else (model, None)
            kept.offer(chunk.tokens, needed, model.masses.nbytes * (1 + plan.with_uniform))
        ctx.plan = plan
        ctx.kept = kept
        ctx.save_for_backward(features, weight, bias, target)
        ctx.set_materialize_grads(False)
        outputs = joined(parts)
        ctx.mark_non_differentiable(outputs.correct, outputs.p_eos)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, nll: Tensor | None, uniform: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        if nll is None and uniform is None:
            return (None,) * 5
        features, weight, bias, target = ctx.saved_tensors
        output_layer = ctx.plan.chunking.output_layer(features, weight, bias)
        for chunk in ctx.plan.chunks(features):
            model, logits = ctx.kept.take(chunk.tokens) or (None, None)
            if model is None:
                logits = output_layer.logits(chunk.tokens)
                model = ModelDistribution.of(logits)
            learning = (None if whole is None else whole[chunk.targets] for whole in (nll, uniform))
            gradient = model.gradient_(logits, target[chunk.targets], chunk.token_index, *learning)
            output_layer.add_gradient(chunk.tokens, gradient, None)
        return *output_layer.gradients(), None, None


class ModelDistribution(NamedTuple):
    """The model's own distribution over the vocabulary, without temperature or noise, for a chunk of logits."""

    masses: Tensor  # (n, vocabulary), probabilities times `total`
    total: Tensor  # (n, 1)
    largest: Tensor  # (n, 1), logit, which all others are taken relative to: they may share a large offset
    most_probable: Tensor  # (n, 1), its symbol

    @classmethod
    def of(cls, logits: Tensor) -> "ModelDistribution":
        """The distribution that logits (n, vocabulary) stand for; they stay as they are."""
        largest, most_probable = logits.max(dim=-1, keepdim=True)
        masses = (logits - largest).exp_()
        total = masses.sum(dim=-1, keepdim=True)
        return cls(masses, total, largest, most_probable)

    def statistics(
        self, logits: Tensor, target: Tensor, token_index: Tensor, eos: int, with_uniform: bool
    ) -> TokenStatistics:
        """Statistics of targets, without a graph.

        Args:
            logits: (n, vocabulary), of which this is the distribution.
            target: (targets,) symbol indices.
            token_index: (targets,), the token whose distribution each is looked up in.
            eos: index of </s>.
            with_uniform: whether `uniform` is wanted.
        """
        total = self.total.squeeze(1)
        largest = self.largest.squeeze(1)
        nll = total.log()[token_index] + (largest[token_index] - logits[token_index, target])
        uniform = None
        if with_uniform:
            possible = ~logits.isneginf()
            below = (self.largest - logits).masked_fill_(~possible, 0.0).sum(dim=-1)
            uniform = (below + possible.sum(dim=-1) * total.log())[token_index]
        p_eos = self.masses[:, eos] / total
        correct = self.most_probable.squeeze(1)[token_index].eq(target)
        return TokenStatistics(nll, uniform, correct, p_eos[token_index])

    def gradient_(
        self,
        logits: Tensor | None,
        target: Tensor,
        token_index: Tensor,
        nll: Tensor | None,
        uniform: Tensor | None,
    ) -> Tensor:
        """The gradient of the logits from those of nll and uniform, (n, vocabulary), which takes the masses' place.

        Args:
            logits: (n, vocabulary); may be None where there is no gradient of uniform.
            target, token_index: as of `statistics`.
            nll, uniform: the gradients, (targets,); None where there is none.
        """
        share = torch.zeros_like(self.total).squeeze(1)
        if nll is not None:
            share.index_add_(0, token_index, nll)
        if uniform is not None:
            possible = ~cast(Tensor, logits).isneginf()
            pull = torch.zeros_like(share).index_add_(0, token_index, uniform)
            share += pull * possible.sum(dim=-1)
        gradient = self.masses.mul_((share / self.total.squeeze(1)).unsqueeze(1))
        if nll is not None:
            gradient.index_put_((token_index, target), -nll, accumulate=True)
        if uniform is not None:
            gradient.addcmul_(possible.to(gradient.dtype), pull.unsqueeze(1), value=-1)
        return gradient
