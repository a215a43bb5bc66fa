"""Progress of long work: in a terminal alone, and not before it has taken a while."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest

WORK = """
import time
from fairseq_bertloss import progress
progress.PATIENCE = {patience}
progress.show_progress({shown})
for _ in progress.progress(range(3), "work", unit=" steps"):
    time.sleep(0.2)
"""


def printed(terminal: bool, patience: float, shown: bool = True) -> bytes:
    """What a program with standard error at a terminal, or in a file, prints there."""
    reading, writing = pty.openpty() if terminal else os.pipe()
    if terminal:
        fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with os.fdopen(reading, "rb", buffering=0) as file:
        code = WORK.format(patience=patience, shown=shown)
        subprocess.run([sys.executable, "-c", code], stderr=writing, check=True)
        os.set_blocking(reading, False)
        found = file.read() or b""
        os.close(writing)
    return found


@pytest.mark.parametrize("terminal, patience, shown", [(True, 5, True), (False, 0, True), (True, 0, False)])
def test_nothing(terminal, patience, shown):
    assert printed(terminal, patience, shown) == b""


def test_rate_and_time_left():
    bar = printed(terminal=True, patience=0.1)
    assert b"work" in bar and b"steps/s" in bar and b"<" in bar
