"""Figures 1 to 3 of the report, as SVG; figure 4 is in heat_map.py.

svg = figures.entropy(entropies, system_styles(entropy.system for entropy in entropies))
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from fairseq_bertloss.evaluation.results import HEADLINE, METRICS, Curve, Entropy
from fairseq_bertloss.report.changes import Changes
from fairseq_bertloss.report.style import GREY, WIDTH, add_legend, drawn, figure_name, formula

STEPS = 60
"""The largest number of steps of the density; the bins in the file may be finer."""

ENOUGH_POSITIONS = 10
"""The smallest number of positions in a step of the density; fewer would be noise."""

SHOWN = 0.999
"""Share of the positions of every system that the axis of entropy covers."""

BASELINE = {"linestyle": "", "marker": "*", "ms": 9, "mfc": "white", "mec": "black", "mew": 0.8}
EPOCH = {"color": GREY, "lw": 0.7, "linestyle": (0, (4, 3))}

FEW_EPOCHS = 12
"""Ends of epochs whose lines are drawn in full colour; more are paler, so that they do not hide the curves."""

LEAST_SPAN = 1.0
"""Points that the axis of a score covers at least, so that chance does not look like a change."""

MOST_DOTS = 1000
"""Dots of one panel; more of them become an image, which is smaller."""


@drawn
def entropy(entropies: Sequence[Entropy], styles: dict[str, dict]) -> Figure:
    """Figure 1, entropy at inference: density and cumulative distribution, a line for each system.

    The density has a logarithmic axis, since most positions are near 0 and what differs is the tail. The cumulative
    distribution is less that of the first system, from which the others would be hard to tell.
    """
    figure = Figure(figsize=(WIDTH, 2.3), layout="constrained")
    figure.get_layout_engine().set(wspace=0.06)
    density, below = figure.subplots(1, 2)
    end = max(_quantile(distribution, SHOWN) for distribution in entropies)
    for distribution in entropies:
        style = styles[distribution.system]
        _density(density, distribution, end, style)
        _more_below(below, distribution, entropies[0], end, style)
    density.set(yscale="log", ylabel="density (per nat)", xlim=(0, end))
    density.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    below.set(ylabel="positions below, difference\nfrom the first system (points)", xlim=(0, end))
    for axes in (density, below):
        axes.set_xlabel("entropy (nats)")
    handles = [Line2D([], [], **styles[distribution.system]) for distribution in entropies]
    add_legend(figure, handles, [figure_name(distribution.system) for distribution in entropies])
    return figure


def _quantile(distribution: Entropy, share: float) -> float:
    """The end of the bin below which a share of the positions lies."""
    positions = np.cumsum(distribution.counts)
    return float(np.searchsorted(positions, share * positions[-1]) + 1) * distribution.bin_width


def _density(axes: Axes, distribution: Entropy, end: float, style: dict) -> None:
    """Draws a histogram as a step line."""
    edges, counts = _joined_bins(distribution, end / STEPS)
    density = counts / counts.sum() / np.diff(edges)
    axes.stairs(density, edges, baseline=None, color=style["color"], ls=style["linestyle"], lw=1.2)


def _joined_bins(distribution: Entropy, narrowest: float) -> tuple[np.ndarray, np.ndarray]:
    """Edges and counts after neighbouring bins were joined that are narrow or have too few positions to say much."""
    edges = [0.0]
    counts = []
    count = 0
    last = np.flatnonzero(distribution.counts)[-1]
    for i, more in enumerate(distribution.counts[: last + 1], 1):
        count += more
        is_enough = count >= ENOUGH_POSITIONS and i * distribution.bin_width - edges[-1] >= 0.999 * narrowest
        if is_enough or i == last + 1:
            edges.append(i * distribution.bin_width)
            counts.append(count)
            count = 0
    return np.array(edges), np.array(counts)


def _more_below(axes: Axes, distribution: Entropy, first: Entropy, end: float, style: dict) -> None:
    """Draws how many more positions lie below an entropy than of the first system, in points; a marker at the mean."""
    entropy = np.linspace(0, end, STEPS + 1)
    more = 100 * (_share_below(distribution, entropy) - _share_below(first, entropy))
    axes.plot(entropy, more, **style | {"marker": ""})
    at_mean = np.interp(distribution.mean, entropy, more)
    axes.plot(distribution.mean, at_mean, style["marker"], color=style["color"], mec="white", mew=0.6, ms=6)


def _share_below(distribution: Entropy, entropy: np.ndarray) -> np.ndarray:
    """The share of positions below each entropy."""
    share = np.cumsum([0, *distribution.counts]) / sum(distribution.counts)
    return np.interp(entropy, np.arange(len(share)) * distribution.bin_width, share)


@drawn
def curve(curves: Sequence[Curve], styles: dict[str, dict]) -> Figure:
    """Figure 2, scores during fine-tuning: each headline metric against the updates, a line for each system.

    All panels span as many points, so that equal heights are equal changes.
    """
    figure = Figure(figsize=(WIDTH, 2.15), layout="constrained")
    figure.get_layout_engine().set(wspace=0.04)
    last = max(1, *(point.updates for line in curves for point in line.points))
    ends = sorted({end for line in curves for end in line.epoch_ends if end <= last})
    panels = figure.subplots(1, len(HEADLINE), sharex=True)
    for axes, metric in zip(panels, HEADLINE, strict=True):
        for line in curves:
            _curve(axes, line, metric, styles[line.system])
        for end in ends:
            axes.axvline(end, **EPOCH | {"alpha": min(1, FEW_EPOCHS / len(ends))}, zorder=0)
        unit = "" if metric == "bleu" else " (%)"
        axes.set_ylabel(formula(METRICS[metric].title) + unit, parse_math=True)
        axes.set(xlabel="updates", xlim=(-0.05 * last, 1.05 * last))
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.yaxis.set_major_locator(MaxNLocator(5))
    _span_alike(panels, curves)
    legend = [(styles[line.system], figure_name(line.system)) for line in curves] + [(BASELINE, "baseline")]
    if ends:
        legend.append((EPOCH, "end of an epoch"))
    add_legend(figure, [Line2D([], [], **style) for style, _ in legend], [label for _, label in legend])
    return figure


def _span_alike(panels: Sequence[Axes], curves: Sequence[Curve]) -> None:
    """Centres each panel on its metric's scores, and lets all span the widest range among them."""
    scores = [[point.scores[metric] for line in curves for point in line.points] for metric in HEADLINE]
    half = max(LEAST_SPAN, 1.1 * max(max(own) - min(own) for own in scores)) / 2
    for axes, own in zip(panels, scores, strict=True):
        centre = (max(own) + min(own)) / 2
        axes.set_ylim(centre - half, centre + half)


def _curve(axes: Axes, line: Curve, metric: str, style: dict) -> None:
    points = sorted(line.points, key=lambda point: point.updates)
    updates = [point.updates for point in points]
    scores = [point.scores[metric] for point in points]
    axes.plot(updates, scores, **style, mec="white", mew=0.4, clip_on=False)
    if updates[0] == 0:
        axes.axhline(scores[0], color=GREY, lw=0.6, ls=":", zorder=0)
        axes.plot(0, scores[0], **BASELINE, zorder=5, clip_on=False)


@drawn
def change(
    changes: Changes, buckets: Sequence[tuple[str, np.ndarray]], limits: tuple[float, float], color: str
) -> Figure:
    """Figure 3, change by sentence: F_BERT against BLEU, a dot for each sentence, a panel for each bucket of lengths.

    Args:
        changes: of one system.
        buckets: (name, members) by length.
        limits: largest change in BLEU and in F_BERT; those of all systems make their figures comparable.
        color: of the dots.
    """
    figure = Figure(figsize=(WIDTH, 2.15), layout="constrained")
    panels = figure.subplots(1, len(buckets), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (name, members) in zip(panels, buckets, strict=True):
        _scatter(axes, changes, members, color)
        unchanged = np.count_nonzero(changes.unchanged & members)
        axes.set_title(f"{name}: n = {np.count_nonzero(members):,}\n{unchanged:,} unchanged")
        axes.set(xlim=(-1.35 * limits[0], 1.35 * limits[0]), ylim=(-1.35 * limits[1], 1.35 * limits[1]))
        axes.xaxis.set_major_locator(MaxNLocator(3, symmetric=True))
        axes.yaxis.set_major_locator(MaxNLocator(5, symmetric=True))
    figure.supxlabel("change in sentence BLEU (points)", fontsize=8)
    panels[0].set_ylabel(f"change in {formula('F_BERT')} (points)", parse_math=True)
    return figure


def _scatter(axes: Axes, changes: Changes, members: np.ndarray, color: str) -> None:
    """Draws the sentences that changed, and in each corner how many moved that way in both metrics."""
    for line in (axes.axhline, axes.axvline):
        line(0, color=GREY, lw=0.6, zorder=0)
    moved = members & ~changes.unchanged
    axes.scatter(
        changes.bleu[moved],
        changes.f_bert[moved],
        s=7,
        color=color,
        alpha=0.5,
        lw=0,
        rasterized=np.count_nonzero(moved) > MOST_DOTS,
    )
    for x in (-1, 1):
        for y in (-1, 1):
            count = np.count_nonzero(members & changes.quadrant(x, y))
            place = {"ha": "right" if x > 0 else "left", "va": "top" if y > 0 else "bottom"}
            axes.text((x * 0.94 + 1) / 2, (y * 0.96 + 1) / 2, f"{count:,}", transform=axes.transAxes, size=7.5, **place)
