"""Logits -> soft predictions: points on the vocabulary simplex that a gradient can flow through.

Every function takes logits (..., vocabulary) of any floating type and returns float32 (float64 for
float64) of the same shape, whatever the precision of training: sparsemax in bfloat16 sums to 1.009
over a vocabulary of 32,000.
"""

from dataclasses import dataclass

import entmax
import torch
from torch import Tensor

from fairseq_bertloss.choices import SOFT_PREDICTIONS

DEFAULT_TEMPERATURE = {"softmax": 1.0, "sparsemax": 1.0, "entmax15": 1.0, "gumbel_softmax": 0.1}

SUPPORT_BOUND = 128
"""Where sparsemax and entmax15 start to look for their support: among the largest logits.

entmax doubles the number wherever the support turns out larger, so the result is exact.
"""


@dataclass(frozen=True)
class SoftPrediction:
    """A kind of soft prediction with its settings.

    With z the logits divided by the temperature:

        softmax         argmax_p <p, z> + H(p)                     (dense)
        sparsemax       argmin_p ||p - z||^2                       (Martins and Astudillo, 2016)
        entmax15        argmax_p <p, z> + H_1.5(p), Tsallis        (Peters et al., 2019)
        gumbel_softmax  softmax of (logits + Gumbel noise) / temperature   (Jang et al., 2017)

    Args:
        kind: one of SOFT_PREDICTIONS.
        temperature: > 0.
        hard: gumbel_softmax only: one-hot forward, gradient of the soft sample (straight-through).
        noise: gumbel_softmax only: False leaves the Gumbel noise out, which makes it deterministic.

    Raises:
        ValueError: an unknown kind, or a temperature that is not positive.
    """

    kind: str
    temperature: float
    hard: bool = False
    noise: bool = True

    def __post_init__(self) -> None:
        if self.kind not in SOFT_PREDICTIONS:
            raise ValueError(f"unknown soft prediction {self.kind!r}: choose one of {', '.join(SOFT_PREDICTIONS)}")
        if not self.temperature > 0:
            raise ValueError(f"the temperature must be positive, not {self.temperature}")

    @property
    def noisy(self) -> bool:
        """Whether Gumbel noise is added to the logits."""
        return self.noise and self.kind == "gumbel_softmax"

    @property
    def leaves_out(self) -> bool:
        """Whether symbols can have probability 0 exactly."""
        return self.kind in ("sparsemax", "entmax15")

    @property
    def straight_through(self) -> bool:
        """Whether the language model gets one-hot predictions."""
        return self.hard and self.kind == "gumbel_softmax"

    def of_logits(self, logits: Tensor) -> Tensor:
        """The points on the simplex that noisy logits become, (..., vocabulary)."""
        if self.temperature != 1:
            logits = relative_to_the_largest(logits) / self.temperature
        if self.kind in ("softmax", "gumbel_softmax"):
            return torch.softmax(logits, dim=-1)
        sparse = entmax.sparsemax if self.kind == "sparsemax" else entmax.entmax15
        # entmax cannot find a support in a row that softmax answers with NaN.
        broken = ~logits.amax(dim=-1, keepdim=True).isfinite()
        p = sparse(logits.masked_fill(broken, 0.0), dim=-1, k=min(SUPPORT_BOUND, logits.size(-1)))
        return p.masked_fill(broken, torch.nan)

    def gradient_(self, probabilities: Tensor, upstream: Tensor) -> Tensor:
        """The gradient of the logits, J^T upstream, in the place of upstream, the probabilities'; 0 where p is 0.

        With s = p, the support's indicator, or sqrt(p) (Peters et al., 2019, section 4.2), the Jacobian is
        (diag(s) - s s^T / sum(s)) / temperature.
        """
        if self.kind == "sparsemax":
            s = (probabilities > 0).to(probabilities.dtype)
        elif self.kind == "entmax15":
            s = probabilities.sqrt()
        else:
            s = probabilities
        mean = torch.linalg.vecdot(s, upstream) / s.sum(dim=-1)
        gradient = upstream.sub_(mean.unsqueeze(-1)).mul_(s)
        return gradient if self.temperature == 1 else gradient.div_(self.temperature)


def soft_prediction(
    logits: Tensor, kind: str, temperature: float, *, gumbel_hard: bool = False, noise: bool = True
) -> Tensor:
    """Soft predictions over the whole vocabulary, (..., vocabulary), from logits of that shape; gradients flow.

    The arguments are those of SoftPrediction; a logit of -inf gives probability 0. Training takes the
    operator of expected_embeddings.py, which is the same but never holds the whole.

    Raises:
        ValueError: as SoftPrediction.
    """
    soft = SoftPrediction(kind, temperature, gumbel_hard, noise)
    logits = at_least_float32(logits)
    if soft.noisy:
        logits = with_gumbel_noise(logits)
    probabilities = soft.of_logits(logits)
    if not soft.straight_through:
        return probabilities
    return one_hot_of_largest(probabilities) - probabilities.detach() + probabilities


def with_gumbel_noise(logits: Tensor, generator: torch.Generator | None = None, drawn: Tensor | None = None) -> Tensor:
    """Logits relative to the largest of their row, plus Gumbel noise, -log of exponential numbers.

    Args:
        logits: (..., symbols).
        generator: of the random numbers; None: torch's own.
        drawn: (...), the symbol of each row that the noise has made the largest; None: whichever it happens to. Noise
            given what it drew is independent noise again, if the symbols are drawn from softmax(logits) (Maddison,
            Tarlow and Minka, 2014, section 3).
    """
    logits = relative_to_the_largest(logits)
    noisy = logits - torch.empty_like(logits).exponential_(generator=generator).log_()
    if drawn is None:
        return noisy
    total = logits.logsumexp(dim=-1, keepdim=True)
    largest = total - torch.empty_like(total).exponential_(generator=generator).log_()
    return -torch.logaddexp(-noisy, -largest).scatter_(-1, drawn.unsqueeze(-1), -largest)


def relative_to_the_largest(logits: Tensor) -> Tensor:
    """Logits without what all of a row share, beside which a temperature or noise would lose digits."""
    return logits - logits.amax(dim=-1, keepdim=True).detach()


def one_hot_of_largest(probabilities: Tensor) -> Tensor:
    """1 at the largest entry of each row, 0 elsewhere; NaN where that entry is."""
    largest, place = probabilities.max(dim=-1, keepdim=True)
    return torch.zeros_like(probabilities).scatter_(-1, place, largest / largest)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half precision becomes float32; float32 and float64 stay."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
