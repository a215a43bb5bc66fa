"""One model from several: the mean of a fine-tuning's checkpoints, interpolated with the baseline it began with.

    bertloss average fine-tuned/checkpoint_1_*.pt --baseline baseline/checkpoint_best.pt --output averaged.pt

Checkpoints along one training differ by its noise, which their mean averages out (Vaswani et al., *Attention Is All You Need*,
2017). On the line between a model and what it was fine-tuned to there can be models that are better than both ends (Wortsman et
al., *Robust fine-tuning of zero-shot models*, 2022); docs/results.md has what it does here.
"""

import io
import os
import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from fairseq_bertloss.checkpoints import check_exists, is_whole, load, options, reading
from fairseq_bertloss.files import whole

WITHOUT_MEANING = re.compile(r"(.*\.)?(_float_tensor|version)")
"""Buffers that some versions of fairseq save and none reads."""

OF_ONE_MODEL = ("best", "val_loss", "ema", "ema_fp32_params")
"""What a checkpoint knows of how good its model is, and that model's own moving average (--store-ema)."""

OF_ITS_TRAINING = ("last_optimizer_state", "criterion")
"""What goes with the parameters of one model while it is trained: the optimizer's state, a criterion's parameters."""

Models = Mapping[str | os.PathLike, Mapping[str, Tensor]]
"""Checkpoint -> its model's parameters and buffers by name."""


def average(
    checkpoints: Sequence[str | os.PathLike],
    output: str | os.PathLike,
    baseline: str | os.PathLike | None = None,
    baseline_weight: float = 0.5,
) -> None:
    """Writes a checkpoint to translate with or to fine-tune from, whole or not at all.

    It is the last of the checkpoints but for its parameters, and without what belongs to the last one's alone: its
    optimizer, so that its training cannot be resumed, its criterion's parameters, its moving average. Whole numbers are
    the last one's too; only single ones, such as counts, may differ.

    Args:
        checkpoints: of fairseq-train, with parameters of the same names and shapes; their plain mean is taken.
        output: the file to write, none of those that are read.
        baseline: the checkpoint that the fine-tuning began with; another one of the same shapes makes nonsense of the model.
        baseline_weight: above 0 and below 1: parameters = (1 - baseline_weight) * mean + baseline_weight * baseline's.

    Raises:
        ValueError: there is nothing to average, no such weight, a file is no checkpoint, damaged, of a part of a model
            or of another model, or would be overwritten; something has no mean.
        OSError: a file cannot be read, or the output not be written.
    """
    share = 1 if baseline is None else 1 - baseline_weight
    weighted = [(path, share / len(checkpoints)) for path in checkpoints]
    if baseline is not None:
        weighted.append((baseline, baseline_weight))
    if not checkpoints or len(weighted) < 2:
        raise ValueError("one checkpoint alone has no mean: name more of them, or --baseline CHECKPOINT")
    if not 0 < baseline_weight < 1:
        raise ValueError(f"--baseline-weight must be above 0 and below 1, not {baseline_weight}")
    _check_files([path for path, _ in weighted], output)

    last = checkpoints[-1]
    state = _read(last)
    models = {path: state["model"] if path == last else _read(path)["model"] for path, _ in weighted}
    for path in models:
        _check_same_model(last, path, models)
    _check_ties(models)
    state["model"] = _weighted_sum(models, last, weighted)
    for name in OF_ITS_TRAINING:
        state.pop(name, None)
    for name in OF_ONE_MODEL:
        state.get("extra_state", {}).pop(name, None)
    content = io.BytesIO()  # torch.save to a full disk would say nothing of the disk
    torch.save(state, content)
    with whole(output) as (partial,), partial.open("wb") as file:
        file.write(content.getbuffer())


def _weighted_sum(
    models: Models, last: str | os.PathLike, weighted: Sequence[tuple[str | os.PathLike, float]]
) -> dict[str, Tensor]:
    """Parameters with the names, types and ties of the last checkpoint's, summed over all."""
    sums = {
        name: torch.zeros_like(value, dtype=torch.promote_types(value.dtype, torch.float32))
        for name, value in models[last].items()
        if _has_mean(value)
    }
    for path, weight in tqdm(weighted, "averaging", unit=" checkpoints", leave=False, disable=None):
        for name in sums.keys() & models[path].keys():
            sums[name].add_(models[path][name], alpha=weight)
    once = {}  # what is tied is saved once
    return {
        name: once.setdefault(_place(value), sums[name].to(value.dtype) if name in sums else value)
        for name, value in models[last].items()
    }


def _has_mean(value: Tensor) -> bool:
    return value.is_floating_point() or value.is_complex()


def _place(value: Tensor) -> tuple:
    """Where each number of a tensor lies in memory: the same for two that are one parameter by two names, or tied."""
    return value.data_ptr(), value.dtype, value.shape, value.stride()


def _check_files(read: Sequence[str | os.PathLike], written: str | os.PathLike) -> None:
    for path in read:
        check_exists(path)
        if os.path.exists(written) and os.path.samefile(path, written):
            raise ValueError(f"{written} is one of the checkpoints to average: give another --output")


def _read(path: str | os.PathLike) -> dict:
    state = load(path)
    with reading(path):
        model = state.get("model")
        if not isinstance(model, dict) or not all(isinstance(parameter, Tensor) for parameter in model.values()):
            raise ValueError("it has no 'model' of tensors")
        is_part = options(state, "distributed_training").get("use_sharded_state", False)
        is_part = is_part or options(state, "common").get("model_parallel_size", 1) > 1
    if not is_whole(path):
        raise ValueError(f"{path} is damaged: it is not what its checksums are of")
    if is_part:
        raise ValueError(f"{path} holds a part of a model, others of its workers hold the rest: put it together first")
    for name, value in model.items():
        if value.layout != torch.strided or value.is_quantized:
            kind = "quantized" if value.is_quantized else "sparse"
            raise ValueError(f"{path}: {name} is {kind}, which cannot be averaged")
    return state


def _check_same_model(last: str | os.PathLike, path: str | os.PathLike, models: Models) -> None:
    """Makes sure that two checkpoints have the same parameters, by name, shape and kind, and the same whole numbers."""
    one, other = models[last], models[path]
    for name in sorted(one.keys() | other.keys()):
        described = [_described(model.get(name)) for model in (one, other)]
        if described[0] != described[1] and not WITHOUT_MEANING.fullmatch(name):
            listed = f"{described[0]} in {last}, {described[1]} in {path}"
            raise ValueError(f"the checkpoints are of two architectures, or versions of fairseq: {name} is {listed}")
    for name in one.keys() & other.keys():
        if not _has_mean(one[name]) and one[name].numel() > 1 and (one[name] != other[name]).any():
            raise ValueError(f"{name} holds whole numbers, which have no mean, and differs between {last} and {path}")


def _described(value: Tensor | None) -> str:
    if value is None:
        return "absent"
    kind = "" if value.is_floating_point() else " of complex numbers" if value.is_complex() else " of whole numbers"
    return f"{[*value.shape]}{kind}"


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
