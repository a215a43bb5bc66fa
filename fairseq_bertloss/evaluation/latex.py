"""The main table of a comparison in LaTeX, and any text as LaTeX shows it.

print(latex.main_table(results.read("runs/comparison.json", Comparison)[0]))
"""

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
    lines = [
        r"% Needs \usepackage{booktabs} in the preamble.",
        *(f"% {printable(name)}: {printable(value)}" for name, value in comparison.signatures.items()),
        r"\begin{table*}",
        r"\centering\small",
        rf"\begin{{tabular}}{{l{'r' * size * len(groups)}}}",
        r"\toprule",
        " & ".join(["", *spans]) + r" \\",
        *([" ".join(rules), " & ".join(["System", *details]) + r" \\"] if size > 1 else []),
        r"\midrule",
        *(_latex_row(comparison, system) for system in comparison.systems),
        r"\bottomrule",
        r"\end{tabular}",
        rf"\caption{{{' '.join(map(escaped, tables.notes(comparison)))}}}",
        r"\end{table*}",
    ]
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Text as LaTeX shows it, whatever it holds."""
    return "".join(LATEX.get(char, char) for char in printable(text))


def metric_title(title: str) -> str:
    """A metric's title with its index below the line."""
    symbol, _, index = title.partition("_")
    return rf"${symbol}_{{\mathrm{{{index}}}}}$" if index else title


def _latex_row(comparison: Comparison, system: System) -> str:
    cells = [tables.main_cell(comparison, system, column) for column in tables.main_columns(comparison)]
    # A dagger takes no room, so that the digits stay in line.
    texts = [_latex_number(cell) + (rf"\rlap{{{escaped(cell.mark)}}}" if cell.mark else "") for cell in cells]
    return " & ".join([escaped(system.name), *texts]) + r" \\"


def _latex_number(cell: tables.Cell) -> str:
    return rf"\textbf{{{escaped(cell.text)}}}" if cell.is_best else escaped(cell.text)
