"""Lets torch load fairseq's checkpoints with its safety check on.

torch.load admits tensors and plain containers alone unless told otherwise; fairseq's checkpoints also
hold the command's argparse.Namespace and the numpy numbers of its meters.
"""

import argparse

import numpy as np
import torch


def allow_fairseq_classes() -> None:
    """Adds the classes that fairseq's own checkpoints hold to those that torch.load admits."""
    numpy_core = np._core if hasattr(np, "_core") else np.core
    torch.serialization.add_safe_globals(
        [
            argparse.Namespace,
            np.dtype,
            np.ndarray,
            numpy_core.multiarray.scalar,
            numpy_core.multiarray._reconstruct,
            *{type(np.dtype(kind)) for kind in ("float16", "float32", "float64", "int32", "int64", "bool")},
        ]
    )
