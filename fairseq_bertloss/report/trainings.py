"""How the systems of a report were trained, read from their checkpoints.

fairseq is imported where there are some: most reports need none of it.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from fairseq_bertloss.evaluation.results import Comparison
from fairseq_bertloss.report.markup import escape


class Training(NamedTuple):
    """The command of fairseq-train, and in words how far it came and what was made of its checkpoints."""

    command: str
    summary: str


def trainings(checkpoints: Mapping[str, str], comparison: Comparison) -> dict[str, Training]:
    """What made each system, by its name.

    Args:
        checkpoints: a system's name -> the checkpoint that translated.
        comparison: has the systems.

    Raises:
        ValueError: there is no such system; a file is no checkpoint, or of a training with something that fairseq does
            not know here.
    """
    from fairseq_bertloss.checkpoints.loading import check_exists

    names = [system.name for system in comparison.systems]
    for name, checkpoint in checkpoints.items():
        if name not in names:
            raise ValueError(f"--checkpoint {name}={checkpoint}: there is no system {name!r}, only {', '.join(names)}")
        check_exists(checkpoint)
    return {name: _training(checkpoint) for name, checkpoint in checkpoints.items()}


def _training(checkpoint: str) -> Training:
    from fairseq_bertloss.checkpoints.averaging import AVERAGE
    from fairseq_bertloss.checkpoints.loading import load, progress, reading
    from fairseq_bertloss.checkpoints.training_command import training_command

    state = load(checkpoint)
    with reading(checkpoint):
        updates = progress(state).updates
        return Training(training_command(state), f"{checkpoint}: {updates} updates{_average(state.get(AVERAGE))}.")


def _average(average: Mapping[str, Any] | None) -> str:
    """What `bertloss average` did, in words."""
    if average is None:
        return ""
    count = len(average["checkpoints"])
    words = f", the mean of {count} checkpoints" if count > 1 else ""
    if average["baseline"] is None:
        return words
    weight = average["baseline_weight"]
    return f"{words}, interpolated: {1 - weight:g} of it and {weight:g} of {average['baseline']}"


def section(found: Mapping[str, Training]) -> Iterator[str]:
    """The part of the page that says it; nothing where no checkpoints were named."""
    if found:
        yield "<h2>How the systems were trained</h2>"
        yield "<dl>"
        for name, training in found.items():
            yield f"<dt>{escape(name)}</dt>"
            yield f"<dd>{escape(training.summary)}<br><code>{escape(training.command)}</code></dd>"
        yield "</dl>"
