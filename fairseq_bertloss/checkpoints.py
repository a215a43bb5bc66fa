"""fairseq's checkpoints, loaded with torch's safety check on.

torch.load admits tensors and plain containers alone unless told otherwise. fairseq's checkpoints also hold
the command's argparse.Namespace and the numpy numbers of its meters, and the first of several workers
sends what it read on to the others by way of torch.load too, by then with an omegaconf configuration.
"""

import argparse
import collections
import os
import pickle
import re
import typing
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from fairseq.distributed.utils import _TensorPlaceholder
from omegaconf import DictConfig, ListConfig
from omegaconf.base import ContainerMetadata, Metadata
from omegaconf.nodes import AnyNode


def allow_fairseq_classes() -> None:
    """Adds the classes that fairseq's own checkpoints hold to those that torch.load admits; all are plain data."""
    numpy_core = np._core if hasattr(np, "_core") else np.core
    numpy_classes = [np.dtype, np.ndarray, numpy_core.multiarray.scalar, numpy_core.multiarray._reconstruct]
    dtypes = {type(np.dtype(kind)) for kind in ("float16", "float32", "float64", "int32", "int64", "bool")}
    omegaconf_classes = [DictConfig, ListConfig, ContainerMetadata, Metadata, AnyNode]
    containers = [argparse.Namespace, collections.defaultdict, dict, list, int, typing.Any, _TensorPlaceholder]
    torch.serialization.add_safe_globals([*numpy_classes, *dtypes, *omegaconf_classes, *containers])


def check_exists(checkpoint: str | os.PathLike) -> None:
    """Makes sure, before long work, that there is such a file."""
    if not os.path.isfile(checkpoint):
        raise ValueError(f"there is no checkpoint {checkpoint}")


@contextmanager
def reading(checkpoint: str | os.PathLike) -> Iterator[None]:
    """Whatever is wrong with what is read within becomes a ValueError that names the checkpoint.

    Raises:
        OSError: the file cannot be read.
    """
    allow_fairseq_classes()
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # unpickling raises anything
        if refused := re.search(r"Unsupported global: GLOBAL (\S+)", str(error)):
            what = f"torch's safe loader refuses {refused[1]} in it"
        elif isinstance(error, (pickle.UnpicklingError, EOFError, IndexError)):
            what = "it is damaged, or no file of torch's"
        elif isinstance(error, KeyError):
            what = f"it has no {error}"
        else:
            what = reason(error)
        raise ValueError(f"{checkpoint} is not a checkpoint of fairseq-train: {what}") from error


def reason(error: Exception) -> str:
    """What an error says, up to the first detail of a list."""
    return " ".join(str(error).split("\n")[:2]).strip() or type(error).__name__
