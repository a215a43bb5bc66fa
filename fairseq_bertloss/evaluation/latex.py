"""The main table of a comparison in LaTeX, and any text as LaTeX shows it.

print(latex.main_table(results.read("runs/comparison.json", Comparison)[0]))
"""

from collections.abc import Sequence
from itertools import groupby

from fairseq_bertloss.evaluation import tables
from fairseq_bertloss.evaluation.plain_text import printable
from fairseq_bertloss.evaluation.results import METRICS, Comparison, System

LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "±": r"$\pm$",
    "−": "$-$",
    "Δ": r"$\Delta$",
} | {char: "\\" + char for char in "&%$#_{}"}
"""What LaTeX needs in place of a character."""


def main_table(comparison: Comparison) -> str:
    """The main table in the style of booktabs, its notes as the caption."""
    groups = [list(group) for _, group in groupby(tables.main_columns(comparison), lambda column: column.metric)]
    size = len(groups[0])
    spans = [f"\\multicolumn{{{size}}}{{c}}{{{metric_title(METRICS[group[0].metric].title)}}}" for group in groups]
    rules = [f"\\cmidrule(lr){{{start}-{start + size - 1}}}" for start in range(2, 2 + size * len(groups), size)]
    details = ["score" if column.role is None else escaped(column.title) for group in groups for column in group]
    head = [table_row("", *spans)]
    if size > 1:
        head += [" ".join(rules), table_row("System", *details)]
    lines = [
        r"% Needs \usepackage{booktabs} in the preamble.",
        *(f"% {printable(name)}: {printable(value)}" for name, value in comparison.signatures.items()),
        booktabs(
            "l" + "r" * size * len(groups),
            head,
            [_system_row(comparison, system) for system in comparison.systems],
            " ".join(map(escaped, tables.notes(comparison))),
        ),
    ]
    return "\n".join(lines)


def booktabs(columns: str, head: Sequence[str], body: Sequence[str], caption: str, style: str = "") -> str:
    """A table across the page in the style of booktabs.

    Args:
        columns: of the tabular, such as "lrr".
        head: lines above the rule in the middle.
        body: lines below it; without any there is no such rule.
        caption: in LaTeX, as all else.
        style: commands that the table begins with, beside its small letters.
    """
    lines = [
        r"\begin{table*}",
        rf"\centering\small{style}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        *head,
        *([r"\midrule", *body] if body else []),
        r"\bottomrule",
        r"\end{tabular}",
        rf"\caption{{{caption}}}",
        r"\end{table*}",
    ]
    return "\n".join(lines)


def table_row(*cells: str) -> str:
    """A line of a table, whose cells are in LaTeX already."""
    return " & ".join(cells) + r" \\"


def escaped(text: str) -> str:
    """Text as LaTeX shows it, whatever it holds."""
    return "".join(LATEX.get(char, char) for char in printable(text))


def metric_title(title: str) -> str:
    """A metric's title with its index below the line."""
    symbol, _, index = title.partition("_")
    return rf"${symbol}_{{\mathrm{{{index}}}}}$" if index else title


def _system_row(comparison: Comparison, system: System) -> str:
    cells = [tables.main_cell(comparison, system, column) for column in tables.main_columns(comparison)]
    # A dagger takes no room, so that the digits stay in line.
    texts = [_latex_number(cell) + (rf"\rlap{{{escaped(cell.mark)}}}" if cell.mark else "") for cell in cells]
    return table_row(escaped(system.name), *texts)


def _latex_number(cell: tables.Cell) -> str:
    return rf"\textbf{{{escaped(cell.text)}}}" if cell.is_best else escaped(cell.text)
