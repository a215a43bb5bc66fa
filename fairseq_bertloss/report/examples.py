"""The report's examples: the sentences that gained and lost most, side by side, as pieces of HTML and in LaTeX."""

from collections.abc import Iterator, Sequence

from fairseq_bertloss.evaluation.latex import booktabs, escaped, metric_title, table_row
from fairseq_bertloss.evaluation.results import HEADLINE, METRICS, Comparison, System
from fairseq_bertloss.evaluation.tables import number, signed
from fairseq_bertloss.report.changes import Changes, Piece, differences
from fairseq_bertloss.report.markup import escape, prose

EACH = 5
"""Gains and losses that are shown of a system."""


def examples(comparison: Comparison, moved: Sequence[Changes]) -> Iterator[str]:
    """The examples of every system, those of the last unfolded."""
    for change in moved:
        unfolded = " open" if change is moved[-1] else ""
        yield f"<details{unfolded}><summary>{escape(change.system)}</summary>"
        for sign, word in ((1, "gains"), (-1, "losses")):
            chosen = change.largest(EACH, sign)
            yield f"<h3>{prose(f'The largest {word} in F_BERT' if chosen else f'No {word} in F_BERT')}</h3>"
            yield from (_example(comparison, comparison.system(change.system), i) for i in chosen)
        yield "</details>"


def latex_examples(comparison: Comparison, moved: Sequence[Changes]) -> str:
    """A table for each system in the style of booktabs: its largest gains and losses, what differs in bold."""
    return "\n\n".join(_latex_table(comparison, change) for change in moved)


def _latex_table(comparison: Comparison, change: Changes) -> str:
    system = comparison.system(change.system)
    baseline = comparison.system(comparison.baseline)
    body = []
    for sentence in (*change.largest(EACH, 1), *change.largest(EACH, -1)):
        body += [r"\midrule"] if body else []
        body += _latex_rows(comparison, baseline, system, sentence)
    caption = f"The largest gains and losses in {metric_title(METRICS['f_bert'].title)} of {escaped(system.name)}."
    metrics = ", ".join(metric_title(METRICS[metric].title) for metric in HEADLINE)
    head = [table_row("System", "Translation", metrics)]
    table = booktabs(r"lp{0.6\textwidth}l", head, body, f"{caption} Bold: words that differ.")
    return f"% Needs \\usepackage{{booktabs}} in the preamble, and a font that has the characters.\n{table}"


def _latex_rows(comparison: Comparison, baseline: System, system: System, sentence: int) -> list[str]:
    """The reference of a sentence, and the two translations with their scores."""
    texts = differences(baseline.runs[0].hypotheses[sentence], system.runs[0].hypotheses[sentence])
    rows = [rf"{_reference(comparison)} & {escaped(comparison.references[sentence])} & \\"]
    for own, pieces in zip((baseline, system), texts, strict=True):
        text = "".join(rf"\textbf{{{escaped(text)}}}" if differs else escaped(text) for text, differs in pieces)
        scores = ", ".join(
            escaped(number(own.runs[0].sentences[metric][sentence], METRICS[metric].digits)) for metric in HEADLINE
        )
        rows.append(table_row(escaped(own.name), text, scores))
    return rows


def _example(comparison: Comparison, system: System, sentence: int) -> str:
    baseline = comparison.system(comparison.baseline)
    runs = baseline.runs[0], system.runs[0]
    before, after = differences(*(run.hypotheses[sentence] for run in runs))
    columns = [
        _column(_reference(comparison), escape(comparison.references[sentence])),
        _column(baseline.name, _marked(before, "del")),
        _column(system.name, _marked(after, "ins")),
    ]
    scores = ", ".join(
        _score(metric, *(run.sentences[metric][sentence] for run in runs))
        for metric in sorted(HEADLINE, key="f_bert".__ne__)
    )
    return f"<article><h4>Sentence {sentence + 1}: {prose(scores)}</h4><div>{''.join(columns)}</div></article>"


def _reference(comparison: Comparison) -> str:
    return "first reference" if comparison.further_reference_files else "reference"


def _score(metric: str, before: float, after: float) -> str:
    digits = METRICS[metric].digits
    change = signed(after - before, digits)
    return f"{METRICS[metric].title} {number(before, digits)} → {number(after, digits)} ({change})"


def _column(role: str, text: str) -> str:
    text = text or "<small>(empty)</small>"
    return f'<section><p class="role" dir="auto">{escape(role)}</p><p dir="auto">{text}</p></section>'


def _marked(pieces: Sequence[Piece], tag: str) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" if differs else escape(text) for text, differs in pieces)
