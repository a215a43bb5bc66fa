"""Whether a processor or a GPU is faster in bfloat16 than in float32."""

import time

import torch
from torch import Tensor

PRODUCTS = 8
"""Products of each precision that are timed: the fastest counts, which other work on the processor disturbs least."""

TOKENS, WIDTH = 256, 768
"""The size of a product: a batch's tokens by a layer of BERT."""


def is_faster_in_bfloat16(device: torch.device) -> bool:
    """Whether products in bfloat16 take less time on this device than in float32; a CPU is timed for some milliseconds.

    Processors that are made for bfloat16 are about twice as fast in it, others take five times as long or more.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return _seconds(torch.bfloat16) < _seconds(torch.float32)


def _seconds(dtype: torch.dtype) -> float:
    """Time of the fastest product."""
    left = torch.ones(TOKENS, WIDTH, dtype=dtype)
    right = torch.ones(WIDTH, WIDTH, dtype=dtype)
    return min(_taken(left, right) for _ in range(PRODUCTS))


def _taken(left: Tensor, right: Tensor) -> float:
    start = time.perf_counter()
    torch.nn.functional.linear(left, right)
    return time.perf_counter() - start
