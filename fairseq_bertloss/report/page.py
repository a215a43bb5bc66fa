"""The report as one HTML page: which section, table and figure stands where.

Tables come from evaluation/tables.py and published.py. Figures get their captions in illustrations.py and are drawn in
figures.py (1: entropy at inference, 2: scores during fine-tuning, 3: change by sentence) and heat_map.py (4: greedy
matching).

html, drawings = page.page(comparison, entropies, curves, "runs")
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from fairseq_bertloss.evaluation import latex, tables
from fairseq_bertloss.evaluation.health import health
from fairseq_bertloss.evaluation.limits import LEAST_DISTINCT, LENGTH_TOLERANCE, MOST_REPEATED
from fairseq_bertloss.evaluation.results import METRICS, Comparison, Curve, Entropy
from fairseq_bertloss.report import illustrations, published
from fairseq_bertloss.report.alarms import alarms
from fairseq_bertloss.report.changes import all_changes
from fairseq_bertloss.report.examples import examples
from fairseq_bertloss.report.markup import (
    cell,
    document,
    escape,
    figure,
    paragraph,
    plain_table,
    preformatted,
    prose,
    table,
)
from fairseq_bertloss.report.style import Drawing, system_styles
from fairseq_bertloss.report.summary import summary
from fairseq_bertloss.report.trainings import Training, section


def page(
    comparison: Comparison,
    entropies: Sequence[Entropy],
    curves: Sequence[Curve],
    folder: str,
    theirs: published.Published | None = None,
    title: str | None = None,
    trainings: Mapping[str, Training] | None = None,
) -> tuple[str, dict[str, Drawing]]:
    """The whole page, and its figures by the names of their files.

    Args:
        comparison: systems on a test set.
        entropies: of the systems, or none.
        curves: of the systems, or none.
        folder: where the results were read, for the commands that make those that are missing.
        theirs: what somebody else published, for a section of its own.
        title: of the page; None: the name of the test set.
        trainings: how systems were trained, by their names, for a section of its own.
    """
    title = title or f"Translations of {tables.test_set(comparison)}"
    names = [system.name for system in comparison.systems]
    styles = system_styles([*names, *(part.system for part in (*entropies, *curves))])
    drawings: dict[str, Drawing] = {}
    body = [
        f"<h1>{escape(title)}</h1>",
        *_summary(comparison, entropies),
        "<h2>Scores</h2>",
        figure("Table 1. The systems' scores.", " ".join(tables.notes(comparison)), _main_table(comparison), True),
        *(published.section(theirs, comparison) if theirs else ()),
        "<h2>Confidence, significance and further metrics</h2>",
        *_further_tables(comparison),
        "<h2>Entropy at inference</h2>",
        *(
            illustrations.entropy(entropies, styles, drawings)
            if entropies
            else illustrations.missing(1, "entropy", folder)
        ),
        "<h2>Scores during fine-tuning</h2>",
        *(illustrations.curve(curves, styles, drawings) if curves else illustrations.missing(2, "curve", folder)),
        *_sentences(comparison, styles, drawings),
        *section(trainings or {}),
        "<h2>Source of the main table, signatures and files</h2>",
        *_appendix(comparison),
    ]
    return document(title, body), drawings


def _summary(comparison: Comparison, entropies: Sequence[Entropy]) -> Iterator[str]:
    for text in summary(comparison, entropies):
        yield paragraph(text, "warning" if text.startswith("Warning") else "")


def _further_tables(comparison: Comparison) -> Iterator[str]:
    caption = "Each covers other sentences of the same kind and, where a system has several runs, other runs."
    yield figure("Table 2. Confidence intervals.", caption, plain_table(*tables.interval_table(comparison)), True)
    if comparison.tests:
        tests = plain_table(*tables.test_table(comparison), left=3)
        yield figure("Table 3. Significance tests.", _about_tests(comparison), tests, True)
    own = health(comparison.references, comparison.by_character)
    whose = "first references" if comparison.further_reference_files else "references"
    unit = "characters" if comparison.by_character else "words"
    caption = (
        f"P_BERT, R_BERT: BERTScore's precision and recall; length ratio: {unit} of the outputs divided by {unit} of "
        "the references; distinct: different outputs, in percent of all; empty: number of empty outputs; repeated: "
        "bigrams that occurred before in their line, in percent of all. TER, empty and repeated are better when low. "
        f"The {whose}: distinct {own['distinct']:.1f}, repeated {own['repeated']:.1f}. {_about_marks(comparison)}"
    )
    yield figure("Table 4. Further metrics.", caption, _further_table(comparison), True)


def _about_marks(comparison: Comparison) -> str:
    """What the marks in the table of further metrics mean."""
    if not comparison.fine_tuned:
        return ""
    role = "control" if comparison.control else "baseline"
    return (
        f"Marked: signs of a collapse that the {role} does not show, in the mean or in one run: a length ratio further "
        f"from 1 by more than {LENGTH_TOLERANCE:g}, less than {LEAST_DISTINCT:.0%} of its distinct outputs, more empty "
        f"outputs, or repeated bigrams more than {MOST_REPEATED:g} point above its own."
    )


def _main_table(comparison: Comparison) -> str:
    columns = tables.main_columns(comparison)
    groups = [list(group) for _, group in groupby(columns, lambda column: column.metric)]
    spans = [f'<th colspan="{len(group)}">{prose(METRICS[group[0].metric].title)}</th>' for group in groups]
    titles = [cell(column.title if column.role else "score", "th", _kind(column)) for column in columns]
    rows = [
        (system.name, [_main_cell(tables.main_cell(comparison, system, column), column) for column in columns])
        for system in comparison.systems
    ]
    return table([[cell("", "th"), *spans], [cell("system", "th", "text"), *titles]], rows)


def _main_cell(content: tables.Cell, column: tables.Column) -> str:
    number = escape(content.text)
    number = f"<b>{number}</b>" if content.is_best else number
    return f'<td class="{_kind(column)}">{number}<span class="mark">{content.mark}</span></td>'


def _kind(column: tables.Column) -> str:
    return "delta" if column.role else "first"


def _about_tests(comparison: Comparison) -> str:
    titles, _ = tables.test_table(comparison)
    text = (
        "Δ and its 95% confidence interval in points. Every p is one-sided: near 0 the system is better, near 1 worse. "
        "Bootstrap: paired, over sentences; randomization: paired approximate randomization."
    )
    if "p runs" in titles:
        text += " Runs: over sentences and runs; it decides where there are several."
    if any("sacrebleu" in title for title in titles):
        text += " sacrebleu's own paired tests of BLEU look in both directions."
    return text


def _further_table(comparison: Comparison) -> str:
    (first, *titles), _ = tables.further_table(comparison)
    wrong = alarms(comparison)
    rows = []
    for system in comparison.systems:
        kinds = ["alarm" if (system.name, metric) in wrong else "" for metric in tables.FURTHER]
        scores = [tables.score(system, metric) for metric in tables.FURTHER]
        rows.append((system.name, [cell(score, "td", kind) for score, kind in zip(scores, kinds, strict=True)]))
    return table([[cell(first, "th", "text"), *(cell(title, "th") for title in titles)]], rows)


def _sentences(comparison: Comparison, styles: dict[str, dict], drawings: dict[str, Drawing]) -> Iterator[str]:
    """What changed by sentence; nothing where the baseline is alone."""
    if moved := all_changes(comparison):
        yield "<h2>Changes by sentence</h2>"
        yield from illustrations.changes(comparison, moved, styles, drawings)
        yield "<h2>Examples</h2>"
        yield paragraph(
            "First runs. Struck through: words of the baseline that the system lacks. Underlined: words that are new."
        )
        yield from examples(comparison, moved)
        yield "<h2>How BERTScore matches a sentence</h2>"
        yield from illustrations.similarities(comparison, drawings)


def _appendix(comparison: Comparison) -> Iterator[str]:
    for title, text in (("Markdown", tables.markdown(comparison)), ("LaTeX (booktabs)", latex.main_table(comparison))):
        yield f"<details><summary>{title}</summary>{preformatted(text)}</details>"
    yield "<dl>"
    for name, value in comparison.signatures.items():
        yield f"<dt>{prose(name)}</dt><dd><code>{escape(value)}</code></dd>"
    references = ", ".join((comparison.reference_file, *comparison.further_reference_files))
    yield f"<dt>references</dt><dd><code>{escape(references)}</code></dd>"
    for system in comparison.systems:
        files = ", ".join(run.file for run in system.runs)
        yield f"<dt>{escape(system.name)}</dt><dd><code>{escape(files)}</code></dd>"
    yield "</dl>"
