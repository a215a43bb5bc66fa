"""Figure 4: how BERTScore matches the tokens of a hypothesis with those of its reference.

svg = heat_map.heat_map(comparison.similarities)
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from fairseq_bertloss.evaluation.plain_text import display_width, printable
from fairseq_bertloss.evaluation.results import Similarity
from fairseq_bertloss.report.style import WIDTH, drawn, figure_name

COLOR_MAP = "cividis"
"""Its lightness rises evenly, for the colour-blind and for print in grey."""

# Lengths are in inches, since the cells must have room for their labels.
NARROWEST = 3.3
CELL = 0.2
SMALLEST_CELL = 0.14
LETTER = 0.068  # a column of text at 7.5 points
SLANT = 0.72  # the height of a label that is turned by 45 degrees, to its length
TITLE = 0.28
AXIS_LABEL = 0.27
KEY = 0.4
BAR = 0.6
GAP = 0.15

PRECISION = {"marker": "o", "ms": 5, "mfc": "white", "mec": "black", "mew": 0.8, "ls": ""}
RECALL = {"marker": "s", "ms": 9.5, "mfc": "none", "mec": "black", "mew": 1, "ls": ""}


class Panel(NamedTuple):
    """A matrix, and the room on the left and at the bottom for its labels."""

    similarity: Similarity
    left: float
    bottom: float

    @property
    def rows(self) -> int:
        """Tokens of the hypothesis."""
        return len(self.similarity.hypothesis_tokens)

    @property
    def columns(self) -> int:
        """Tokens of the reference."""
        return len(self.similarity.reference_tokens)


@drawn
def heat_map(similarities: Sequence[Similarity]) -> Figure:
    """Cosines of each pair as a panel, side by side where they fit into the width, else one below the other."""
    panels = [_panel(similarity) for similarity in similarities]
    lines = [panels] if _largest_cell(panels) >= SMALLEST_CELL else [[panel] for panel in panels]
    cell = max(SMALLEST_CELL, min(map(_largest_cell, lines)))
    heights = [TITLE + max(panel.bottom + panel.rows * cell for panel in line) for line in lines]
    width = BAR + max(sum(panel.left + panel.columns * cell + GAP for panel in line) for line in lines)
    figure = Figure(figsize=(max(NARROWEST, width), sum(heights) + KEY))
    lowest = min(value for similarity in similarities for row in similarity.cosine for value in row)
    scale = ScalarMappable(Normalize(np.floor(10 * lowest) / 10, 1), COLOR_MAP)
    bottom = sum(heights) + KEY
    for line, height in zip(lines, heights, strict=True):
        bottom -= height
        _draw_line(figure, line, bottom, cell, scale)
    handles = [Line2D([], [], **PRECISION), Line2D([], [], **RECALL)]
    labels = ["best for the hypothesis' token (precision)", "best for the reference's token (recall)"]
    figure.legend(handles, labels, loc="lower left", borderaxespad=0.2)
    return figure


def _panel(similarity: Similarity) -> Panel:
    left, bottom = (
        LETTER * max(map(display_width, tokens)) + 0.1
        for tokens in (similarity.hypothesis_tokens, similarity.reference_tokens)
    )
    return Panel(similarity, AXIS_LABEL + left, AXIS_LABEL + SLANT * bottom)


def _largest_cell(line: Sequence[Panel]) -> float:
    """The side of a cell with which panels fit side by side."""
    room = WIDTH - BAR - sum(panel.left + GAP for panel in line)
    return min(CELL, room / sum(panel.columns for panel in line))


def _draw_line(figure: Figure, line: Sequence[Panel], bottom: float, cell: float, scale: ScalarMappable) -> None:
    """Draws panels side by side on one base line, and the colour bar to their right."""
    bottom += max(panel.bottom for panel in line)
    left = 0.0
    for panel in line:
        width = panel.columns * cell
        height = panel.rows * cell
        axes = _add_axes(figure, left + panel.left, bottom, width, height)
        _draw_panel(axes, panel.similarity, cell, scale)
        left += panel.left + width + GAP
    bar = _add_axes(figure, left, bottom, 0.1, line[-1].rows * cell)
    figure.colorbar(scale, bar, label="cosine").outline.set_visible(False)


def _add_axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place in inches."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def _draw_panel(axes: Axes, similarity: Similarity, cell: float, scale: ScalarMappable) -> None:
    cosine = np.array(similarity.cosine)
    rows, columns = cosine.shape
    axes.pcolormesh(cosine, cmap=scale.cmap, norm=scale.norm, edgecolors="white", linewidth=0.4)
    axes.invert_yaxis()  # the first token on top
    grow = cell / CELL
    outline = [withStroke(linewidth=2.4, foreground="white")]
    recall = RECALL | {"ms": RECALL["ms"] * grow, "path_effects": outline}
    axes.plot(np.arange(columns) + 0.5, cosine.argmax(axis=0) + 0.5, **recall)
    axes.plot(cosine.argmax(axis=1) + 0.5, np.arange(rows) + 0.5, **PRECISION | {"ms": PRECISION["ms"] * grow})
    turned = {"rotation": 45, "ha": "right", "va": "center", "rotation_mode": "anchor"}
    axes.set_xticks(np.arange(columns) + 0.5, map(printable, similarity.reference_tokens), **turned)
    axes.set_yticks(np.arange(rows) + 0.5, map(printable, similarity.hypothesis_tokens))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="reference", ylabel="hypothesis", title=figure_name(similarity.system))
