"""Logits -> soft predictions: points on the vocabulary simplex that a gradient can flow through.

Every function takes logits (..., vocabulary) of any floating type and returns float32 (float64 for
float64) of the same shape, whatever the precision of training: sparsemax in bfloat16 sums to 1.009
over a vocabulary of 32,000.
"""

import re
from dataclasses import dataclass

import entmax
import torch
import torch.nn.functional as F
from torch import Tensor

SOFT_PREDICTIONS = ("softmax", "sparsemax", "entmax15", "gumbel_softmax")
DEFAULT_TEMPERATURE = {"softmax": 1.0, "sparsemax": 1.0, "entmax15": 1.0, "gumbel_softmax": 0.1}

SUPPORT_BOUND = 128
"""Where sparsemax and entmax15 start to look for their support: among the largest logits.

entmax doubles the number wherever the support turns out larger, so the result is exact.
"""


def soft_prediction(
    logits: Tensor, kind: str, temperature: float, *, gumbel_hard: bool = False, noise: bool = True
) -> Tensor:
    """The soft prediction of the given kind; rows sum to 1 and are non-negative.

    With z the logits divided by the temperature:

        softmax         argmax_p <p, z> + H(p)                     (dense)
        sparsemax       argmin_p ||p - z||^2                       (Martins and Astudillo, 2016)
        entmax15        argmax_p <p, z> + H_1.5(p), Tsallis        (Peters et al., 2019)
        gumbel_softmax  softmax of (logits + Gumbel noise) / temperature   (Jang et al., 2017)

    Args:
        logits: (..., vocabulary); -inf gives a symbol probability 0.
        kind: one of SOFT_PREDICTIONS.
        temperature: > 0.
        gumbel_hard: gumbel_softmax only: one-hot forward, gradient of the soft sample (straight-through).
        noise: gumbel_softmax only: False leaves the Gumbel noise out, which makes it deterministic.

    Raises:
        ValueError: an unknown kind, or a temperature that is not positive.
    """
    if kind not in SOFT_PREDICTIONS:
        raise ValueError(f"unknown soft prediction {kind!r}: choose one of {', '.join(SOFT_PREDICTIONS)}")
    if not temperature > 0:
        raise ValueError(f"the temperature must be positive, not {temperature}")
    scores = at_least_float32(logits)
    if kind == "gumbel_softmax":
        return _gumbel_softmax(scores, temperature, gumbel_hard, noise)
    if kind == "softmax":
        return torch.softmax(scores / temperature, dim=-1)
    sparse = entmax.sparsemax if kind == "sparsemax" else entmax.entmax15
    return sparse(scores / temperature, dim=-1, k=SUPPORT_BOUND)


def _gumbel_softmax(scores: Tensor, temperature: float, hard: bool, noise: bool) -> Tensor:
    if noise:
        return F.gumbel_softmax(scores, tau=temperature, hard=hard, dim=-1)
    soft = torch.softmax(scores / temperature, dim=-1)
    if not hard:
        return soft
    one_hot = torch.zeros_like(soft).scatter_(-1, soft.argmax(dim=-1, keepdim=True), 1.0)
    return one_hot - soft.detach() + soft


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half precision becomes float32; float32 and float64 stay."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


@dataclass(frozen=True)
class TemperatureSchedule:
    """A temperature that moves linearly from `start` to `end` over the first `updates` updates."""

    start: float
    end: float
    updates: int = 0

    @classmethod
    def parse(cls, text: str) -> "TemperatureSchedule":
        """Reads `0.1` (constant) or `1.0:0.1@2000` (from 1.0 to 0.1 over 2,000 updates).

        Raises:
            ValueError: neither form, or a temperature that is not positive.
        """
        number = r"(\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+)"
        match = re.fullmatch(rf"\s*{number}(?::{number}@(\d+))?\s*", text)
        if match is None:
            raise ValueError(
                f"cannot read the temperature {text!r}: write a number such as 0.1, "
                "or START:END@UPDATES such as 1.0:0.1@2000"
            )
        start = float(match[1])
        end = start if match[2] is None else float(match[2])
        if min(start, end) <= 0:
            raise ValueError(f"the temperature must be positive, not {text!r}")
        return cls(start, end, int(match[3] or 0))

    def at(self, update: int) -> float:
        """The temperature for the update that follows `update` finished ones."""
        if update >= self.updates:
            return self.end
        return self.start + (self.end - self.start) * update / self.updates
