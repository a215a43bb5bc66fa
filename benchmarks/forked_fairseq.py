"""fairseq's commands, each in a process that is forked from this one, which has imported the libraries.

That takes longer than many a training of gpu.sh. Nothing here may touch a GPU before: a fork could not use it.
"""

import importlib
import logging
import multiprocessing
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path

for name in (
    "fairseq.trainer", "fairseq.options", "entmax", "sacrebleu.metrics", "bert_score",
    "transformers.models.auto.modeling_auto", "transformers.models.bert.modeling_bert",
):  # fmt: skip
    importlib.import_module(name)


@dataclass(frozen=True)
class Command:
    """One of fairseq's commands: `tool` is train, generate, ...; what it says goes to the log."""

    tool: str
    arguments: Sequence
    log: Path

    @property
    def line(self) -> list[str]:
        return [self.tool, *map(str, self.arguments)]

    def start(self) -> BaseProcess:
        """The process that runs it."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        process = multiprocessing.get_context("fork").Process(target=_run, args=(self.line, str(self.log)))
        process.start()
        return process


def run(commands: Sequence[Command], at_once: int = 1) -> None:
    """Runs commands to their ends, so many at a time. After a failure none begins.

    Raises:
        ChildProcessError: one of them failed.
    """
    waiting = list(commands)
    running = {}
    failed = []
    while running or (waiting and not failed):
        while waiting and len(running) < at_once and not failed:
            command = waiting.pop(0)
            process = command.start()
            running[process.sentinel] = command, process
        for sentinel in connection.wait(running):
            command, process = running.pop(sentinel)
            process.join()
            if process.exitcode:
                failed.append(command)
    if failed:
        log = failed[0].log
        said = log.read_text(encoding="utf-8") if log.exists() else ""
        raise ChildProcessError(f"fairseq-{' '.join(failed[0].line)}\n{said[-2000:]}")


def _run(line: list[str], log: str) -> None:
    """What the process does: the command's own entry point, with its output in a file."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    logging.getLogger().handlers.clear()  # the command sets its log up itself, before it imports anything
    sys.argv = line
    importlib.import_module(f"fairseq_cli.{line[0]}").cli_main()
