"""A map over several processes that keeps the order, streams, and leaves no process behind."""

import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial

_work: Callable | None = None
"""What this worker process applies to each item; set once, when the process starts."""


@contextmanager
def ordered_pool(build: Callable, arguments: tuple, workers: int) -> Iterator[Callable[[Iterable], Iterator]]:
    """Starts processes that apply build(*arguments) to streams of items.

    Yields a function from items to results, in the order of the items whatever the number of workers. Few
    items are under way at a time, so that a stream of any length fits in memory (the standard pools
    read their whole input ahead). Processes are spawned, not forked: a fork after the tokenizers
    library has run its threads may hang.

    Args:
        build: module-level function or class; called once in each process.
        arguments: its arguments, picklable, as are items and results.
        workers: number of processes; with 1, the work is done in this process.
    """
    if workers == 1:
        yield partial(map, build(*arguments))
        return
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_start, initargs=(build, arguments)
    )
    try:
        yield partial(_map_in_order, pool, 2 * workers)
    finally:
        pool.shutdown(cancel_futures=True)


def _map_in_order(pool: ProcessPoolExecutor, under_way: int, items: Iterable) -> Iterator:
    """The pool's results for the items, `under_way` of which it has at a time."""
    items = iter(items)
    pending = deque(pool.submit(_apply, item) for item in itertools.islice(items, under_way))
    while pending:
        yield pending.popleft().result()
        pending.extend(pool.submit(_apply, item) for item in itertools.islice(items, 1))


def _start(build: Callable, arguments: tuple) -> None:
    """Sets a worker up: what it applies is built here, once, and tokenizers start no threads of their own."""
    global _work
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _work = build(*arguments)


def _apply(item):
    return _work(item)


def _end_with_parent() -> None:
    """Ends this process when its parent is gone, killed or not; an idle worker would wait for ever."""
    multiprocessing.parent_process().join()
    os._exit(1)
