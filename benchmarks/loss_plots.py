"""The figures of benchmarks/loss.py and risk_growth.py, as PNG or SVG."""

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from loss_growth import Point, exponent
from loss_report import Result, write
from loss_rows import WAYS
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from fairseq_bertloss.report.style import COLORS, GREY, MARKERS, STYLE, WIDTH

SUFFIXES = (".png", ".svg")
BAR = 0.21
"""Width, the distance from one soft prediction to the next being 1."""


@contextlib.contextmanager
def _figure(path: str, title: str, panels: int = 2) -> Iterator[Sequence[Axes]]:
    """Panels side by side to draw in; written at the end."""
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(1.25 * WIDTH, 3.2), layout="constrained")
        figure.suptitle(title, fontsize=7, color=GREY)
        yield figure.subplots(1, panels)
        file = io.BytesIO()
        figure.savefig(file, format=Path(path).suffix[1:], dpi=200)
    write(path, file.getvalue())


def bars(path: str, lines: Sequence[Result], title: str) -> None:
    """Time and memory of every way to compute each soft prediction's loss.

    Args:
        path: ends with one of SUFFIXES.
        lines: the rows of the table.
        title: above the panels.
    """
    lines = [line for line in lines if line.kind]
    with _figure(path, title) as (time, memory):
        _bars(time, lines, lambda line: line.ratio)
        time.set_ylabel("time / floor (median; p20 to p80)")
        _bars(memory, [line for line in lines if line.peak is not None], lambda line: [line.beyond_lm_to_cross_entropy])
        memory.set_ylabel("(peak memory − the LM's) / cross-entropy's")
        time.set_ylim(top=1.25 * time.get_ylim()[1])
        time.legend(loc="upper right", ncols=2)


def _bars(axes: Axes, lines: Sequence[Result], values: Callable[[Result], Sequence[float]]) -> None:
    kinds = list(dict.fromkeys(line.kind for line in lines))
    ways = [way for way in WAYS if any(line.way == way for line in lines)]
    for way, color in zip(ways, COLORS[1:], strict=False):
        drawn = [line for line in lines if line.way == way]
        x = np.array([kinds.index(line.kind) for line in drawn]) + BAR * (ways.index(way) - (len(ways) - 1) / 2)
        quantiles = np.array([values(line) for line in drawn])
        middle = quantiles[:, quantiles.shape[1] // 2]
        axes.bar(x, middle, 0.9 * BAR, color=color, label=way)
        spread = middle - quantiles[:, 0], quantiles[:, -1] - middle
        axes.errorbar(x, middle, spread, fmt="none", ecolor="black", lw=0.8)
        for position, height, top in zip(x, middle, quantiles[:, -1], strict=True):
            axes.annotate(f"{height:.2f}", (position, top), (0, 1), textcoords="offset points", ha="center", fontsize=5)
    axes.axhline(1, color=GREY, lw=0.7, ls=":")
    axes.set_xticks(range(len(kinds)), kinds)


def growth(path: str, axis: str, points: Sequence[Point], title: str) -> None:
    """Time and memory of every row against the size, both axes logarithmic, with the exponents.

    Args:
        path: ends with one of SUFFIXES.
        axis: what the sizes are of.
        points: as measured.
        title: above the panels.
    """
    sizes = [point.size for point in points]
    with _figure(path, title) as (time, memory):
        _curves(time, sizes, {row: [point.seconds[row] for point in points] for row in points[0].seconds})
        _curves(memory, sizes, {row: [point.peaks[row] / 1e9 for point in points] for row in points[0].peaks})
        for axes in (time, memory):
            axes.set_xticks(sizes, [point.label for point in points], rotation=30, ha="right")
        time.set(xlabel=axis, ylabel="seconds (median)")
        memory.set(xlabel=axis, ylabel="peak memory (GB)")


def growth_of_time(path: str, growths: Mapping[str, Mapping[float, dict[str, float]]], title: str) -> None:
    """Time of every row against several sizes, a panel each, both axes logarithmic.

    Args:
        path: ends with one of SUFFIXES.
        growths: for each axis the seconds of every row by the size.
        title: above the panels.
    """
    with _figure(path, title, len(growths)) as panels:
        for axes, (axis, seconds) in zip(panels, growths.items(), strict=True):
            rows = next(iter(seconds.values()))
            _lines(axes, list(seconds), {row: [taken[row] for taken in seconds.values()] for row in rows})
            axes.set_xticks(list(seconds), [f"{size:g}" for size in seconds])
            axes.set(xlabel=axis, ylabel="seconds (median)")
        lines = panels[0].get_legend_handles_labels()
        panels[0].figure.legend(*lines, loc="outside lower center", ncols=3, fontsize=6)


def _curves(axes: Axes, sizes: Sequence[float], rows: dict[str, list[float]]) -> None:
    """Lines, with their exponents in a legend."""
    _lines(axes, sizes, {f"{name}: exponent {exponent(sizes, row):.2f}": row for name, row in rows.items()})
    axes.legend(fontsize=6)


def _lines(axes: Axes, sizes: Sequence[float], rows: dict[str, list[float]]) -> None:
    for (label, values), color, marker in zip(rows.items(), COLORS, MARKERS, strict=False):
        axes.plot(sizes, values, color=color, marker=marker, label=label)
    axes.set(xscale="log", yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())
