"""How every figure is drawn: one style, whatever the user's matplotlibrc says, and SVG that any browser shows alike."""

import io
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import NamedTuple

from matplotlib import style
from matplotlib.figure import Figure

from fairseq_bertloss.evaluation.plain_text import display_width, printable

WIDTH = 6.3
"""Inches: the text width of a page, two columns."""

COLORS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Told apart by the colour-blind (Okabe and Ito, 2008), without the yellow, which is too light for a line."""

DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)), (0, (9, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P")

GREY = "#666666"
LONGEST_NAME = 36
"""Columns of text; a longer name is cut in a figure, and stands whole in the tables."""

LEGEND_COLUMNS = 100
"""Columns of text that a legend has room for; each entry takes 8 more than its label."""

LEGEND_LINE = 0.16
"""Height of a line of a legend, in inches."""

STYLE = {
    # Text stays text, so that the browser finds glyphs that DejaVu Sans lacks; Verdana has the same widths.
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana"],
    "text.parse_math": False,  # a $ in a system's name or in a token is a $
    "svg.hashsalt": "bertloss",  # the same figure has the same ids, and so the same bytes
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "figure.facecolor": "white",
}


class Drawing(NamedTuple):
    """A figure in the formats that it is written in."""

    svg: bytes
    pdf: bytes


UNDATED = {
    "svg": dict.fromkeys(("Creator", "Date", "Format", "Type")),
    "pdf": dict.fromkeys(("Creator", "Producer", "CreationDate")),
}
"""What a format would say about when and by what it was written, which makes equal figures differ."""


def drawn(draw: Callable[..., Figure]) -> Callable[..., Drawing]:
    """Turns a function that draws a figure into one that returns it in every format: equal arguments, equal bytes."""

    @wraps(draw)
    def saved(*args, **kwargs) -> Drawing:
        with style.context(["default", STYLE]), warnings.catch_warnings():
            # In SVG matplotlib only measures the text; the browser that draws it has the glyphs.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            figure = draw(*args, **kwargs)
            return Drawing(*(_saved(figure, form) for form in Drawing._fields))

    return saved


def _saved(figure: Figure, form: str) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format=form, metadata=UNDATED[form])
    return file.getvalue()


def system_styles(names: Iterable[str]) -> dict[str, dict]:
    """Colour, dashes and marker of each system's line; the same in every figure that is given the same names."""
    return {
        name: {
            "color": COLORS[i % len(COLORS)],
            "linestyle": DASHES[i % len(DASHES)],
            "marker": MARKERS[i % len(MARKERS)],
        }
        for i, name in enumerate(dict.fromkeys(names))
    }


def figure_name(name: str) -> str:
    """A system's name as it stands in a figure."""
    name = printable(name)
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def add_legend(figure: Figure, handles: Sequence, labels: Sequence[str]) -> None:
    """Puts a legend above the axes, in as many columns as fit, and makes the figure higher by its lines."""
    longest = max(map(display_width, labels))
    lines = math.ceil(len(labels) / max(1, LEGEND_COLUMNS // (longest + 8)))
    columns = math.ceil(len(labels) / lines)
    figure.set_figheight(figure.get_figheight() + LEGEND_LINE * lines)
    # A label that begins with "_" would be left out, so the texts are set afterwards.
    legend = figure.legend(handles, [str(i) for i in range(len(labels))], loc="outside upper center", ncols=columns)
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set_text(label)


def formula(title: str) -> str:
    """A metric's title for a text with parse_math=True: what follows an underscore stands below the line."""
    symbol, _, index = title.partition("_")
    return rf"$\mathdefault{{{symbol}_{{{index}}}}}$" if index else symbol
