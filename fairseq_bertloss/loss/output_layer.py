"""A decoder's output layer, a chunk of tokens at a time: logits in one direction, gradients in the other.

Both classes give logits in float32 at least, and take the gradient of a chunk's logits either whole, (n, vocabulary),
or as (n, k) numbers at `symbols` (n, k), 0 elsewhere; where a row repeats a symbol, the numbers add up.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fairseq_bertloss.loss.soft_predictions import at_least_float32

CHUNK_BYTES = {"cpu": 32 << 20, "cuda": 256 << 20}
KEPT_BYTES = 1 << 30


class Projection(NamedTuple):
    """logits = features @ weight.T + bias."""

    weight: Tensor  # (vocabulary, dim)
    bias: Tensor | None = None  # (vocabulary,)


class GivenLogits:
    """Logits (tokens, vocabulary) that somebody else has computed."""

    def __init__(self, logits: Tensor):
        self._logits = logits
        self._gradient = None

    def logits(self, rows: slice) -> Tensor:
        return at_least_float32(self._logits[rows])

    def add_gradient(self, rows: slice, gradient: Tensor, symbols: Tensor | None) -> None:
        if self._gradient is None:
            self._gradient = torch.zeros_like(self._logits)
        if symbols is None:
            self._gradient[rows] += gradient
        else:
            self._gradient[rows].scatter_add_(1, symbols, gradient.to(self._gradient.dtype))

    def gradients(self) -> tuple[Tensor | None, None, None]:
        """Of the logits; the places of a weight and a bias are empty."""
        return self._gradient, None, None


class ProjectedLogits:
    """Logits that a projection makes of features (tokens, dim)."""

    def __init__(self, features: Tensor, projection: Projection, dtype: torch.dtype):
        """With products in the given precision, autocast's for instance."""
        self._given = features, *projection
        self._features = features.to(dtype)
        self._weight = projection.weight.to(dtype)
        self._bias = None if projection.bias is None else projection.bias.to(dtype)
        self._sums = None

    def logits(self, rows: slice) -> Tensor:
        return at_least_float32(F.linear(self._features[rows], self._weight, self._bias))

    def add_gradient(self, rows: slice, gradient: Tensor, symbols: Tensor | None) -> None:
        if self._sums is None:
            self._sums = self._zeros()
        if symbols is None:
            self._add_whole(rows, gradient)
        else:
            self._add_at_symbols(rows, gradient, symbols)

    def gradients(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Of features, weight and bias, in their precisions."""
        if self._sums is None:
            return None, None, None
        return tuple(None if total is None else total.to(of.dtype) for total, of in zip(self._sums, self._given))

    def _zeros(self) -> "_Sums":
        """Float32 at least: half precision would lose what single tokens add to a sum over all of them."""
        return _Sums(*(
            torch.zeros_like(of, dtype=torch.promote_types(of.dtype, torch.float32))
            if of is not None and of.requires_grad else None
            for of in self._given
        ))  # fmt: skip

    def _add_whole(self, rows: slice, gradient: Tensor) -> None:
        features, weight, bias = self._sums
        rounded = gradient.to(self._weight.dtype)
        if features is not None:
            features[rows] += rounded @ self._weight
        if weight is not None and weight.dtype == rounded.dtype:
            weight.addmm_(rounded.T, self._features[rows])
        elif weight is not None:
            weight.add_(rounded.T @ self._features[rows])
        if bias is not None:
            bias.add_(gradient.sum(dim=0))

    def _add_at_symbols(self, rows: slice, gradient: Tensor, symbols: Tensor) -> None:
        features, weight, bias = self._sums
        row, column = gradient.nonzero(as_tuple=True)
        at, values = symbols[row, column], gradient[row, column]
        if features is not None:
            features[rows].index_add_(0, row, (values.unsqueeze(-1) * self._weight[at]).to(features.dtype))
        if weight is not None:
            weight.index_add_(0, at, (values.unsqueeze(-1) * self._features[rows][row]).to(weight.dtype))
        if bias is not None:
            bias.index_add_(0, at, values)


class _Sums(NamedTuple):
    """Of gradients; None for what is not there or does not learn."""

    features: Tensor | None
    weight: Tensor | None
    bias: Tensor | None


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
        """Of so many tokens."""
        return (slice(start, start + self.tokens) for start in range(0, tokens, self.tokens))

    def layer(self, features: Tensor, weight: Tensor | None, bias: Tensor | None) -> GivenLogits | ProjectedLogits:
        """The output layer of those features."""
        if weight is None:
            return GivenLogits(features)
        return ProjectedLogits(features, Projection(weight, bias), self.product_dtype)


class Kept:
    """What an operator keeps of its chunks for the backward pass."""

    def __init__(self, room: int):
        """With room for so many bytes."""
        self._room, self._chunks = room, {}

    def offer(self, rows: slice, what, nbytes: int) -> None:
        """Keeps what a chunk has, unless it takes more than what is left of the room."""
        if nbytes <= self._room:
            self._room -= nbytes
            self._chunks[rows.start] = what

    def take(self, rows: slice):
        """What a chunk has kept, or None.

        It is gone then: a graph lives longer than its use. A second backward pass computes it again.
        """
        return self._chunks.pop(rows.start, None)


def joined(chunks: Sequence[Sequence[Tensor | None]]) -> tuple[Tensor | None, ...]:
    """Each of an operator's outputs in one piece; None where it has none."""
    return tuple(None if parts[0] is None else torch.cat(parts) for parts in zip(*chunks))
