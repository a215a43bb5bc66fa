"""Decoder features -> soft predictions x the language model's embedding table -> expected embeddings, in one operator.

A tensor over the vocabulary is large: 4,096 tokens x 30,522 symbols x 4 bytes = 500 MB. The operator goes through
the tokens in chunks, takes all that anybody wants to know of the logits from one pass over them, and keeps for
the backward pass what is small. A symbol of probability 0 has gradient 0: where a soft prediction is sparse, the
backward pass needs its support alone, and no product with the vocabulary.
"""

from dataclasses import dataclass
from typing import NamedTuple

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


class _ExpectedEmbeddings(torch.autograd.Function):
    """Tensors in, the fields of TokenPredictions out."""

    @staticmethod
    def forward(ctx, features, weight, bias, table, target, plan):
        # A list of k symbols must not need more memory than the vocabulary, neither in embeddings nor in features.
        most = max(1, len(table) // max(table.size(1), 1 if weight is None else features.size(1)))
        predict = Predictor(plan.soft, len(features), len(table), most, features.device)
        chunks = _Chunks(plan.chunking.layer(features, weight, bias), predict, table, target, plan)
        kept, columns = Kept(plan.kept_bytes), []
        for rows in plan.chunking.chunks(len(features)):
            predicted, outputs = chunks.predicted(rows)
            columns.append(outputs)
            kept.offer(rows, predicted, predicted.nbytes)
        ctx.plan, ctx.predict, ctx.kept = plan, predict, kept
        ctx.save_for_backward(features, weight, bias, table, target)
        ctx.set_materialize_grads(False)
        outputs = joined(columns)
        ctx.mark_non_differentiable(*outputs[4:])
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients):
        features, weight, bias, table, target = ctx.saved_tensors
        learning = gradients[:4]
        if all(gradient is None for gradient in learning):
            return (None,) * 6
        layer = ctx.plan.chunking.layer(features, weight, bias)
        chunks = _Chunks(layer, ctx.predict, table, target, ctx.plan)
        for rows in ctx.plan.chunking.chunks(len(features)):
            predicted = ctx.kept.take(rows)
            chunks.add_gradient(rows, predicted, *(None if whole is None else whole[rows] for whole in learning))
        return *layer.gradients(), None, None, None


class _Chunks(NamedTuple):
    """The operator's work on one chunk of tokens; what it makes on the way is gone before the next."""

    layer: GivenLogits | ProjectedLogits
    predict: Predictor
    table: Tensor
    target: Tensor
    plan: _Plan

    def predicted(self, rows: slice) -> tuple[Predicted, tuple[Tensor | None, ...]]:
        """Soft predictions, and their part of every field of TokenPredictions."""
        scores = self.layer.logits(rows)
        model = ModelDistribution.of(scores)
        predicted = self._predict(scores, model, rows)
        expected = _expected(predicted, self.table, self.plan)
        statistics = model.statistics(scores, self.target[rows], _each(scores), self.plan.eos, self.plan.with_uniform)
        return predicted, (*expected, *statistics, *_shape(predicted))

    def add_gradient(self, rows: slice, predicted: Predicted | None, embeddings, weights, nll, uniform) -> None:
        """Hands the layer the gradient of the chunk's logits, from those of what flows; None: no gradient, not kept."""
        scored, mixed = embeddings is not None or weights is not None, nll is not None or uniform is not None
        gradient, symbols = None, None
        if mixed or predicted is None:
            scores = self.layer.logits(rows)
            model = ModelDistribution.of(scores)
        if scored:
            predicted = predicted or self._predict(scores, model, rows)
            upstream = _of_probabilities(predicted, self.table, self.plan, embeddings, weights)
            gradient, symbols = predicted.gradient(upstream), predicted.symbols
        if mixed:
            whole = model.gradient(scores, self.target[rows], _each(scores), nll, uniform)
            gradient, symbols = _added(whole, gradient, symbols), None
        self.layer.add_gradient(rows, gradient, symbols)

    def _predict(self, scores: Tensor, model: ModelDistribution, rows: slice) -> Predicted:
        return self.predict(scores, model.masses, rows, self.target[rows] if self.plan.target_is_drawn else None)


def _each(scores: Tensor) -> Tensor:
    """One target a token: the argument `of` of ModelDistribution."""
    return torch.arange(len(scores), device=scores.device)


def _expected(predicted: Predicted, table: Tensor, plan: _Plan) -> tuple[Tensor, Tensor | None]:
    """Embeddings (n, size) and symbol weights (n,) that a chunk of soft predictions expects."""
    probabilities, symbols = predicted.fed, predicted.symbols
    weights = None if plan.symbol_weights is None else plan.symbol_weights.to(probabilities.dtype)
    if symbols is None:
        return probabilities.to(table.dtype) @ table, None if weights is None else probabilities @ weights
    embeddings = F.embedding_bag(symbols, table, mode="sum", per_sample_weights=probabilities.to(table.dtype))
    return embeddings, None if weights is None else (probabilities * weights[symbols]).sum(dim=-1)


def _of_probabilities(
    predicted: Predicted, table: Tensor, plan: _Plan, embeddings: Tensor | None, weights: Tensor | None
) -> Tensor:
    """The gradient of a chunk's probabilities from those of what _expected returns."""
    dtype, symbols, gradient = predicted.probabilities.dtype, predicted.symbols, 0.0
    if embeddings is not None:
        if symbols is None:
            gradient = (embeddings @ table.T).to(dtype)
        else:
            gradient = torch.einsum("ne,nke->nk", embeddings, table[symbols]).to(dtype)
    if weights is not None:
        of_symbols = plan.symbol_weights.to(dtype)
        gradient = gradient + weights.unsqueeze(-1) * (of_symbols if symbols is None else of_symbols[symbols])
    return gradient


def _shape(predicted: Predicted) -> tuple[Tensor, Tensor]:
    """Entropy in nats and size of the support, (n,) each."""
    probabilities = predicted.fed
    # As torch.special.entr and a count of what is above 0 have it, in half of their time.
    logs = probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log_()
    return -torch.linalg.vecdot(probabilities, logs), probabilities.sign().sum(dim=-1).to(torch.int32)


def _added(whole: Tensor, gradient: Tensor | None, symbols: Tensor | None) -> Tensor:
    """A gradient over the vocabulary plus another, which may stand at some symbols alone."""
    if gradient is None:
        return whole
    return whole.add_(gradient) if symbols is None else whole.scatter_add_(1, symbols, gradient)
