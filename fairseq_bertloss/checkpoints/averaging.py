"""One model from several: the mean of a fine-tuning's checkpoints, or a model between that mean and the baseline.

    bertloss average fine-tuned/checkpoint_1_*.pt --baseline baseline/checkpoint_best.pt --output averaged.pt

Checkpoints along one training differ by its noise, which their mean averages out (Vaswani et al., *Attention Is All
You Need*, 2017). Between a model and what it was fine-tuned to there can be models that are better than both (Wortsman
et al., *Robust fine-tuning of zero-shot models*, 2022); docs/results/notebook.md has what it does here.
"""

import io
import os
import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fairseq_bertloss.checkpoints.loading import check_exists, load_whole, options, reading
from fairseq_bertloss.checkpoints.same_function import check_same_function
from fairseq_bertloss.files import whole
from fairseq_bertloss.progress import progress

WITHOUT_MEANING = re.compile(r"(.*\.)?_float_tensor")
"""A buffer that some versions of fairseq save and none reads."""

VERSION = re.compile(r"(.*\.)?version")
"""A buffer by which fairseq decides what a model does: whether there is a last layer norm, for one."""

NO_VERSION = 1
"""The version that fairseq assumes of a model without that buffer."""

SUMMED = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128)
WHOLE = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)

ONE_MODELS_OWN = ("best", "val_loss", "ema", "ema_fp32_params")
"""What a checkpoint knows of how good its model is, and that model's own moving average (--store-ema)."""

TRAINING_STATE = ("last_optimizer_state", "criterion")
"""What goes with the parameters of one model while it is trained: the optimizer's state, a criterion's parameters."""

AVERAGE = "bertloss_average"
"""Under this name a checkpoint says what it is the mean of: the arguments of `average` but for `output`."""

Models = Mapping[str | os.PathLike, Mapping[str, Tensor]]
"""Checkpoint -> its model's parameters and buffers by name."""


def average(
    checkpoints: Sequence[str | os.PathLike],
    output: str | os.PathLike,
    baseline: str | os.PathLike | None = None,
    baseline_weight: float = 0.5,
) -> None:
    """Writes a checkpoint to translate with or to fine-tune from, whole or not at all.

    The checkpoint holds what the last of the checkpoints holds, but for the parameters and what belongs to the last
    one's own parameters: its optimizer's state, so that its training cannot be resumed, its criterion's parameters, its
    moving average. Under AVERAGE it says what it was made of. Whole numbers are the last one's too; only single ones,
    such as counts, may differ. Minus infinity stays where all have it, as masks do.

    Memory holds the sums, in float32 at least, and the file to write. What is read stays on the disk, but for
    checkpoints in torch's format before 1.6.

    Args:
        checkpoints: of fairseq-train, with parameters of the same names and shapes; their plain mean is taken.
        output: the file to write, none of those that are read.
        baseline: the checkpoint that the fine-tuning began with. Another one of the same shapes is not noticed, and the
            mean with it is nonsense.
        baseline_weight: above 0 and below 1: parameters = (1 - baseline_weight) * mean + baseline_weight * baseline's.

    Raises:
        ValueError: there is nothing to average, no such weight, a file is no checkpoint, damaged, of a part of a model
            or of another model, or would be overwritten; something has no mean, or is no number.
        OSError: a file cannot be read, or the output not be written.
    """
    weighted = _weights(checkpoints, baseline, baseline_weight)
    _check_files([path for path, _ in weighted], output)
    state = _averaged(checkpoints[-1], weighted)
    state[AVERAGE] = {
        "checkpoints": list(map(os.fspath, checkpoints)),
        "baseline": None if baseline is None else os.fspath(baseline),
        "baseline_weight": baseline_weight,
    }
    content = io.BytesIO()  # torch.save to a full disk would say nothing of the disk
    torch.save(state, content)
    with whole(output) as (partial,), partial.open("wb") as file:
        file.write(content.getbuffer())


def _averaged(last: str | os.PathLike, weighted: Sequence[tuple[str | os.PathLike, float]]) -> dict:
    """The content of the last checkpoint with the mean of all models, after all were found to be of one kind."""
    states = {path: _read(path) for path, _ in weighted}
    models = {path: state["model"] for path, state in states.items()}
    for path in models:
        check_same_function(last, path, states)
        _check_same_model(last, path, models)
        _check_finite(last, path, models)
    _check_ties(models)
    state = states[last]
    state["model"] = _weighted_sum(models, last, weighted)
    for name in ONE_MODELS_OWN:
        (state.get("extra_state") or {}).pop(name, None)
    return state


def _weights(
    checkpoints: Sequence[str | os.PathLike], baseline: str | os.PathLike | None, baseline_weight: float
) -> list[tuple[str | os.PathLike, float]]:
    """Each checkpoint's share of the mean."""
    share = 1 if baseline is None else 1 - baseline_weight
    weighted = [(path, share / len(checkpoints)) for path in checkpoints]
    if baseline is not None:
        weighted.append((baseline, baseline_weight))
    if not checkpoints or len(weighted) < 2:
        raise ValueError("there is nothing to average: name several checkpoints, or one and --baseline CHECKPOINT")
    if not 0 < baseline_weight < 1:
        raise ValueError(f"--baseline-weight must be above 0 and below 1, not {baseline_weight}")
    return weighted


def _weighted_sum(
    models: Models, last: str | os.PathLike, weighted: Sequence[tuple[str | os.PathLike, float]]
) -> dict[str, Tensor]:
    """Parameters with the names, types and ties of the last checkpoint's, summed over all."""
    sums = {
        name: torch.zeros_like(value, dtype=torch.promote_types(value.dtype, torch.float32))
        for name, value in models[last].items()
        if _has_mean(name, value)
    }
    for path, weight in progress(weighted, "averaging", unit=" checkpoints"):
        for name in sums.keys() & models[path].keys():
            sums[name].add_(models[path][name], alpha=weight)
    once = {}  # what is tied is saved once
    return {
        name: once.setdefault(_place(value), _rounded(sums[name], name, value) if name in sums else value)
        for name, value in models[last].items()
    }


def _rounded(mean: Tensor, name: str, value: Tensor) -> Tensor:
    """The mean in the type of a value."""
    rounded = mean.to(value.dtype)
    if (rounded.isinf() & ~mean.isinf()).any():
        raise ValueError(
            f"{name}: the mean is too large for {value.dtype}, its type in the last checkpoint: name another one last"
        )
    return rounded


def _has_mean(name: str, value: Tensor) -> bool:
    return value.dtype in SUMMED and not WITHOUT_MEANING.fullmatch(name) and not VERSION.fullmatch(name)


def _place(value: Tensor) -> tuple:
    """Where each number of a tensor lies in memory: the same for two that are one parameter by two names, or tied."""
    return value.data_ptr(), value.dtype, value.shape, value.stride()


def _check_files(read: Sequence[str | os.PathLike], written: str | os.PathLike) -> None:
    for path in read:
        check_exists(path)
        if os.path.exists(written) and os.path.samefile(path, written):
            raise ValueError(f"{written} is one of the checkpoints to average: give another --output")


def _read(path: str | os.PathLike) -> dict:
    """A checkpoint without what its training alone needs."""
    state = load_whole(path)
    with reading(path):
        model = state.get("model")
        if not isinstance(model, dict) or not all(isinstance(parameter, Tensor) for parameter in model.values()):
            raise ValueError("it has no 'model' of tensors")
        if not isinstance(state.get("extra_state"), dict | None):
            raise ValueError("its 'extra_state' is of another kind")
        is_part = options(state, "distributed_training").get("use_sharded_state", False)
        is_part = is_part or options(state, "common").get("model_parallel_size", 1) > 1
    if is_part:
        raise ValueError(
            f"{path} holds a part of a model, and checkpoints of other workers hold the rest: merge them first"
        )
    for name, value in model.items():
        if kind := _kind_without_mean(value):
            raise ValueError(f"{path}: {name} is {kind}, which cannot be averaged")
    for name in TRAINING_STATE:
        state.pop(name, None)
    return state


def _kind_without_mean(value: Tensor) -> str | None:
    if value.is_quantized:
        return "quantized"
    if value.is_nested:
        return "nested"
    if value.layout != torch.strided:
        return "sparse"
    if value.is_meta:
        return "without numbers (on torch's device meta)"
    return None if value.dtype in SUMMED + WHOLE else f"of {value.dtype}"


def _check_same_model(last: str | os.PathLike, path: str | os.PathLike, models: Models) -> None:
    """Makes sure that two checkpoints have the same parameters, by name, shape and kind, and the same whole numbers."""
    one, other = models[last], models[path]
    for name in sorted(one.keys() | other.keys()):
        describe = _version if VERSION.fullmatch(name) else _described
        described = [describe(model.get(name)) for model in (one, other)]
        if described[0] != described[1] and not WITHOUT_MEANING.fullmatch(name):
            listed = f"{described[0]} in {last}, {described[1]} in {path}"
            raise ValueError(f"the checkpoints are of two architectures, or versions of fairseq: {name} is {listed}")
    for name in one.keys() & other.keys():
        if one[name].dtype in WHOLE and one[name].numel() > 1 and (one[name] != other[name]).any():
            raise ValueError(f"{name} holds whole numbers, which have no mean, and differs between {last} and {path}")


def _check_finite(last: str | os.PathLike, path: str | os.PathLike, models: Models) -> None:
    """Makes sure that the mean with the last checkpoint is finite, but where both have minus infinity."""
    for name, value in models[path].items():
        if not _has_mean(name, value):
            continue
        if not (value.isfinite() | _is_lowest(value)).all():
            raise ValueError(f"{path}: {name} has values that are no numbers (NaN or infinite): its training diverged")
        if not torch.equal(_is_lowest(value), _is_lowest(models[last][name])):
            raise ValueError(f"{name} is minus infinity in one of {last} and {path} alone: its training diverged")


def _is_lowest(value: Tensor) -> Tensor:
    """Where it is minus infinity, which no complex number is."""
    return torch.zeros_like(value, dtype=torch.bool) if value.is_complex() else value.isneginf()


def _version(value: Tensor | None) -> float:
    """The version of a model, as fairseq reads it."""
    return NO_VERSION if value is None or value.numel() == 0 else value.flatten()[0].item()


def _described(value: Tensor | None) -> str:
    if value is None:
        return "absent"
    shape = str([*value.shape])
    if value.is_floating_point():
        return shape
    if value.is_complex():
        return f"{shape} of complex numbers"
    return f"{shape} of whole numbers"


def _check_ties(models: Models) -> None:
    """Makes sure that what is one parameter in a checkpoint is one in all: tied, or equal, as copies from a GPU are."""
    for tied, model in models.items():
        first = {}
        for name, value in model.items():
            other = first.setdefault(_place(value), name)
            for path, values in models.items():
                if {name, other} <= values.keys() and not _are_one(values[name], values[other]):
                    counts = f"one parameter in {tied} and two in {path}"
                    raise ValueError(f"{other} and {name} are {counts}: the checkpoints are of two architectures")


def _are_one(value: Tensor, other: Tensor) -> bool:
    return _place(value) == _place(other) or torch.equal(value, other)
