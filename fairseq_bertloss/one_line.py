"""What the plug-in refuses ends fairseq's commands in one line, without the way that fairseq came to the plug-in.

with in_one_line():
    check(options)
"""

import logging
import queue
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

logger = logging.getLogger(__name__)

LONGEST_WAIT = 10
"""Seconds that the end waits for the batch that is being read."""


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
            _stop_reading_ahead()
        usual(kind, error, trace)

    sys.excepthook = hook


def _stop_reading_ahead() -> None:
    """Ends fairseq's threads that read batches ahead.

    Should the interpreter end while one of them is inside of torch, the process is aborted: "terminate called without
    an active exception" would stand below what is wrong.
    """
    iterators = sys.modules.get("fairseq.data.iterators")  # not imported: nothing is read
    if iterators is None:
        return
    until = time.monotonic() + LONGEST_WAIT
    for thread in threading.enumerate():
        if isinstance(thread, iterators.BackgroundConsumer):
            thread._max_len = 0  # the batch that it reads now is its last
            while thread.is_alive() and time.monotonic() < until:
                with suppress(queue.Empty):  # it may wait for room
                    thread._queue.get(timeout=0.05)
