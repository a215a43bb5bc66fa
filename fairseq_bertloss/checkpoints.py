"""fairseq's checkpoints, loaded with torch's safety check on.

torch.load admits tensors and plain containers alone unless told otherwise. fairseq's checkpoints also hold
the command's argparse.Namespace and the numpy numbers of its meters, and the first of several workers
sends what it read on to the others by way of torch.load too, by then with an omegaconf configuration.
"""

import argparse
import collections
import errno
import os
import pickle
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

LAST = "checkpoint_last.pt"
"""Where fairseq keeps what a training goes on from."""

NUMPY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
"""Where numpy 1 has what makes numbers and arrays again, and where numpy 2 has it."""

METER_MODULES = ("fairseq.meters", "fairseq.logging.meters")
"""Where fairseq had its meters before 0.9, whose checkpoints hold them as objects, and where it has them now."""


class Progress(NamedTuple):
    """How far training had come; the greater, the further.

    updates: their number; epoch: the one under way, from 1; batches: those of it that are done.
    """

    updates: int
    epoch: int
    batches: int


class NotAdmitted(ValueError):
    """A whole file with something in it that torch's safe loader refuses."""


def allow_fairseq_classes() -> None:
    """Adds the classes that fairseq's own checkpoints hold to those that torch.load admits; all are plain data."""
    dtypes = {type(np.dtype(kind)) for kind in np.typecodes["AllInteger"] + np.typecodes["Float"] + "?"}
    omegaconf_classes = [DictConfig, ListConfig, ContainerMetadata, Metadata, AnyNode]
    containers = [argparse.Namespace, collections.defaultdict, dict, list, int, typing.Any, _TensorPlaceholder]
    torch.serialization.add_safe_globals([np.dtype, np.ndarray, *dtypes, *omegaconf_classes, *containers])
    torch.serialization.add_safe_globals(_under_old_and_new_names())


def _under_old_and_new_names() -> list[tuple[Any, str]]:
    """What has moved, under each name by which a checkpoint may call it."""
    numpy_functions = [value.__reduce__()[0] for value in (np.float64(0), np.zeros(0))]
    meter_classes = [meters.AverageMeter, meters.TimeMeter, meters.StopwatchMeter]
    names = [(function, f"{module}.{function.__name__}") for function in numpy_functions for module in NUMPY_MODULES]
    return names + [(meter, f"{module}.{meter.__name__}") for meter in meter_classes for module in METER_MODULES]


def check_exists(checkpoint: str | os.PathLike) -> None:
    """Makes sure, before long work, that there is such a file."""
    if not os.path.isfile(checkpoint):
        raise ValueError(f"there is no checkpoint {checkpoint}")


def load(checkpoint: str | os.PathLike) -> dict:
    """What a checkpoint holds; weights stay on the disk until they are used, but for torch's format before 1.6.

    Raises:
        ValueError: not a checkpoint, or one with something in it that the safe loader refuses (NotAdmitted).
        OSError: the file cannot be read.
    """
    with reading(checkpoint):
        state = torch.load(checkpoint, map_location="cpu", mmap=zipfile.is_zipfile(checkpoint), weights_only=True)
        if not isinstance(state, dict):
            raise ValueError(f"it holds a {type(state).__name__}")
    return state


def is_whole(checkpoint: str | os.PathLike) -> bool:
    """Whether a file is as torch has written it, by its checksums, which torch ignores; before 1.6 it wrote none."""
    with open(checkpoint, "rb") as file:
        is_archive = file.read(2) == b"PK"
    try:
        if is_archive:
            with reading(checkpoint), zipfile.ZipFile(checkpoint) as archive:
                if archive.testzip() is not None:
                    return False
        load(checkpoint)
    except NotAdmitted:
        return True
    except ValueError:
        return False
    return True


def progress(state: Mapping[str, Any]) -> Progress:
    """How far the training of a checkpoint had come; to be called within `reading`."""
    iterator = state["extra_state"]["train_iterator"]
    updates = state["optimizer_history"][-1]["num_updates"]
    return Progress(int(updates), int(iterator["epoch"]), int(iterator["iterations_in_epoch"]))


def options(state: Mapping[str, Any], group: str) -> Mapping[str, Any]:
    """The options that a model was trained with, by name: a group of them, or all where fairseq had no groups yet."""
    args = state.get("args")
    return (state.get("cfg") or {}).get(group, {}) if args is None else vars(args)


@contextmanager
def reading(checkpoint: str | os.PathLike) -> Iterator[None]:
    """Whatever is wrong with what is read within becomes a ValueError that names the checkpoint.

    Raises:
        NotAdmitted: this ValueError, where torch's safe loader refuses something.
        OSError: the file cannot be read.
    """
    allow_fairseq_classes()
    prefix = f"{checkpoint} is not a checkpoint of fairseq-train"
    try:
        yield
    except Exception as error:  # unpickling raises anything
        # A damaged archive may name a place before its beginning.
        leads_nowhere = isinstance(error, OSError) and error.errno == errno.EINVAL
        if isinstance(error, OSError) and not leads_nowhere:
            raise
        if refused := re.search(r"Unsupported global: GLOBAL (\S+)", str(error)):
            raise NotAdmitted(f"{prefix}: torch's safe loader refuses {refused[1]} in it") from error
        if leads_nowhere or isinstance(error, (pickle.UnpicklingError, EOFError, IndexError)):
            what = "it is damaged, or no file of torch's"
        elif isinstance(error, KeyError):
            what = f"it has no {error}"
        else:
            what = reason(error)
        raise ValueError(f"{prefix}: {what}") from error


def reason(error: Exception) -> str:
    """What an error says, up to the first detail of a list."""
    return " ".join(str(error).split("\n")[:2]).strip() or type(error).__name__
