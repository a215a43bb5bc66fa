"""Progress of long work: how far it is, its rate and the time that is left, for whoever waits at a terminal.

for batch in progress(batches, "BERTScore", unit=" batches"):
    ...
"""

from collections.abc import Iterable
from typing import Any

PATIENCE = 5.0
"""Seconds of work before a bar appears."""

_shown = True


def progress(items: Iterable | None = None, what: str = "", *, unit: str, total: int | None = None, **more: Any):
    """A bar of tqdm's over items, or one to update by hand in a with statement; it goes when the work is done.

    There is none in work that takes less than PATIENCE, and none where standard error is no terminal, such as in a log
    file.

    Args:
        items: what is worked through; None: `update` says how far the work is.
        what: is being done.
        unit: what is counted, with a space before it.
        total: how many there are, where the items do not say so.
        more: further options of tqdm.
    """
    from tqdm import tqdm

    hidden = None if _shown else True  # None: by the kind of standard error
    return tqdm(items, what, total=total, unit=unit, leave=False, disable=hidden, delay=PATIENCE, **more)


def is_shown() -> bool:
    """Whether there is progress to be seen."""
    return _shown


def show_progress(shown: bool) -> None:
    """Whether there is any progress to be seen from now on."""
    global _shown
    _shown = shown
