"""fairseq's checkpoints, loaded with torch's safety check on.

torch.load admits tensors and plain containers alone unless told otherwise. fairseq's checkpoints also hold
the command's argparse.Namespace and the numpy numbers of its meters, and the first of several workers
sends what it read on to the others by way of torch.load too, by then with an omegaconf configuration.
"""

import argparse
import collections
import errno
import os
import re
import typing
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from fairseq.distributed.utils import _TensorPlaceholder
from fairseq.logging import meters
from omegaconf import DictConfig, ListConfig
from omegaconf.base import ContainerMetadata, Metadata
from omegaconf.nodes import AnyNode

from fairseq_bertloss.checkpoints.damage import is_damaged

LAST = "checkpoint_last.pt"
"""The checkpoint that fairseq resumes a training from."""

NUMPY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
"""The module that restores pickled numbers and arrays, in numpy 1 and in numpy 2."""

METER_MODULES = ("fairseq.meters", "fairseq.logging.meters")
"""The module of fairseq's meters before 0.9, whose checkpoints hold them as objects, and the one of today."""


class Progress(NamedTuple):
    """How far training had come; the greater, the further.

    updates: their number; epoch: the one under way, from 1; batches: those of it that are done.
    """

    updates: int
    epoch: int
    batches: int


class Damaged(ValueError):
    """A file that was cut or changed, or that torch did not write."""


class NotAdmitted(ValueError):
    """A whole file with something in it that torch's safe loader refuses."""


DAMAGE = re.compile(
    r"unexpected EOF, expected \d+ more bytes|invalid header or archive is corrupted|not a ZIP archive|too many files"
    r"|unsupported (multidisk|encryption)|failed finding central directory"
)
"""What torch says of damage: a file in its format before 1.6 that ends too early, or an archive's headers."""

NO_MEMORY = re.compile(r"allocate memory|unable to mmap|bad_alloc")
"""What torch says when memory is short, in which case the file may well be whole."""

REFUSED = re.compile(r"Unsupported global: GLOBAL (\S+)|but got <class '(\S+)'>|unrecognized function (.+)")
"""What torch's safe loader says of a class or function that it does not admit."""


def allow_fairseq_classes() -> None:
    """Adds the classes that fairseq's own checkpoints hold to those that torch.load admits; all are plain data."""
    dtypes = {type(np.dtype(kind)) for kind in np.typecodes["AllInteger"] + np.typecodes["Float"] + "?"}
    omegaconf_classes = [DictConfig, ListConfig, ContainerMetadata, Metadata, AnyNode]
    containers = [argparse.Namespace, collections.defaultdict, dict, list, int, typing.Any, _TensorPlaceholder]
    torch.serialization.add_safe_globals([np.dtype, np.ndarray, *dtypes, *omegaconf_classes, *containers])
    torch.serialization.add_safe_globals(_under_old_and_new_names())


def _under_old_and_new_names() -> list[tuple[Any, str]]:
    """Classes and functions that have moved, each with every name by which a checkpoint may call it."""
    numpy_functions = [value.__reduce__()[0] for value in (np.float64(0), np.zeros(0))]
    meter_classes = [meters.AverageMeter, meters.TimeMeter, meters.StopwatchMeter]
    names = [(function, f"{module}.{function.__name__}") for function in numpy_functions for module in NUMPY_MODULES]
    return names + [(meter, f"{module}.{meter.__name__}") for meter in meter_classes for module in METER_MODULES]


def check_exists(checkpoint: str | os.PathLike) -> None:
    """Makes sure, before long work, that a checkpoint exists."""
    if not os.path.isfile(checkpoint):
        raise ValueError(f"there is no checkpoint {checkpoint}")


def load(checkpoint: str | os.PathLike) -> dict:
    """Loads a checkpoint; weights stay on the disk until they are used, but for torch's format before 1.6.

    Raises:
        ValueError: not a checkpoint; Damaged, where the file was cut or changed as far as torch can tell; NotAdmitted,
            where something in it is refused by the safe loader.
        OSError: the file cannot be read, or there is too little memory.
    """
    with reading(checkpoint):
        state = torch.load(checkpoint, map_location="cpu", mmap=zipfile.is_zipfile(checkpoint), weights_only=True)
        if not isinstance(state, dict):
            raise ValueError(f"it holds a {type(state).__name__}")
    return state


def load_whole(checkpoint: str | os.PathLike) -> dict:
    """Loads a checkpoint after a comparison with its checksums, which torch ignores; before 1.6 it wrote none.

    Raises:
        ValueError: as of `load`; Damaged, where the file was cut or changed.
        OSError: the file cannot be read.
    """
    if is_damaged(checkpoint):
        raise _damaged(checkpoint)
    return load(checkpoint)


def progress(state: Mapping[str, Any]) -> Progress:
    """How far the training of a checkpoint had come; to be called within `reading`."""
    iterator = state["extra_state"]["train_iterator"]
    updates = state["optimizer_history"][-1]["num_updates"]
    return Progress(int(updates), int(iterator["epoch"]), int(iterator["iterations_in_epoch"]))


def options(state: Mapping[str, Any], group: str) -> Mapping[str, Any]:
    """The options that a model was trained with, by name: a group of them, or all where fairseq had no groups yet."""
    args = state.get("args")
    found = (state.get("cfg") or {}).get(group) if args is None else args
    return vars(found) if isinstance(found, argparse.Namespace) else found or {}


@contextmanager
def reading(checkpoint: str | os.PathLike) -> Iterator[None]:
    """Turns whatever goes wrong in reading a checkpoint, in the block, into an error that names it.

    Raises:
        Damaged: the file was cut or changed.
        NotAdmitted: it is whole, and torch's safe loader refuses something.
        ValueError: it is another file than it should be.
        OSError: it cannot be read, or there is too little memory.
    """
    allow_fairseq_classes()
    try:
        yield
    except Exception as error:  # unpickling raises anything
        said = str(error)
        # A damaged archive may name a place before its beginning.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        if isinstance(error, MemoryError) or NO_MEMORY.search(said):
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), os.fspath(checkpoint)) from error
        if DAMAGE.search(said) or is_damaged(checkpoint):
            raise _damaged(checkpoint) from error
        if isinstance(error, OSError):
            raise
        if refused := REFUSED.search(said):
            what = next(filter(None, refused.groups()))
            raise NotAdmitted(f"{checkpoint} cannot be read: torch's safe loader refuses {what} in it") from error
        what = f"it has no {error}" if isinstance(error, KeyError) else reason(error)
        raise ValueError(_not_a_checkpoint(checkpoint, what)) from error


def _damaged(checkpoint: str | os.PathLike) -> Damaged:
    return Damaged(_not_a_checkpoint(checkpoint, "it is damaged, or no file of torch's"))


def _not_a_checkpoint(checkpoint: str | os.PathLike, what: str) -> str:
    return f"{checkpoint} is not a checkpoint of fairseq-train: {what}"


def reason(error: Exception) -> str:
    """What an error says, up to the first detail of a list."""
    return " ".join(str(error).split("\n")[:2]).strip() or type(error).__name__
