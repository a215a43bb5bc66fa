"""Soft predictions on their support: most symbols have probability 0, or next to it, and need not be looked at."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from fairseq_bertloss.loss.soft_predictions import SoftPrediction, one_hot_of_largest, with_gumbel_noise

DROPPED_MASS = 1e-7
"""Bound on the probability of a row that a support may leave out, about float32's own rounding."""


class Predicted(NamedTuple):
    """Soft predictions of n tokens; rows with fewer than k symbols are padded with probability 0."""

    probabilities: Tensor  # (n, k), or (n, vocabulary) where dense
    symbols: Tensor | None  # (n, k); None where dense
    soft: SoftPrediction

    @property
    def fed(self) -> Tensor:
        """What the language model gets: with straight-through one-hot, otherwise the probabilities."""
        return one_hot_of_largest(self.probabilities) if self.soft.straight_through else self.probabilities

    @property
    def nbytes(self) -> int:
        return self.probabilities.nbytes + (0 if self.symbols is None else self.symbols.nbytes)

    def gradient(self, upstream: Tensor) -> Tensor:
        """The gradient of the logits from that of the probabilities, both at `symbols`."""
        return self.soft.gradient(self.probabilities, upstream)


class Predictor:
    """Makes soft predictions from logits, chunk by chunk; asked again for a chunk, it repeats the noise."""

    def __init__(self, soft: SoftPrediction, tokens: int, vocabulary: int, most: int, device: torch.device):
        """Draws from torch's generator of the CPU, on every device.

        Args:
            soft: what to make of logits.
            tokens: how many there are in all chunks.
            vocabulary: symbols.
            most: how many symbols of a row to list; predictions with more are dense.
            device: where the logits are.
        """
        self._soft = soft
        self._arrivals, self._seed = None, None
        if soft.noisy:
            if GumbelArrivals.suit(soft.temperature, vocabulary):
                self._arrivals = GumbelArrivals(tokens, soft.temperature, vocabulary, device)
            else:
                self._seed = int(torch.randint(2**62, ()))
        self._reach = reach(soft.kind, soft.temperature, vocabulary)
        self._most = most

    def __call__(self, scores: Tensor, masses: Tensor, rows: slice, drawn: Tensor | None = None) -> Predicted:
        """Soft predictions of some tokens.

        Args:
            scores: their logits, (n, vocabulary).
            masses: (n, vocabulary), proportional to softmax(scores).
            rows: which of all tokens they are.
            drawn: (n,), the symbols that Gumbel noise makes the largest; None: those that it happens to.
        """
        if self._arrivals is not None:
            symbols, scaled = self._arrivals(masses, rows, drawn)
            return self._compact(symbols, torch.softmax(scaled, dim=-1).to(scores.dtype))
        if self._seed is not None:
            generator = torch.Generator(scores.device).manual_seed(self._seed + rows.start)
            scores = with_gumbel_noise(scores, generator, drawn)
        nearest = nearest_to_the_largest(scores, self._reach, self._most)
        if nearest is not None:
            symbols, scores = nearest
            return self._compact(symbols, self._soft.of_scores(scores))
        probabilities = self._soft.of_scores(scores)
        # Many scores near the largest may share little of the support; a softmax leaves nothing out.
        if self._soft.leaves_out and (k := _longest_row(probabilities != 0)) <= self._most:
            return Predicted(*probabilities.topk(k, dim=-1), self._soft)
        return Predicted(probabilities, None, self._soft)

    def _compact(self, symbols: Tensor, probabilities: Tensor) -> Predicted:
        """Without the columns that no row needs."""
        probabilities, order = probabilities.topk(_longest_row(probabilities != 0), dim=-1)
        return Predicted(probabilities, symbols.gather(-1, order), self._soft)


def reach(kind: str, temperature: float, vocabulary: int) -> float:
    """How far below the largest score of a row a symbol can lie and still count.

    Sparsemax gives 0 to z_i <= max z - 1 and entmax15 to z_i <= max z - 2, with z the scores divided by the
    temperature; exponentials further down than log(vocabulary / DROPPED_MASS) sum to less than DROPPED_MASS.
    """
    return temperature * {"sparsemax": 1.0, "entmax15": 2.0}.get(kind, math.log(vocabulary / DROPPED_MASS))


def nearest_to_the_largest(scores: Tensor, distance: float, at_most: int) -> tuple[Tensor, Tensor] | None:
    """The scores of each row at most `distance` below its largest.

    Args:
        scores: (n, vocabulary).
        at_most: how many of them a row may have.

    Returns:
        symbols and scores, (n, k) each, the largest first, padded with -inf; None where a row has too many
        or has NaN.
    """
    least = scores.amax(dim=-1, keepdim=True) - distance
    for rows in (slice(1), slice(None)):  # where predictions are dense, the first row tells
        # Not `>=`: a row of NaN must not look empty.
        k = _longest_row(~(scores[rows] < least[rows]))
        if k > at_most:
            return None
    values, symbols = scores.topk(k, dim=-1)
    return symbols, values.masked_fill_(values < least, -torch.inf)


def _longest_row(listed: Tensor) -> int:
    """How many entries of a mask (rows, columns) are set in the row with the most."""
    # The default dtype, int64, would take a CPU ten times as long.
    return int(listed.sum(dim=-1, dtype=torch.int32).max())


class GumbelArrivals:
    """Samples of Gumbel-Softmax that draw noise only for the symbols that matter.

    Scores with Gumbel noise are the arrivals of a Poisson process (Maddison, Tarlow and Minka, 2014,
    "A* sampling"): with t_1 < t_2 < ... the arrivals of a process of rate 1, and symbols drawn
    independently from softmax(scores), the first arrival of a symbol is its noisy score
    logsumexp(scores) - log t. At temperature T its probability is thus proportional to t^(-1/T), and
    what arrives after t_1 (vocabulary / DROPPED_MASS)^T has together less than DROPPED_MASS.
    """

    MOST = 32
    """On average in a row; the row whose first arrival is late has ten times as many, and all are as wide as it."""

    def __init__(self, rows: int, temperature: float, vocabulary: int, device: torch.device):
        """Draws everything random from torch's generator of the CPU, whatever the device."""
        last = math.exp(reach("softmax", temperature, vocabulary))
        times = torch.zeros(rows, 0, dtype=torch.float64)
        while times.size(1) == 0 or bool((times[:, -1] < times[:, 0] * last).any()):
            more = torch.empty(rows, 2 * math.ceil(last), dtype=torch.float64).exponential_().cumsum(dim=-1)
            times = torch.cat([times, more + times[:, -1:]], dim=-1) if times.size(1) else more
        in_time = times <= times[:, :1] * last
        k = int(in_time.sum(dim=-1).max())
        log_weights = (times[:, :1] / times[:, :k]).log() / temperature
        self._log_weights = log_weights.masked_fill(~in_time[:, :k], -torch.inf).to(device)
        self._uniforms = torch.rand(rows, k, dtype=torch.float64).to(device)

    @classmethod
    def suit(cls, temperature: float, vocabulary: int) -> bool:
        """Whether so few arrivals matter that they are worth more than noise for every symbol."""
        return reach("softmax", temperature, vocabulary) <= math.log(cls.MOST)

    def __call__(self, masses: Tensor, rows: slice, drawn: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The support of some rows.

        Args:
            masses: (n, vocabulary), proportional to softmax(scores).
            rows: which of all rows these are.
            drawn: (n,), the symbols that arrive first, which nothing else depends on; None: draws them too.

        Returns:
            symbols, and their noisy scores divided by the temperature, up to a constant of the row; -inf
            at padding.
        """
        cumulated = masses.cumsum(dim=-1, dtype=torch.float64)
        total = cumulated[:, -1:].contiguous()
        symbols = torch.searchsorted(cumulated, self._uniforms[rows] * total, right=True)
        symbols.clamp_(max=masses.size(-1) - 1)
        if drawn is not None:
            symbols[:, 0] = drawn
        scores = self._log_weights[rows].masked_fill(_seen_before(symbols), -torch.inf)
        return symbols, scores.masked_fill_(~total.isfinite(), torch.nan)


def _seen_before(symbols: Tensor) -> Tensor:
    """True where a symbol stands further left in its row as well."""
    ordered, order = symbols.sort(dim=-1, stable=True)
    repeated = torch.zeros_like(symbols, dtype=torch.bool)
    return repeated.scatter_(1, order[:, 1:], ordered[:, 1:] == ordered[:, :-1])
