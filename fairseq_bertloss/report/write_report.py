"""Writes the report of an evaluation: the page, and beside it its tables and figures for a paper.

bertloss report --runs DIR --output report.html [--published FILE]
"""

import os
from collections.abc import Mapping

from fairseq_bertloss.evaluation import latex, tables
from fairseq_bertloss.evaluation.results import Comparison, Curve, Entropy, read
from fairseq_bertloss.files import check_output, whole
from fairseq_bertloss.report import published
from fairseq_bertloss.report.changes import all_changes
from fairseq_bertloss.report.checks import check
from fairseq_bertloss.report.examples import latex_examples
from fairseq_bertloss.report.trainings import trainings

FILES = {Comparison: "comparison.json", Entropy: "entropy.json", Curve: "curve.json"}


def write_report(
    runs: str,
    output: str,
    published_file: str | None = None,
    title: str | None = None,
    checkpoints: Mapping[str, str] | None = None,
) -> list[str]:
    """Writes the page, and beside it what a paper takes from it; all or none.

    That is the tables as Markdown, LaTeX and JSON, the examples in LaTeX, and the figures as SVG and PDF.

    Args:
        runs: folder of comparison.json and, where they were made, entropy.json and curve.json.
        output: the page, whose name ends in .html; the other names differ in the ending.
        published_file: scores that somebody else published, in the form of `published.read`, to stand beside ours.
        title: of the page; None: the name of the test set.
        checkpoints: a system's name -> the checkpoint that translated, for the commands that trained them.

    Returns:
        The paths that were written, the page first.

    Raises:
        ValueError: there is no comparison, a file is damaged or malformed, a checkpoint is none or of no system, or the
            output cannot be written there.
    """
    paths = _output_paths(output)
    comparison, entropies, curves = _read(runs)
    theirs = published.read(published_file) if published_file else None

    found = trainings(checkpoints, comparison) if checkpoints else {}

    from fairseq_bertloss.report.page import page  # imports matplotlib, which an error need not wait for

    html, drawings = page(comparison, entropies, curves, runs, theirs, title, found)
    texts = [html, *_tables(comparison, theirs)]
    files = {path: text.encode() for path, text in zip(paths, texts, strict=True)}
    stem, _ = os.path.splitext(output)
    if moved := all_changes(comparison):
        files[f"{stem}.examples.tex"] = f"{latex_examples(comparison, moved)}\n".encode()
    for name, drawing in drawings.items():
        files |= {f"{stem}.{name}.{form}": content for form, content in drawing._asdict().items()}
    _write(files)
    return list(files)


def _output_paths(output: str) -> list[str]:
    """The page and the tables, whose names are unlike those of anything else that may stand there."""
    stem, extension = os.path.splitext(output)
    if extension != ".html":
        raise ValueError(f"--output {output} must end in .html")
    paths = [output, *(f"{stem}.table.{extension}" for extension in ("md", "tex", "json"))]
    for path in paths:
        check_output(path)
    return paths


def _read(runs: str) -> tuple[Comparison, list[Entropy], list[Curve]]:
    """The results in a folder, checked."""
    results = {}
    for kind, name in FILES.items():
        path = os.path.join(runs, name)
        results[kind] = read(path, kind) if os.path.exists(path) else []
        check(path, results[kind])
        if kind is Comparison and not results[kind]:
            raise ValueError(f"there is no comparison in {path}: write it with `bertloss compare ... --output {path}`")
    return results[Comparison][0], results[Entropy], results[Curve]


def _tables(comparison: Comparison, theirs: published.Published | None) -> list[str]:
    """The tables as Markdown, LaTeX and JSON, ours first."""
    if theirs is None:
        return [f"{form(comparison)}\n" for form in (tables.markdown, latex.main_table, tables.to_json)]
    return [
        f"{tables.markdown(comparison)}\n\n{published.markdown(theirs, comparison)}\n",
        f"{latex.main_table(comparison)}\n\n{published.latex(theirs, comparison)}\n",
        f"{tables.to_json(comparison, published=published.content(theirs, comparison))}\n",
    ]


def _write(files: dict[str, bytes]) -> None:
    """Writes files by their paths; none of them appears before all are whole."""
    with whole(*files) as partial:
        for path, content in zip(partial, files.values(), strict=True):
            path.write_bytes(content)
