"""The command of fairseq-train that made a checkpoint, from the options that the checkpoint holds."""

import argparse
import ast
import contextlib
import io
import shlex
from collections.abc import Mapping
from typing import Any

from fairseq import options as fairseq_options

from fairseq_bertloss.checkpoints.loading import options

CHOICES = ("task", "arch", "criterion", "optimizer", "lr_scheduler")
"""What other options depend on: which there are, and what they are unless given."""


def training_command(state: Mapping[str, Any]) -> str:
    """The command, as a shell takes it: every option that is not what fairseq-train would take without it.

    What fairseq found by itself, such as a number of workers, stands there like what was given.

    Args:
        state: a checkpoint, as `loading.load` gives it; to be called within `loading.reading`.

    Raises:
        ValueError: fairseq knows no such task, architecture, criterion, optimizer or scheduler.
        KeyError: the checkpoint lacks one of these, or all options.
    """
    given = _given(state)
    words = ["fairseq-train", given["data"]]
    words += [word for name in CHOICES for word in (f"--{name.replace('_', '-')}", given[name])]
    parser = fairseq_options.get_training_parser()
    unless_given = vars(_parsed(parser, words[1:]))
    for action in parser._actions:  # argparse has no other list of them
        name = action.dest
        is_told = action.option_strings and name not in CHOICES and given.get(name) is not None
        if is_told and _plain(given[name]) != _plain(unless_given.get(name)):
            words += _option(action, given[name])
    return shlex.join(words)


def _given(state: Mapping[str, Any]) -> dict[str, Any]:
    """The options by name, of all groups where fairseq has such."""
    if state.get("args") is not None:
        return vars(state["args"])
    found = {}
    for group in state["cfg"]:
        found |= options(state, group)
    model = options(state, "model")
    found["arch"] = model["arch"] if "arch" in model else model["_name"]
    return found | {name: options(state, name)["_name"] for name in CHOICES if name != "arch"}


def _parsed(parser: argparse.ArgumentParser, words: list[str]) -> argparse.Namespace:
    """What fairseq reads in a command; argparse ends the program where it refuses one."""
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            return fairseq_options.parse_args_and_arch(parser, words)
        except SystemExit as error:
            _, _, message = said.getvalue().strip().splitlines()[-1].partition("error: ")
            raise ValueError(f"its {message}") from error


def _plain(value: Any) -> Any:
    """A value such that equal ones compare equal, written as text or not: tuples become lists."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError, SyntaxError):
            value = ast.literal_eval(value)
    return list(value) if isinstance(value, tuple) else value


def _option(action: argparse.Action, value: Any) -> list[str]:
    """An option as it is given."""
    option = max(action.option_strings, key=len)
    if action.nargs == 0:
        return [option]
    return [option, ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)]
