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

from fairseq_bertloss.checkpoints import check_exists, reading
from fairseq_bertloss.files import whole

WITHOUT_MEANING = re.compile(r"(.*\.)?(_float_tensor|version)")
"""Buffers that some versions of fairseq save and none reads."""

OF_ONE_MODEL = ("best", "val_loss")
"""What a checkpoint knows of how good its model is."""


def average(
    checkpoints: Sequence[str | os.PathLike],
    output: str | os.PathLike,
    baseline: str | os.PathLike | None = None,
    baseline_weight: float = 0.5,
) -> None:
    """Writes a checkpoint to translate with or to fine-tune from, whole or not at all.

    It is the last of the checkpoints but for its parameters and without its optimizer, so that its training cannot be
    resumed from it. What is no floating-point number is the last one's too.

    Args:
        checkpoints: of fairseq-train, with parameters of the same names and shapes; their plain mean is taken.
        output: the file to write, none of those that are read.
        baseline: the checkpoint that the fine-tuning began with; another one of the same shapes makes nonsense of the model.
        baseline_weight: above 0 and below 1: parameters = (1 - baseline_weight) * mean + baseline_weight * baseline's.

    Raises:
        ValueError: there is nothing to average, no such weight, a file is no checkpoint or of another model, or would be
            overwritten.
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

    state = _read(checkpoints[-1])
    state["model"] = _weighted_sum(state["model"], checkpoints[-1], weighted)
    state.pop("last_optimizer_state", None)
    for name in OF_ONE_MODEL:
        state.get("extra_state", {}).pop(name, None)
    content = io.BytesIO()  # torch.save to a full disk would say nothing of the disk
    torch.save(state, content)
    with whole(output) as (partial,), partial.open("wb") as file:
        file.write(content.getbuffer())


def _weighted_sum(
    model: Mapping[str, Tensor], origin: str | os.PathLike, weighted: Sequence[tuple[str | os.PathLike, float]]
) -> dict[str, Tensor]:
    """Parameters with the names and types of a model's, summed over checkpoints; origin is the model's own."""
    sums = {
        name: torch.zeros_like(value, dtype=torch.promote_types(value.dtype, torch.float32))
        for name, value in model.items()
        if value.is_floating_point()
    }
    for path, weight in tqdm(weighted, "averaging", unit=" checkpoints", leave=False, disable=None):
        parameters = model if path == origin else _read(path)["model"]
        _check_same_model({origin: model, path: parameters})
        for name in sums.keys() & parameters.keys():
            sums[name].add_(parameters[name], alpha=weight)
    once = {}  # parameters that share memory, to be saved once
    return {
        name: once.setdefault((value.data_ptr(), value.shape), sums[name].to(value.dtype) if name in sums else value)
        for name, value in model.items()
    }


def _check_files(read: Sequence[str | os.PathLike], written: str | os.PathLike) -> None:
    for path in read:
        check_exists(path)
        if os.path.exists(written) and os.path.samefile(path, written):
            raise ValueError(f"{written} is one of the checkpoints to average: give another --output")


def _read(path: str | os.PathLike) -> dict:
    with reading(path):
        state = torch.load(path, map_location="cpu", weights_only=True)
        model = state.get("model") if isinstance(state, dict) else None
        if not isinstance(model, dict) or not all(isinstance(parameter, Tensor) for parameter in model.values()):
            raise ValueError("it has no 'model' of tensors")
    return state


def _check_same_model(models: Mapping[str | os.PathLike, Mapping[str, Tensor]]) -> None:
    for name in sorted(set().union(*models.values())):
        shapes = {path: str([*model[name].shape]) if name in model else "absent" for path, model in models.items()}
        if len(set(shapes.values())) > 1 and not WITHOUT_MEANING.fullmatch(name):
            listed = ", ".join(f"{shape} in {path}" for path, shape in shapes.items())
            raise ValueError(f"the checkpoints are of two architectures, or versions of fairseq: {name} is {listed}")
