"""One model from several: the mean of fine-tuned checkpoints' parameters, moved back towards the baseline they came from.

    bertloss average fine-tuned/checkpoint_1_*.pt --baseline baseline/checkpoint_best.pt --output averaged.pt

Checkpoints from along one training average out its noise (Vaswani et al., 2017). The straight line from a model to the
one that was fine-tuned from it has points that are better than either (Wortsman et al., 2022): they keep what the
objective taught and lose some of what it did harm to.
"""

import io
import os
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fairseq_bertloss.checkpoints import reading
from fairseq_bertloss.files import whole

BASELINE_WEIGHT = 0.5


def average(
    checkpoints: Sequence[str | os.PathLike],
    output: str | os.PathLike,
    baseline: str | os.PathLike | None = None,
    baseline_weight: float = BASELINE_WEIGHT,
) -> None:
    """Writes a checkpoint, whole or not at all: the last one's, with averaged parameters and without its optimizer.

    Args:
        checkpoints: of fairseq-train, all with the same parameters; their plain mean is taken.
        output: the file to write.
        baseline: a further checkpoint; parameters = (1 - baseline_weight) * mean + baseline_weight * baseline's.
        baseline_weight: between 0 and 1, neither of them included.

    Raises:
        ValueError: there is nothing to average, no such weight, a file is no checkpoint, or is of another model.
    """
    if len(checkpoints) < (2 if baseline is None else 1):
        raise ValueError(f"there are {len(checkpoints)} checkpoints, which makes no mean: name more, or a baseline")
    if not 0 < baseline_weight < 1:
        raise ValueError(f"the baseline's weight must lie between 0 and 1, not {baseline_weight}")
    share = 1 if baseline is None else 1 - baseline_weight
    weights = [share / len(checkpoints)] * len(checkpoints)
    last, *others = zip(reversed(checkpoints), weights)
    if baseline is not None:
        others.append((baseline, baseline_weight))
    state = _read(last[0])
    state.pop("last_optimizer_state", None)
    sums = {name: last[1] * parameter.float() for name, parameter in state["model"].items()}
    for path, weight in others:
        parameters = _read(path)["model"]
        _check_same_model({last[0]: state["model"], path: parameters})
        for name, parameter in parameters.items():
            sums[name].add_(parameter.float(), alpha=weight)
    state["model"] = {name: sums[name].to(parameter.dtype) for name, parameter in state["model"].items()}
    content = io.BytesIO()  # torch.save to a full disk would say nothing of the disk
    torch.save(state, content)
    with whole(output) as (partial,), partial.open("wb") as file:
        file.write(content.getbuffer())


def _read(path: str | os.PathLike) -> dict:
    if not os.path.isfile(path):
        raise ValueError(f"there is no checkpoint {path}")
    with reading(path):
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not all(isinstance(parameter, Tensor) for parameter in state["model"].values()):
            raise ValueError("its model is not made of tensors")
    return state


def _check_same_model(models: Mapping[str | os.PathLike, Mapping[str, Tensor]]) -> None:
    for name in sorted(set().union(*models.values())):
        shapes = {path: str([*model[name].shape]) if name in model else "absent" for path, model in models.items()}
        if len(set(shapes.values())) > 1:
            listed = ", ".join(f"{shape} in {path}" for path, shape in shapes.items())
            raise ValueError(f"the checkpoints are not of one model: {name} is {listed}")
