"""Scores that somebody else published, beside those of a comparison.

    bertloss report --runs DIR --output report.html --published FILE

FILE is JSON: where the scores stand, the scores in percent by the systems' names in the comparison, and perhaps a
sentence to be shown below the table:

    {"source": "Jauregi Unanue et al. (2021), Table 1", "note": "...",
     "scores": {"baseline": {"bleu": 33.61, "f_bert": 77.56, "moverscore": 52.86}, "softmax": {...}}}
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Real
from typing import NamedTuple

from fairseq_bertloss.evaluation.latex import booktabs, escaped, metric_title, table_row
from fairseq_bertloss.evaluation.plain_text import aligned, printable
from fairseq_bertloss.evaluation.results import HEADLINE, METRICS, Comparison
from fairseq_bertloss.evaluation.tables import number, signed
from fairseq_bertloss.report.markup import cell, figure, paragraph, prose, table

NO_SCORE = "–"
"""What stands in the table for a score that was not published, or for a system that was not run here."""
SIDES = "ours", "theirs"

KEYS = {"source": None, "note": "", "scores": None}
"""The keys of a file, and what stands for one that is left out, which only the note may be."""


@dataclass(frozen=True)
class Published:
    """What was published: its source, the scores by system and metric (those that are given), and a note."""

    source: str
    scores: dict[str, dict[str, float]]
    note: str


class Numbers(NamedTuple):
    """One metric of one system: both scores and the gain of each over the baseline beside it; None where unknown."""

    ours: float | None
    theirs: float | None
    our_gain: float | None
    their_gain: float | None


def read(path: str) -> Published:
    """Reads what was published.

    Raises:
        ValueError: the file is missing or malformed; names the file and the first fault.
    """
    try:
        with open(path, encoding="utf-8") as file:
            parsed = json.load(file, object_pairs_hook=_object)
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    fault = next(_faults(parsed), None)
    if fault:
        raise ValueError(f"{path} holds no published scores: {fault}")
    given = {
        system: {metric: score for metric, score in scores.items() if score is not None}
        for system, scores in parsed["scores"].items()
    }
    scores = {system: scores for system, scores in given.items() if scores}
    return Published(parsed["source"], scores, parsed.get("note", ""))


def numbers(published: Published, comparison: Comparison) -> dict[str, dict[str, Numbers]]:
    """The numbers by system and headline metric; after the comparison's systems those that were only published."""
    ours = {system.name: {metric: system.mean(metric) for metric in HEADLINE} for system in comparison.systems}
    theirs = published.scores
    found = {}
    for name in dict.fromkeys([*ours, *theirs]):
        both = [scores.get(name, {}) for scores in (ours, theirs)]
        gains = [_gains(scores, name, comparison.baseline) for scores in (ours, theirs)]
        found[name] = {metric: Numbers(*(side.get(metric) for side in (*both, *gains))) for metric in HEADLINE}
    return found


def notes(published: Published, comparison: Comparison) -> list[str]:
    """What a reader of the table has to know, in sentences; without scores, that there are none."""
    source = published.source.strip().rstrip(".")
    if not published.scores:
        return [f"No published score is at hand for this comparison. Source: {source}."]
    several = any(len(system.runs) > 1 for system in comparison.systems)
    return [
        f"Theirs: somebody else's run, {source}.",
        f"Ours: the {'means over runs' if several else 'scores'} of the main table, where significance is marked.",
        f"Δ baseline: difference from {comparison.baseline} in the same experiment, ours or theirs.",
        "The scores themselves depend on the data and on the language model that scores, so compare the differences.",
        f"{NO_SCORE}: not published, or not run here.",
    ]


def section(published: Published, comparison: Comparison) -> Iterator[str]:
    """The section of the page."""
    yield "<h2>Published scores, from somebody else's run</h2>"
    text = " ".join(notes(published, comparison))
    if published.scores:
        yield figure("Table 1b. Published scores beside ours.", text, _html_table(published, comparison), True)
    else:
        yield paragraph(text)
    if published.note:
        yield paragraph(published.note)


def markdown(published: Published, comparison: Comparison) -> str:
    """The table with its notes."""
    sentences = "\n".join(map(printable, filter(None, [*notes(published, comparison), published.note])))
    if not published.scores:
        return sentences
    titles = [f"{title} {side}" for metric in HEADLINE for title in (METRICS[metric].title, "Δ") for side in SIDES]
    return f"{aligned(['system', *titles], _rows(published, comparison))}\n\n{sentences}"


def latex(published: Published, comparison: Comparison) -> str:
    """The table in the style of booktabs, its notes as the caption; without scores, a comment."""
    sentences = [*notes(published, comparison), *filter(None, [published.note])]
    if not published.scores:
        return "\n".join(f"% {printable(sentence)}" for sentence in sentences)
    metrics = [rf"\multicolumn{{4}}{{c}}{{{metric_title(METRICS[metric].title)}}}" for metric in HEADLINE]
    kinds = [rf"\multicolumn{{2}}{{c}}{{{escaped(kind)}}}" for kind in ("score", "Δ baseline")]
    size = 4 * len(HEADLINE)
    head = [
        table_row("", *metrics),
        " ".join(rf"\cmidrule(lr){{{start}-{start + 3}}}" for start in range(2, 2 + size, 4)),
        table_row("", *kinds * len(HEADLINE)),
        " ".join(rf"\cmidrule(lr){{{start}-{start + 1}}}" for start in range(2, 2 + size, 2)),
        table_row("System", *SIDES * 2 * len(HEADLINE)),
    ]
    body = [table_row(*map(escaped, cells)) for cells in _rows(published, comparison)]
    caption = " ".join(map(escaped, sentences))
    return booktabs("l" + "r" * size, head, body, caption, style=r"\setlength{\tabcolsep}{3pt}")


def content(published: Published, comparison: Comparison) -> dict:
    """The figures for JSON, unrounded; null where unknown."""
    systems = [
        {"name": name, "scores": {metric: known._asdict() for metric, known in by_metric.items()}}
        for name, by_metric in numbers(published, comparison).items()
    ]
    return {"source": published.source, "note": published.note, "systems": systems if published.scores else []}


def _object(pairs: list[tuple[str, object]]) -> dict:
    """A JSON object; of a key that stands there twice json would silently keep the last."""
    keys = [key for key, _ in pairs]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise ValueError(f"an object has the key {twice!r} twice")
    return dict(pairs)


def _faults(parsed: object) -> Iterator[str]:
    """What is wrong with the content of a file, in words."""
    if not isinstance(parsed, dict):
        yield "it must be a JSON object with the keys 'source' and 'scores'"
        return
    for key in parsed:
        if key not in KEYS:
            yield f"the key {key!r} is unknown; known are {', '.join(map(repr, KEYS))}"
    source, note, scores = (parsed.get(key, default) for key, default in KEYS.items())
    if not isinstance(source, str) or not source.strip():
        yield "'source' must be text that says where the scores stand"
    if not isinstance(note, str):
        yield "'note' must be text"
    if not isinstance(scores, dict):
        yield "'scores' must be an object with an object of scores for each system, or {}"
        return
    for system, by_metric in scores.items():
        yield from _system_faults(f"scores[{system!r}]", by_metric)


def _system_faults(key: str, scores: object) -> Iterator[str]:
    """What is wrong with the scores of a system."""
    if not isinstance(scores, dict):
        yield f"{key} must be an object of scores by metric"
        return
    for metric, score in scores.items():
        if metric not in HEADLINE:
            yield f"{key}[{metric!r}] is an unknown metric; known are {', '.join(HEADLINE)}"
        elif score is not None and not _is_percentage(score):
            yield f"{key}[{metric!r}] is {score!r}; it must be a number between 0 and 100, or null"


def _is_percentage(score: object) -> bool:
    return isinstance(score, Real) and not isinstance(score, bool) and 0 <= score <= 100


def _gains(scores: dict[str, dict[str, float]], name: str, baseline: str) -> dict[str, float]:
    """The differences of a system from the baseline where both have a score; none of the baseline itself."""
    base = scores.get(baseline, {})
    if name == baseline:
        return {}
    return {metric: score - base[metric] for metric, score in scores.get(name, {}).items() if metric in base}


def _rows(published: Published, comparison: Comparison) -> list[list[str]]:
    """The cells as text, the system's name first; the baseline's gains stay empty, as in the main table."""
    rows = []
    for name, by_metric in numbers(published, comparison).items():
        row = [name]
        for metric, (*scores, our_gain, their_gain) in by_metric.items():
            digits = METRICS[metric].digits
            row += [NO_SCORE if score is None else number(score, digits) for score in scores]
            if name == comparison.baseline:
                row += ["", ""]
            else:
                row += [NO_SCORE if gain is None else signed(gain, digits) for gain in (our_gain, their_gain)]
        rows.append(row)
    return rows


def _html_table(published: Published, comparison: Comparison) -> str:
    metrics = [f'<th colspan="4">{prose(METRICS[metric].title)}</th>' for metric in HEADLINE]
    kinds = ['<th colspan="2">score</th>', '<th colspan="2">Δ baseline</th>'] * len(HEADLINE)
    sides = [cell(side, "th") for side in SIDES * 2 * len(HEADLINE)]
    head = [[cell("", "th"), *metrics], [cell("", "th"), *kinds], [cell("system", "th", "text"), *sides]]
    rows = [
        (name, [cell(text, "td", "" if i % 2 else "first") for i, text in enumerate(texts)])
        for name, *texts in _rows(published, comparison)
    ]
    return table(head, rows)
