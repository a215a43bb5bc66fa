"""Time and peak memory of rows: interleaved in one process, and each in a fresh process of its own."""

import contextlib
import ctypes
import gc
import importlib
import multiprocessing
import os
import random
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import starmap
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from loss_rows import Row, Workload
from torch import Tensor

LIBRARIES = ("differences", "transformers.models.auto.modeling_auto", "transformers.models.bert.modeling_bert")
"""What rows import, which takes longer than most of them."""

MALLOC = {"M_TRIM_THRESHOLD": -1, "M_MMAP_THRESHOLD": -3}
"""glibc's names for the sizes from which freed memory goes back to the system."""


@dataclass(frozen=True)
class Machine:
    """Where and in which precision the rows run."""

    device: str
    dtype: torch.dtype

    def synchronize(self) -> None:
        """Waits for the work under way."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def free(self) -> None:
        """Gives back what no tensor holds."""
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()


def seconds(
    rows: Sequence[Row], machine: Machine, rounds: int, warm_up: int, done: Callable[[], object]
) -> dict[str, list[float]]:
    """Seconds of each row's update in each round, in which every row runs once, in a new order.

    Args:
        rows: their names differ.
        machine: what they run on.
        rounds: to measure.
        warm_up: rounds before, not counted: a process is slow to get its first large pieces of memory.
        done: called after every update.

    Returns:
        Lists of as many numbers as rounds, by the rows' names.
    """
    measured = {row.name: [] for row in rows}
    order = random.Random(1)
    for number in range(warm_up + rounds):
        for row in order.sample(rows, len(rows)):
            taken = _timed(row.update, machine)
            if number >= warm_up:
                measured[row.name].append(taken)
            done()
    return measured


def _timed(update: Callable[[], Tensor], machine: Machine) -> float:
    machine.synchronize()
    start = time.perf_counter()
    update()
    machine.synchronize()
    return time.perf_counter() - start


def peaks(workload: Workload, rows: Sequence[Row], machine: Machine, done: Callable[[], object]) -> dict[str, int]:
    """Bytes that each row's update needs on top of its inputs, weights and language model, by the rows' names.

    On a GPU what torch allocated; on a CPU the growth of the peak resident memory, each row in a fresh process, whose
    memory no other row has touched.

    Args:
        workload: what the rows were made from.
        rows: their names differ.
        machine: what they run on.
        done: called after every row.

    Raises:
        ChildProcessError: a process ended before it had measured.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "workload.pt")
        torch.save(workload, path)
        inputs = [(path, row.name, row.kind, machine) for row in rows]
        growths = each_in_a_process(inputs) if machine.device == "cpu" else starmap(_growth, inputs)
        measured = {}
        for row, growth in zip(rows, growths, strict=True):
            measured[row.name] = growth
            done()
    return measured


def _growth(path: str, name: str, kind: str | None, machine: Machine) -> int:
    """The growth of the memory in one update, after a small one."""
    workload = torch.load(path, weights_only=False)
    kinds = [kind or "softmax"]
    for size in (replace(workload, batch=workload.batch.shrunk()), workload):
        (row,) = (row for row in size.rows(machine.device, machine.dtype, kinds) if row.name == name)
        machine.free()
        growth = (allocated_growth if machine.device == "cuda" else resident_growth)(row.update)
    return growth


def allocated_growth(action: Callable[[], object]) -> int:
    """Bytes by which the GPU memory that tensors hold grows at most while an action runs."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    action()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def resident_growth(action: Callable[[], object]) -> int:
    """Bytes by which the resident memory of this process grows at most while an action runs."""
    status = Path("/proc/self/status")
    if not status.exists():
        unit = 1 if sys.platform == "darwin" else 1024
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        action()
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit
    before = _kilobytes(status, "VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    action()
    return (_kilobytes(status, "VmHWM") - before) * 1024


def _kilobytes(status: Path, name: str) -> int:
    return int(re.search(rf"^{name}:\s*(\d+) kB$", status.read_text(), re.M)[1])


def each_in_a_process(inputs: Sequence[tuple]) -> Iterator[int]:
    """What `_growth` returns for each, every time in a process that has imported the libraries and done nothing else.

    It is forked from one that only imports: this one has threads, which a fork would lose.
    """
    connection, end = multiprocessing.Pipe()
    nursery = multiprocessing.get_context("spawn").Process(target=_nursery, args=(end,))
    nursery.start()
    end.close()
    try:
        for arguments in inputs:
            connection.send(arguments)
            growth = connection.recv()
            if growth is None:
                raise ChildProcessError(
                    f"the process that was to measure the memory of {arguments[1]!r} ended early: if it says nothing "
                    "above, it may have had too little memory"
                )
            yield growth
    finally:
        connection.close()
        nursery.join()


def _nursery(connection: Connection) -> None:
    for name in LIBRARIES:
        importlib.import_module(name)
    _return_freed_memory()
    with contextlib.suppress(EOFError):  # until the other end is closed
        while True:
            connection.send(_in_a_fork(connection.recv()))


def _in_a_fork(arguments: tuple) -> int | None:
    """What `_growth` returns, or None where the process ends without a word."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_growth, args=(sender, *arguments))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        return None
    finally:
        process.join()


def _send_growth(sender: Connection, *arguments) -> None:
    sender.send(_growth(*arguments))


def _return_freed_memory() -> None:
    """Makes resident memory what is alive, as far as it can, for every row alike."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    for parameter in MALLOC.values() if mallopt else ():
        mallopt(parameter, 1 << 20)
