"""Waiting for other processes. No test depends on how fast a machine is, or on what else it does."""

import time
from collections.abc import Callable

HANG = 600
"""Seconds after which something is taken to hang."""


def wait_for(condition: Callable[[], object]) -> None:
    """Returns when the condition holds, and fails when it never does."""
    deadline = time.monotonic() + HANG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
