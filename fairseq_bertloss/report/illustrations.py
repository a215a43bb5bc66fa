"""The figures of the report with their captions, as pieces of HTML; figures.py and heat_map.py draw them.

Each function also enters its drawings into a dict, by the names of their files.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from fairseq_bertloss.evaluation.plain_text import listed, quoted
from fairseq_bertloss.evaluation.results import METRICS, Comparison, Curve, Entropy
from fairseq_bertloss.evaluation.tables import entropy_table
from fairseq_bertloss.report import figures
from fairseq_bertloss.report.changes import Changes, length_buckets
from fairseq_bertloss.report.heat_map import heat_map
from fairseq_bertloss.report.markup import figure, image, paragraph, plain_table, scrolled
from fairseq_bertloss.report.style import Drawing

PLACES = ["system", "both up", "both down", "F_BERT up, BLEU down", "BLEU up, F_BERT down", "one moved", "none moved"]
"""Titles of the table of how many sentences lie where."""


def entropy(entropies: Sequence[Entropy], styles: dict[str, dict], drawings: dict[str, Drawing]) -> Iterator[str]:
    """Figure 1, entropy at inference, and the table of means and medians."""
    subsets = listed(sorted({entropy.subset for entropy in entropies}))
    uniform = [
        f"{math.log(size):.2f} nats, all {size:,} symbols being equally likely"
        for size in sorted({entropy.vocabulary for entropy in entropies})
    ]
    caption = (
        f"Entropy of the probabilities of the next symbol at every position of a system's own output ({subsets} set). "
        f"Left: density on a logarithmic axis, each step but the last of {figures.ENOUGH_POSITIONS} positions or more. "
        f"Right: how many more of the positions lie below an entropy than of {quoted(entropies[0].system)}, in points, "
        "with a marker at the mean. The axes cover "
        f"{figures.SHOWN:.1%} of the positions of every system; the largest possible entropy is {listed(uniform)}."
    )
    means = listed([f"{entropy.system} {entropy.mean:.2f}" for entropy in entropies])
    alt = f"Density and cumulative distribution of the entropy at inference; the means in nats are {means}."
    drawings["figure1"] = figures.entropy(entropies, styles)
    yield figure("Figure 1. Entropy at inference.", caption, image(drawings["figure1"].svg, alt))
    yield scrolled(plain_table(*entropy_table(entropies)))


def curve(curves: Sequence[Curve], styles: dict[str, dict], drawings: dict[str, Drawing]) -> Iterator[str]:
    """Figure 2, scores during fine-tuning."""
    subsets = listed(sorted({curve.subset for curve in curves}))
    caption = (
        f"Scores on the {subsets} set against the updates of fine-tuning; all panels span as many points. Star and "
        "dotted line: the baseline, before the first update. Dashed lines: ends of epochs."
    )
    ends = []
    for line in curves:
        last = max(line.points, key=lambda point: point.updates)
        scores = listed([f"{METRICS[metric].title} {score:.2f}" for metric, score in last.scores.items()])
        ends.append(f"{line.system} has {scores} after {last.updates:,} updates")
    alt = f"BLEU, F_BERT and MoverScore against updates: {'; '.join(ends)}."
    drawings["figure2"] = figures.curve(curves, styles)
    yield figure("Figure 2. Scores during fine-tuning.", caption, image(drawings["figure2"].svg, alt))


def changes(
    comparison: Comparison, moved: Sequence[Changes], styles: dict[str, dict], drawings: dict[str, Drawing]
) -> Iterator[str]:
    """Figure 3, change by sentence, one for each system, and the table of how many sentences lie where."""
    # At least a point, so that systems that change nothing have axes.
    limits = tuple(max(1.0, *(abs(getattr(change, metric)).max() for change in moved)) for metric in ("bleu", "f_bert"))
    first = "first " if comparison.further_reference_files else ""
    buckets = length_buckets(comparison.references, comparison.by_character)
    for i, change in enumerate(moved, 1):
        number = f"3.{i}" if len(moved) > 1 else "3"
        caption = (
            f"A dot is a sentence of the first runs; the panels divide them at the quartiles of the {first}references' "
            "length. "
            "In each corner: how many moved that way in both metrics. Those that moved in one alone lie on an "
            "axis; those unchanged in both are counted above and not drawn."
        )
        way = f"from {comparison.baseline} to {change.system}"
        alt = f"Change in F_BERT against change in BLEU of each sentence, {way}."
        drawing = figures.change(change, buckets, limits, styles[change.system]["color"])
        drawings[f"figure{number}"] = drawing
        title = f"Figure {number}. Change by sentence, {way}."
        yield figure(title, caption if i == 1 else "", image(drawing.svg, alt))
    yield scrolled(plain_table(PLACES, [[change.system, *map(str, _places(change))] for change in moved]))


def _places(change: Changes) -> Iterator[int]:
    """How many sentences lie in each quadrant, on an axis, and in the origin."""
    quadrants = [np.count_nonzero(change.quadrant(*signs)) for signs in ((1, 1), (-1, -1), (-1, 1), (1, -1))]
    unchanged = np.count_nonzero(change.unchanged)
    yield from (*quadrants, len(change.bleu) - sum(quadrants) - unchanged, unchanged)


def similarities(comparison: Comparison, drawings: dict[str, Drawing]) -> Iterator[str]:
    """Figure 4, greedy matching in one sentence, or why there is none."""
    if not comparison.similarities:
        yield paragraph("Figure 4 is missing: no sentence is short enough to draw.")
        return
    sentences = [str(number) for number in sorted({pair.sentence + 1 for pair in comparison.similarities})]
    systems = listed([pair.system for pair in comparison.similarities])
    caption = (
        f"Cosines between the contextual embeddings of the tokens of sentence {listed(sentences)}, for the first run "
        f"of {systems}. Circle: the nearest token of the reference, for precision. Square: the nearest token of the "
        "hypothesis, for recall."
        + (" Of several references that of the best F_BERT." if comparison.further_reference_files else "")
    )
    alt = f"Heat map of the cosines between the tokens of hypothesis and reference, for {systems}."
    drawings["figure4"] = heat_map(comparison.similarities)
    yield figure("Figure 4. Greedy matching.", caption, image(drawings["figure4"].svg, alt))


def missing(number: int, kind: str, folder: str) -> Iterator[str]:
    """A sentence in the place of a figure whose results were not made."""
    yield paragraph(
        f"Figure {number} is missing: `bertloss {kind} ... --output {folder}/{kind}.json` writes what it shows."
    )
