"""Soft predictions on their support: most symbols have probability 0, or next to it, and need not be looked at."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from fairseq_bertloss.loss.soft_predictions import SoftPrediction, one_hot_of_largest, with_gumbel_noise

DROPPED_MASS = 1e-7
"""Bound on the probability of a token that a support may leave out, about float32's own rounding."""


class Predicted(NamedTuple):
    """Soft predictions of n tokens; those with fewer than k symbols are padded with probability 0."""

    probabilities: Tensor  # (n, k), or (n, vocabulary) where dense
    symbols: Tensor | None  # (n, k); None where dense
    soft: SoftPrediction

    @property
    def fed(self) -> Tensor:
        """What the language model gets: with straight-through one-hot, otherwise the probabilities."""
        return one_hot_of_largest(self.probabilities) if self.soft.straight_through else self.probabilities

    @property
    def nbytes(self) -> int:
        """Bytes that they take."""
        return self.probabilities.nbytes + (0 if self.symbols is None else self.symbols.nbytes)

    def gradient_(self, upstream: Tensor) -> Tensor:
        """The gradient of the logits from that of the probabilities, whose place it takes; both at `symbols`."""
        return self.soft.gradient_(self.probabilities, upstream)


class Predictor:
    """Makes soft predictions from logits, chunk by chunk; asked again for a chunk, it repeats the noise."""

    def __init__(self, soft: SoftPrediction, tokens: int, vocabulary: int, most: int, device: torch.device):
        """Draws from torch's generator of the CPU, on every device.

        Args:
            soft: what to make of logits.
            tokens: how many there are in all chunks.
            vocabulary: symbols.
            most: how many symbols of a token to list; predictions with more are dense.
            device: where the logits are.
        """
        self._soft = soft
        self._reach = reach(soft.kind, soft.temperature, vocabulary)
        self._most = most
        self._arrivals: GumbelArrivals | None = None
        self._seed: int | None = None
        if soft.noisy and GumbelArrivals.suit(soft.temperature, vocabulary):
            self._arrivals = GumbelArrivals(tokens, soft.temperature, vocabulary, device)
        elif soft.noisy:
            self._seed = int(torch.randint(2**62, ()))

    def __call__(self, logits: Tensor, masses: Tensor, chunk: slice, drawn: Tensor | None = None) -> Predicted:
        """Soft predictions of some tokens.

        Args:
            logits: theirs, (n, vocabulary).
            masses: (n, vocabulary), proportional to softmax(logits).
            chunk: which of all tokens they are.
            drawn: (n,), the symbols that Gumbel noise makes the largest; None: those that it happens to.
        """
        if self._arrivals is not None:
            symbols, scaled = self._arrivals(masses, chunk, drawn)
            return self._compact(symbols, torch.softmax(scaled, dim=-1).to(logits.dtype))
        if self._seed is not None:
            generator = torch.Generator(logits.device).manual_seed(self._seed + chunk.start)
            logits = with_gumbel_noise(logits, generator, drawn)
        nearest = nearest_to_the_largest(logits, self._reach, self._most)
        if nearest is not None:
            symbols, listed = nearest
            return self._compact(symbols, self._soft.of_logits(listed))
        probabilities = self._soft.of_logits(logits)
        # Many logits near the largest may share little of the support; a softmax leaves nothing out.
        if self._soft.leaves_out:
            k = _most_set(probabilities != 0)
            if k <= self._most:
                return Predicted(*probabilities.topk(k, dim=-1), self._soft)
        return Predicted(probabilities, None, self._soft)

    def _compact(self, symbols: Tensor, probabilities: Tensor) -> Predicted:
        """Soft predictions without the columns that no token needs."""
        probabilities, order = probabilities.topk(_most_set(probabilities != 0), dim=-1)
        return Predicted(probabilities, symbols.gather(-1, order), self._soft)


def reach(kind: str, temperature: float, vocabulary: int) -> float:
    """How far below the largest logit of a token a symbol can lie and still count.

    Sparsemax gives 0 to z_i <= max z - 1 and entmax15 to z_i <= max z - 2, with z the logits divided by the
    temperature; exponentials further down than log(vocabulary / DROPPED_MASS) sum to less than DROPPED_MASS.
    """
    return temperature * {"sparsemax": 1.0, "entmax15": 2.0}.get(kind, math.log(vocabulary / DROPPED_MASS))


def nearest_to_the_largest(logits: Tensor, distance: float, at_most: int) -> tuple[Tensor, Tensor] | None:
    """The logits of each token at most `distance` below its largest.

    Args:
        logits: (n, vocabulary).
        distance: from the largest, >= 0.
        at_most: how many of them a token may have.

    Returns:
        symbols and logits, (n, k) each, the largest first, padded with -inf; None where a token has too many
        or has NaN.
    """
    least = logits.amax(dim=-1, keepdim=True) - distance
    # Where predictions are dense, the first token tells.
    if _most_set(_not_below(logits[:1], least[:1])) > at_most:
        return None
    k = _most_set(_not_below(logits, least))
    if k > at_most:
        return None
    values, symbols = logits.topk(k, dim=-1)
    return symbols, values.masked_fill_(values < least, -torch.inf)


def _not_below(logits: Tensor, least: Tensor) -> Tensor:
    """Which logits reach the least, (n, vocabulary) bool; NaN does, lest a row of NaN look empty."""
    return ~(logits < least)


def _most_set(mask: Tensor) -> int:
    """How many entries of a mask (n, columns) are set in the row with the most."""
    # The default dtype, int64, would take a CPU ten times as long.
    return int(mask.sum(dim=-1, dtype=torch.int32).max())


class GumbelArrivals:
    """Samples of Gumbel-Softmax that draw noise only for the symbols that matter.

    Logits with Gumbel noise are the arrivals of a Poisson process (Maddison, Tarlow and Minka, 2014,
    "A* sampling"): with t_1 < t_2 < ... the arrivals of a process of rate 1, and symbols drawn
    independently from softmax(logits), the first arrival of a symbol is its noisy logit
    logsumexp(logits) - log t. At temperature T its probability is thus proportional to t^(-1/T), and
    what arrives after t_1 (vocabulary / DROPPED_MASS)^T has together less than DROPPED_MASS.
    """

    MOST = 32
    """Arrivals of a token on average; one whose first is late has ten times as many, and all are as wide as it."""

    def __init__(self, tokens: int, temperature: float, vocabulary: int, device: torch.device):
        """Draws everything random from torch's generator of the CPU, whatever the device."""
        last = math.exp(reach("softmax", temperature, vocabulary))
        times = torch.zeros(tokens, 0, dtype=torch.float64)
        while times.size(1) == 0 or bool((times[:, -1] < times[:, 0] * last).any()):
            more = torch.empty(tokens, 2 * math.ceil(last), dtype=torch.float64).exponential_().cumsum(dim=-1)
            times = torch.cat([times, more + times[:, -1:]], dim=-1) if times.size(1) else more
        in_time = times <= times[:, :1] * last
        k = int(in_time.sum(dim=-1).max())
        log_weights = (times[:, :1] / times[:, :k]).log() / temperature
        self._log_weights = log_weights.masked_fill(~in_time[:, :k], -torch.inf).to(device)
        self._uniforms = torch.rand(tokens, k, dtype=torch.float64).to(device)

    @classmethod
    def suit(cls, temperature: float, vocabulary: int) -> bool:
        """Whether so few arrivals matter that they are worth more than noise for every symbol."""
        return reach("softmax", temperature, vocabulary) <= math.log(cls.MOST)

    def __call__(self, masses: Tensor, chunk: slice, drawn: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The support of some tokens.

        Args:
            masses: (n, vocabulary), proportional to softmax(logits).
            chunk: which of all tokens these are.
            drawn: (n,), the symbols that arrive first, which nothing else depends on; None: draws them too.

        Returns:
            symbols, and their noisy logits divided by the temperature, up to a constant of the token; -inf
            at padding.
        """
        cumulated = masses.cumsum(dim=-1, dtype=torch.float64)
        total = cumulated[:, -1:].contiguous()
        symbols = torch.searchsorted(cumulated, self._uniforms[chunk] * total, right=True)
        symbols.clamp_(max=masses.size(-1) - 1)
        if drawn is not None:
            symbols[:, 0] = drawn
        scaled = self._log_weights[chunk].masked_fill(_seen_before(symbols), -torch.inf)
        return symbols, scaled.masked_fill_(~total.isfinite(), torch.nan)


def _seen_before(symbols: Tensor) -> Tensor:
    """True where a symbol stands further left in its row as well."""
    ordered, order = symbols.sort(dim=-1, stable=True)
    repeated = torch.zeros_like(symbols, dtype=torch.bool)
    return repeated.scatter_(1, order[:, 1:], ordered[:, 1:] == ordered[:, :-1])
