"""corpus/parallel.py: order, little read ahead, and no process left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_for

from fairseq_bertloss.corpus.parallel import ordered_pool


def build_scaling(factor):
    """What a worker applies; module-level, as a spawned process must import it."""
    return factor.__mul__


def build_division(dividend):
    return dividend.__floordiv__


@pytest.mark.parametrize("workers", [1, 2])
def test_order_is_kept_and_little_is_read_ahead(workers):
    read = []

    def items():
        for item in range(100):
            read.append(item)
            yield item

    with ordered_pool(build_scaling, (-2,), workers) as scaled:
        results = scaled(items())
        assert [next(results) for _ in range(10)] == [-2 * item for item in range(10)]
        assert len(read) <= 10 + 2 * workers
        assert list(results) == [-2 * item for item in range(10, 100)]


def test_error_in_a_worker_arrives_here():
    with pytest.raises(ZeroDivisionError), ordered_pool(build_division, (6,), 2) as divided:
        list(divided([1, 2, 0, 3]))


def build_pid(_unused):
    return lambda _item: os.getpid()


def is_running(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="reads /proc to see processes")
def test_workers_end_with_a_killed_parent():
    program = (
        "import time\n"
        "from fairseq_bertloss.corpus.parallel import ordered_pool\n"
        "from test_corpus_parallel import build_pid\n"
        "if __name__ == '__main__':\n"
        "    with ordered_pool(build_pid, (0,), 2) as pids:\n"
        "        print(*set(pids(range(20))), flush=True)\n"
        "        time.sleep(60)\n"
    )
    tests = Path(__file__).resolve().parent
    environment = {**os.environ, "PYTHONPATH": f"{tests.parent}{os.pathsep}{tests}"}
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment)
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert pids and all(map(is_running, pids))
    parent.send_signal(signal.SIGKILL)
    parent.wait()  # not communicate(): a worker left behind would hold the pipe open
    wait_for(lambda: not any(map(is_running, pids)))
