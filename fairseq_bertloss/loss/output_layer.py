"""A decoder's output layer, a chunk of tokens at a time: logits in one direction, gradients in the other.

Both classes give logits in float32 at least, and take the gradient of a chunk's logits either whole, (n, vocabulary),
or as (n, k) numbers at `symbols` (n, k), 0 elsewhere; where a token repeats a symbol, the numbers add up. A chunk is a
slice of the tokens.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from fairseq_bertloss.loss.soft_predictions import at_least_float32

CHUNK_BYTES = {"cpu": 32 << 20, "cuda": 256 << 20}
KEPT_BYTES = 1 << 30

Outputs = TypeVar("Outputs", bound=NamedTuple)


class Projection(NamedTuple):
    """logits = features @ weight.T + bias."""

    weight: Tensor  # (vocabulary, dim)
    bias: Tensor | None = None  # (vocabulary,)


class Gradients(NamedTuple):
    """The gradients of an output layer's inputs; None for what is not there or does not learn."""

    features: Tensor | None  # (tokens, dim), or of logits (tokens, vocabulary)
    weight: Tensor | None
    bias: Tensor | None


class GivenLogits:
    """Logits (tokens, vocabulary) that somebody else has computed."""

    def __init__(self, logits: Tensor):
        self._logits = logits
        self._gradient: Tensor | None = None

    def logits(self, chunk: slice) -> Tensor:
        """Logits of the chunk's tokens, (n, vocabulary)."""
        return at_least_float32(self._logits[chunk])

    def add_gradient(self, chunk: slice, gradient: Tensor, symbols: Tensor | None) -> None:
        """Takes the gradient of a chunk's logits; `symbols` as at the top, None: it is whole."""
        if self._gradient is None:
            self._gradient = torch.zeros_like(self._logits)
        if symbols is None:
            self._gradient[chunk] += gradient
        else:
            self._gradient[chunk].scatter_add_(1, symbols, gradient.to(self._gradient.dtype))

    def gradients(self) -> Gradients:
        """The logits' gradient in the place of the features'; there is no weight and no bias."""
        return Gradients(self._gradient, None, None)


class ProjectedLogits:
    """Logits that a projection makes of features (tokens, dim)."""

    def __init__(self, features: Tensor, projection: Projection, dtype: torch.dtype):
        """Takes the precision of products, autocast's for instance, as dtype."""
        self._inputs = (features, projection.weight, projection.bias)
        self._features = features.to(dtype)
        self._weight = projection.weight.to(dtype)
        self._bias = None if projection.bias is None else projection.bias.to(dtype)
        self._sums: Gradients | None = None

    def logits(self, chunk: slice) -> Tensor:
        """Logits of the chunk's tokens, (n, vocabulary)."""
        return at_least_float32(F.linear(self._features[chunk], self._weight, self._bias))

    def add_gradient(self, chunk: slice, gradient: Tensor, symbols: Tensor | None) -> None:
        """Takes the gradient of a chunk's logits; `symbols` as at the top, None: it is whole."""
        if self._sums is None:
            self._sums = Gradients(*map(_empty_sum, self._inputs))
        if symbols is None:
            self._add_whole(self._sums, chunk, gradient)
        else:
            self._add_at_symbols(self._sums, chunk, gradient, symbols)

    def gradients(self) -> Gradients:
        """The gradients of features, weight and bias, in their precisions."""
        if self._sums is None:
            return Gradients(None, None, None)
        return Gradients(*map(_as_given, self._sums, self._inputs))

    def _add_whole(self, sums: Gradients, chunk: slice, gradient: Tensor) -> None:
        rounded = gradient.to(self._weight.dtype)
        if sums.features is not None:
            sums.features[chunk] += rounded @ self._weight
        if sums.weight is not None and sums.weight.dtype == rounded.dtype:
            sums.weight.addmm_(rounded.T, self._features[chunk])
        elif sums.weight is not None:
            sums.weight.add_(rounded.T @ self._features[chunk])
        if sums.bias is not None:
            sums.bias.add_(gradient.sum(dim=0))

    def _add_at_symbols(self, sums: Gradients, chunk: slice, gradient: Tensor, symbols: Tensor) -> None:
        token, column = gradient.nonzero(as_tuple=True)
        symbol = symbols[token, column]
        values = gradient[token, column]
        if sums.features is not None:
            products = values.unsqueeze(-1) * self._weight[symbol]
            sums.features[chunk].index_add_(0, token, products.to(sums.features.dtype))
        if sums.weight is not None:
            products = values.unsqueeze(-1) * self._features[chunk][token]
            sums.weight.index_add_(0, symbol, products.to(sums.weight.dtype))
        if sums.bias is not None:
            sums.bias.index_add_(0, symbol, values)


def _empty_sum(given: Tensor | None) -> Tensor | None:
    """Zeros, to sum the gradient of an input in; None where it does not learn.

    Float32 at least: half precision would lose what single tokens add to a sum over all of them.
    """
    if given is None or not given.requires_grad:
        return None
    return torch.zeros_like(given, dtype=torch.promote_types(given.dtype, torch.float32))


def _as_given(total: Tensor | None, given: Tensor | None) -> Tensor | None:
    """The sum in the precision of its input; None where there is none."""
    return None if total is None or given is None else total.to(given.dtype)


class Chunking(NamedTuple):
    """How an operator goes through its tokens."""

    tokens: int  # of a chunk
    product_dtype: torch.dtype

    @classmethod
    def of(cls, features: Tensor, projection: Projection | None, chunk_tokens: int | None) -> "Chunking":
        """Chunks of chunk_tokens; None: as many as suit the device and the vocabulary.

        Raises:
            ValueError: there is no token, or chunk_tokens is below 1.
        """
        if len(features) == 0:
            raise ValueError("there is no token to predict")
        if chunk_tokens is not None and chunk_tokens < 1:
            raise ValueError(f"chunk_tokens must be at least 1, not {chunk_tokens}")
        if chunk_tokens is None:
            vocabulary = features.size(-1) if projection is None else len(projection.weight)
            chunk_tokens = max(1, CHUNK_BYTES.get(features.device.type, CHUNK_BYTES["cuda"]) // (4 * vocabulary))
        product_dtype = features.dtype if projection is None else projection.weight.dtype
        if torch.is_autocast_enabled(features.device.type):
            product_dtype = torch.get_autocast_dtype(features.device.type)
        return cls(chunk_tokens, product_dtype)

    def chunks(self, tokens: int) -> Iterator[slice]:
        """The chunks of so many tokens, in their order."""
        return (slice(start, start + self.tokens) for start in range(0, tokens, self.tokens))

    def output_layer(
        self, features: Tensor, weight: Tensor | None, bias: Tensor | None
    ) -> GivenLogits | ProjectedLogits:
        """The output layer of those features; without a weight they are logits already."""
        if weight is None:
            return GivenLogits(features)
        return ProjectedLogits(features, Projection(weight, bias), self.product_dtype)


class Kept:
    """What an operator keeps of its chunks for the backward pass."""

    def __init__(self, room: int):
        """Makes room for so many bytes."""
        self._room = room
        self._chunks: dict[int, Any] = {}

    def offer(self, chunk: slice, what: Any, nbytes: int) -> None:
        """Keeps what a chunk has, unless it takes more than what is left of the room."""
        if nbytes <= self._room:
            self._room -= nbytes
            self._chunks[chunk.start] = what

    def take(self, chunk: slice) -> Any:
        """What a chunk has kept, or None.

        It is gone then: a graph lives longer than its use. A second backward pass computes it again.
        """
        return self._chunks.pop(chunk.start, None)


def joined(chunks: Sequence[Outputs]) -> Outputs:
    """Each field of an operator's outputs in one piece, from those of its chunks; None where they have none."""
    fields = zip(*chunks, strict=True)
    return chunks[0]._make(None if parts[0] is None else torch.cat(parts) for parts in fields)
