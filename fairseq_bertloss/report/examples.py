"""The report's examples: the sentences that gained and lost most, side by side, as pieces of HTML."""

from collections.abc import Iterator, Sequence

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


def _example(comparison: Comparison, system: System, sentence: int) -> str:
    baseline = comparison.system(comparison.baseline)
    runs = baseline.runs[0], system.runs[0]
    before, after = differences(*(run.hypotheses[sentence] for run in runs))
    columns = [
        _column("reference", escape(comparison.references[sentence])),
        _column(baseline.name, _marked(before, "del")),
        _column(system.name, _marked(after, "ins")),
    ]
    scores = ", ".join(
        _score(metric, *(run.sentences[metric][sentence] for run in runs))
        for metric in sorted(HEADLINE, key="f_bert".__ne__)
    )
    return f"<article><h4>Sentence {sentence + 1}: {prose(scores)}</h4><div>{''.join(columns)}</div></article>"


def _score(metric: str, before: float, after: float) -> str:
    digits = METRICS[metric].digits
    change = signed(after - before, digits)
    return f"{METRICS[metric].title} {number(before, digits)} → {number(after, digits)} ({change})"


def _column(role: str, text: str) -> str:
    text = text or "<small>(empty)</small>"
    return f'<section><p class="role" dir="auto">{escape(role)}</p><p dir="auto">{text}</p></section>'


def _marked(pieces: Sequence[Piece], tag: str) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" if differs else escape(text) for text, differs in pieces)
