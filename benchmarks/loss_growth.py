"""How time and memory of the loss grow with tokens, vocabulary and language model, and what fits a card."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from loss_inputs import language_model, made_up_symbols, synthetic
from loss_measure import Machine, peaks, seconds
from loss_rows import CROSS_ENTROPY, LANGUAGE_MODEL, OURS, Row, Workload

from fairseq_bertloss.language_model.pretrained import short_name

SIZES = {
    "tokens": ["512", "1024", "2048", "4096", "8192", "16384"],
    "vocabulary": ["8000", "16000", "32000", "64000", "125000", "250000"],
    "lm": ["128x2", "256x4", "384x6", "512x8", "768x12"],
}
"""What `--growth` takes by default; a language model's are its width and number of layers."""

GROWING = (CROSS_ENTROPY, LANGUAGE_MODEL, OURS)
"""The rows that are measured at every size."""

AXES = {"tokens": "tokens", "vocabulary": "symbols", "lm": "parameters of the LM's layers (millions)"}


@dataclass(frozen=True)
class Shape:
    """What a made-up workload is made of."""

    tokens: int
    vocabulary: int
    dim: int
    longest: int
    lm: str
    layer: int | None

    def describe(self, without: str) -> str:
        """The sizes, but for the one that varies: a key of AXES."""
        parts = {
            "tokens": f"{self.tokens} tokens",
            "vocabulary": f"vocabulary {self.vocabulary}",
            "dim": f"features {self.dim}",
            "longest": f"sentences of up to {self.longest}",
            "lm": f"LM {short_name(self.lm)}",
        }
        return ", ".join(part for name, part in parts.items() if name != without)

    def workload(self, lm: str, layer: int | None) -> Workload:
        """A workload with made-up logits and the language model that `language_model` gives."""
        symbols = made_up_symbols(lm, self.vocabulary)
        return Workload(lm, layer, synthetic(self.tokens, symbols, self.dim, self.longest))


@dataclass(frozen=True)
class Point:
    """One size, and the median seconds and the peak bytes of every row there, by the rows' names."""

    size: float
    seconds: dict[str, float]
    peaks: dict[str, int]

    @property
    def label(self) -> str:
        """The size, to be read."""
        return f"{self.size:,.0f}" if self.size >= 100 else f"{self.size:.3g}"


def resized(shape: Shape, axis: str, size: str) -> tuple[Shape, float]:
    """The shape with another size on an axis, and that size as a number.

    Raises:
        ValueError: no such size.
    """
    if axis == "lm":
        width, _, layers = size.partition("x")
        if not (width.isdecimal() and layers.isdecimal()):
            raise ValueError(f"cannot read the size {size!r} of a language model: write WIDTHxLAYERS such as 768x12")
        # A layer's attention has four square matrices, its feed-forward part two that are four times as large.
        millions = 12 * int(width) ** 2 * int(layers) / 1e6
        return replace(shape, lm=f"random:{size}", layer=None), millions
    if not size.isdecimal() or int(size) < 10:
        raise ValueError(f"--growth {axis} needs sizes that are numbers of at least 10, not {size!r}")
    return replace(shape, **{axis: int(size)}), float(size)


def points(
    shapes: Sequence[tuple[Shape, float]],
    machine: Machine,
    kinds: Sequence[str],
    rounds: int,
    warm_up: int,
    done: Callable[[], object],
) -> Iterator[Point]:
    """Measures the GROWING rows at each size; `done` is called after every update."""
    for shape, size in shapes:
        with language_model(shape.lm, shape.layer, shape.vocabulary) as lm:
            workload = shape.workload(*lm)
            rows = _rows(workload, machine, kinds)
            taken = seconds(rows, machine, rounds, warm_up, done)
            needed = peaks(workload, rows, machine, done)
        yield Point(size, {name: float(np.median(values)) for name, values in taken.items()}, needed)


def steps(shapes: Sequence, kinds: Sequence[str], rounds: int, warm_up: int) -> int:
    """How often `points` calls `done`."""
    return len(shapes) * (2 + len(kinds)) * (rounds + warm_up + 1)


def _rows(workload: Workload, machine: Machine, kinds: Sequence[str]) -> list[Row]:
    return [row for row in workload.rows(machine.device, machine.dtype, kinds) if row.way in GROWING]


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """b of the a * size^b that is closest to the values in least squares of logarithms; nan where one is 0."""
    if min(values) <= 0:  # memory too little to be seen
        return math.nan
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def most_tokens(shape: Shape, way: str, kind: str, machine: Machine, most: int, done: Callable[[], object]) -> int:
    """The largest number of tokens whose update fits the memory that the process may have on the GPU.

    Args:
        shape: its tokens are not looked at.
        way: a row's, CROSS_ENTROPY, OURS or PLAIN.
        kind: of the soft prediction.
        machine: a GPU.
        most: where to stop looking.
        done: called after every try.
    """
    with language_model(shape.lm, shape.layer, shape.vocabulary) as lm:

        def fits(tokens: int) -> bool:
            workload = replace(shape, tokens=tokens).workload(*lm)
            fitted = _runs(workload, way, kind, machine)
            machine.free()  # now that no frame of a failed try holds a tensor
            done()
            return fitted

        return largest(fits, most)


def _runs(workload: Workload, way: str, kind: str, machine: Machine) -> bool:
    try:
        (row,) = (row for row in workload.rows(machine.device, machine.dtype, [kind]) if row.way == way)
        row.update()
    except torch.cuda.OutOfMemoryError:
        return False
    return True


def largest(fits: Callable[[int], bool], most: int, precision: float = 0.02) -> int:
    """The largest number that fits, to a relative precision, by doubling and then by bisection; 0 where not even 64.

    Args:
        fits: whether a number does; where one fits, all smaller ones do.
        most: the largest number to try.
        precision: how far the result may be below the largest that fits.
    """
    low, high = 0, min(64, most)
    while fits(high):
        if high == most:
            return most
        low, high = high, min(2 * high, most)
    while low and high - low > max(1, precision * low):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
