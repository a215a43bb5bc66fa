"""How benchmarks/effect.py runs other commands, and how it keeps out of the way of a second call of itself."""

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def call(*command, output: Path | None = None, mode: str = "w") -> str:
    """Runs a command to its end, its output in a file, opened in that mode, or returned.

    Raises:
        ChildProcessError: it failed.
    """
    line = [str(part) for part in command]
    if output is None:
        done = subprocess.run(line, capture_output=True, text=True)
        said = done.stderr
    else:
        with output.open(mode, encoding="utf-8") as file:
            done = subprocess.run(line, stdout=file, stderr=subprocess.STDOUT, text=True)
        said = output.read_text(encoding="utf-8")
    if done.returncode:
        raise ChildProcessError(f"{' '.join(line)}\n{said[-2000:]}")
    return done.stdout or ""


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """For what one process at a time may do: waits, and says so, while another one is inside with the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another call is at {path.with_suffix('')}: waiting for it", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
