"""Decoder features -> soft predictions x the language model's embedding table -> expected embeddings, in one operator.

A tensor over the vocabulary is large: 4,096 tokens x 30,522 symbols x 4 bytes = 500 MB. The operator goes through
the tokens in chunks, takes all that anybody wants to know of the logits from one pass over them, and keeps for
the backward pass what is small. A symbol of probability 0 has gradient 0: where a soft prediction is sparse, the
backward pass needs its support alone, and no product with the vocabulary.
"""

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from fairseq_bertloss.loss.cross_entropy import ModelDistribution, check_target
from fairseq_bertloss.loss.output_layer import (
    KEPT_BYTES,
    Chunking,
    GivenLogits,
    Kept,
    ProjectedLogits,
    Projection,
    joined,
)
from fairseq_bertloss.loss.soft_predictions import SoftPrediction
from fairseq_bertloss.loss.sparse import Predicted, Predictor


class TokenPredictions(NamedTuple):
    """Soft predictions as far as they matter, one row a token; gradients flow through the first four."""

    embeddings: Tensor  # (tokens, size), expected embeddings in the table's precision
    weights: Tensor | None  # (tokens,), expected symbol weights; None where no weights are given
    nll: Tensor  # (tokens,), -log p(target) of the model, nats
    uniform: Tensor | None  # (tokens,), -sum_i log p(i) over the symbols the model does not rule out
    correct: Tensor  # (tokens,) bool, the target is the model's most probable symbol
    p_eos: Tensor  # (tokens,), the model's probability of </s>
    entropy: Tensor  # (tokens,), of the soft prediction, nats
    support: Tensor  # (tokens,), how many symbols the soft prediction gives more than 0


def expected_embeddings(
    features: Tensor,
    target: Tensor,
    table: Tensor,
    soft: SoftPrediction,
    *,
    projection: Projection | None = None,
    symbol_weights: Tensor | None = None,
    eos: int = 0,
    with_uniform: bool = False,
    target_is_drawn: bool = False,
    chunk_tokens: int | None = None,
    kept_bytes: int = KEPT_BYTES,
) -> TokenPredictions:
    """The expectation of a symbol's embedding under the soft prediction of each token.

    Args:
        features: decoder features (tokens, dim), or logits (tokens, vocabulary) without a projection.
        target: (tokens,) symbol indices, for the statistics.
        table: (vocabulary, size), one row a symbol; no gradient flows into it.
        soft: how logits become soft predictions.
        projection: the decoder's output layer, which gets its gradient.
        symbol_weights: (vocabulary,), such as idf.
        eos: index of </s>.
        with_uniform: whether `uniform` is wanted, for label smoothing.
        target_is_drawn: whether the target is what Gumbel noise has drawn: the largest in each soft prediction.
        chunk_tokens: tokens whose logits exist at a time; None: as many as suit the device. Where Gumbel noise is
            drawn for every symbol, at high temperatures, which noise it is depends on the chunks.
        kept_bytes: probabilities kept for the backward pass at most, where they are dense; those beyond are
            computed again.

    Raises:
        ValueError: shapes disagree, there is no token, or chunk_tokens is below 1.
    """
    weight, bias = (None, None) if projection is None else projection
    vocabulary = features.size(-1) if weight is None else weight.size(0)
    check_vocabulary(vocabulary, table)
    check_target(features, target)
    chunking = Chunking.of(features, projection, chunk_tokens)
    # The operator itself always runs without a graph.
    kept_bytes = kept_bytes if torch.is_grad_enabled() else 0
    plan = _Plan(soft, symbol_weights, eos, with_uniform, target_is_drawn, chunking, kept_bytes)
    with torch.autocast(features.device.type, enabled=False):
        return TokenPredictions(*_ExpectedEmbeddings.apply(features, weight, bias, table, target, plan))


def check_vocabulary(symbols: int, table: Tensor) -> None:
    """Raises ValueError unless the table has a row for each of the predictions' symbols."""
    if symbols != len(table):
        raise ValueError(f"the predictions have {symbols} symbols, the dictionary has {len(table)}")


@dataclass(frozen=True)
class _Plan:
    """What the operator is to do, apart from the tensors that it differentiates."""

    soft: SoftPrediction
    symbol_weights: Tensor | None
    eos: int
    with_uniform: bool
    target_is_drawn: bool
    chunking: Chunking
    kept_bytes: int


class _Upstream(NamedTuple):
    """Gradients of the outputs that some flow through; None where nothing asks for one."""

    embeddings: Tensor | None
    weights: Tensor | None
    nll: Tensor | None
    uniform: Tensor | None

    @property
    def asks_soft_predictions(self) -> bool:
        """Whether the soft predictions get a gradient."""
        return self.embeddings is not None or self.weights is not None

    @property
    def asks_model(self) -> bool:
        """Whether the model's own distribution gets a gradient."""
        return self.nll is not None or self.uniform is not None

    def part(self, chunk: slice) -> "_Upstream":
        """The gradients of a chunk's tokens."""
        return _Upstream(*(None if whole is None else whole[chunk] for whole in self))


class _ExpectedEmbeddings(torch.autograd.Function):
    """Tensors in, the fields of TokenPredictions out."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        table: Tensor,
        target: Tensor,
        plan: _Plan,
    ) -> TokenPredictions:
        # A list of k symbols must not need more memory than the vocabulary, neither in embeddings nor in features.
        most = max(1, len(table) // max(table.size(1), 1 if weight is None else features.size(1)))
        predict = Predictor(plan.soft, len(features), len(table), most, features.device)
        operator = _ChunkOperator(plan.chunking.output_layer(features, weight, bias), predict, table, target, plan)
        kept = Kept(plan.kept_bytes)
        parts = []
        for chunk in plan.chunking.chunks(len(features)):
            predicted, outputs = operator.predicted(chunk)
            parts.append(outputs)
            kept.offer(chunk, predicted, predicted.nbytes)
        ctx.plan = plan
        ctx.predict = predict
        ctx.kept = kept
        ctx.save_for_backward(features, weight, bias, table, target)
        ctx.set_materialize_grads(False)
        outputs = joined(parts)
        ctx.mark_non_differentiable(outputs.correct, outputs.p_eos, outputs.entropy, outputs.support)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        embeddings, weights, nll, uniform, *_ = gradients
        upstream = _Upstream(embeddings, weights, nll, uniform)
        if not (upstream.asks_soft_predictions or upstream.asks_model):
            return (None,) * 6
        features, weight, bias, table, target = ctx.saved_tensors
        output_layer = ctx.plan.chunking.output_layer(features, weight, bias)
        operator = _ChunkOperator(output_layer, ctx.predict, table, target, ctx.plan)
        for chunk in ctx.plan.chunking.chunks(len(features)):
            operator.add_gradient(chunk, ctx.kept.take(chunk), upstream.part(chunk))
        return *output_layer.gradients(), None, None, None


class _ChunkOperator(NamedTuple):
    """The operator's work on one chunk of tokens; what it makes on the way is gone before the next."""

    output_layer: GivenLogits | ProjectedLogits
    predict: Predictor
    table: Tensor
    target: Tensor
    plan: _Plan

    def predicted(self, chunk: slice) -> tuple[Predicted, TokenPredictions]:
        """The chunk's soft predictions, and what the operator gives of them."""
        logits = self.output_layer.logits(chunk)
        model = ModelDistribution.of(logits)
        predicted = self._predict(logits, model, chunk)
        embeddings, weights = _expected(predicted, self.table, self.plan)
        token_index = _own_token(logits)
        tokens = model.statistics(logits, self.target[chunk], token_index, self.plan.eos, self.plan.with_uniform)
        entropy, support = _entropy_and_support(predicted)
        return predicted, TokenPredictions(
            embeddings, weights, tokens.nll, tokens.uniform, tokens.correct, tokens.p_eos, entropy, support
        )

    def add_gradient(self, chunk: slice, kept: Predicted | None, upstream: _Upstream) -> None:
        """Hands the output layer the gradient of the chunk's logits.

        Args:
            chunk: which tokens.
            kept: their soft predictions; None: they were not kept.
            upstream: gradients of the chunk's outputs.
        """
        if upstream.asks_model or kept is None:
            logits = self.output_layer.logits(chunk)
            model = ModelDistribution.of(logits)
        if upstream.asks_soft_predictions:
            predicted = kept or self._predict(logits, model, chunk)
            listed = predicted.gradient_(_probability_gradient(predicted, self.table, self.plan, upstream))
            if not upstream.asks_model:
                self.output_layer.add_gradient(chunk, listed, predicted.symbols)
                return
        whole = model.gradient_(logits, self.target[chunk], _own_token(logits), upstream.nll, upstream.uniform)
        if upstream.asks_soft_predictions:
            _add_(whole, listed, predicted.symbols)
        self.output_layer.add_gradient(chunk, whole, None)

    def _predict(self, logits: Tensor, model: ModelDistribution, chunk: slice) -> Predicted:
        drawn = self.target[chunk] if self.plan.target_is_drawn else None
        return self.predict(logits, model.masses, chunk, drawn)


def _own_token(logits: Tensor) -> Tensor:
    """The token_index of ModelDistribution where each token has one target."""
    return torch.arange(len(logits), device=logits.device)


def _expected(predicted: Predicted, table: Tensor, plan: _Plan) -> tuple[Tensor, Tensor | None]:
    """Embeddings (n, size) and symbol weights (n,) that a chunk of soft predictions expects."""
    probabilities = predicted.fed
    symbols = predicted.symbols
    weights = None if plan.symbol_weights is None else plan.symbol_weights.to(probabilities.dtype)
    if symbols is None:
        return probabilities.to(table.dtype) @ table, None if weights is None else probabilities @ weights
    embeddings = F.embedding_bag(symbols, table, mode="sum", per_sample_weights=probabilities.to(table.dtype))
    return embeddings, None if weights is None else (probabilities * weights[symbols]).sum(dim=-1)


def _probability_gradient(predicted: Predicted, table: Tensor, plan: _Plan, upstream: _Upstream) -> Tensor:
    """The gradient of a chunk's probabilities from those of what _expected returns, one of them at least."""
    dtype = predicted.probabilities.dtype
    symbols = predicted.symbols
    terms = []
    if upstream.embeddings is not None and symbols is None:
        terms.append((upstream.embeddings @ table.T).to(dtype))
    elif upstream.embeddings is not None:
        terms.append(torch.einsum("ne,nke->nk", upstream.embeddings, table[symbols]).to(dtype))
    if upstream.weights is not None and plan.symbol_weights is not None:
        symbol_weights = plan.symbol_weights.to(dtype)
        listed = symbol_weights if symbols is None else symbol_weights[symbols]
        terms.append(upstream.weights.unsqueeze(-1) * listed)
    return functools.reduce(torch.add, terms)


def _entropy_and_support(predicted: Predicted) -> tuple[Tensor, Tensor]:
    """Entropy in nats and size of the support, (n,) each."""
    probabilities = predicted.fed
    # As torch.special.entr and a count of what is above 0 have it, in half of their time.
    logs = probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log_()
    entropy = -torch.linalg.vecdot(probabilities, logs)
    return entropy, probabilities.sign().sum(dim=-1).to(torch.int32)


def _add_(whole: Tensor, gradient: Tensor, symbols: Tensor | None) -> None:
    """Adds to a gradient over the vocabulary another, which may stand at some symbols alone."""
    if symbols is None:
        whole.add_(gradient)
    else:
        whole.scatter_add_(1, symbols, gradient)
