"""What the plug-in refuses ends fairseq's commands in one line, without the way that fairseq came to the plug-in.

with in_one_line():
    check(options)
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)


@contextmanager
def in_one_line() -> Iterator[None]:
    """Of a ValueError raised inside the message alone is printed, if nobody catches it; also a decorator.

    LOGLEVEL=DEBUG, fairseq's own variable, has the traceback logged.
    """
    try:
        yield
    except ValueError as error:
        logger.debug("refused", exc_info=True)
        _print_without_traceback(error)
        raise


def _print_without_traceback(refused: ValueError) -> None:
    """Has the interpreter print an error's last line alone should it end by it, and anything else as before."""
    usual = sys.excepthook

    def hook(kind, error, trace) -> None:
        if error is refused:
            error.__cause__ = None  # what it came of would be printed with its own traceback
            error, trace = error.with_traceback(None), None
        usual(kind, error, trace)

    sys.excepthook = hook
