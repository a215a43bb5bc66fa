"""The criterion in half precision, against the plain composition in the same precision, both against float64."""

import copy

import pytest
import torch
from test_criterion import build, gradients  # noqa: F401, build is a fixture

from fairseq_bertloss.choices import SOFT_PREDICTIONS
from fairseq_bertloss.loss.soft_predictions import at_least_float32, soft_prediction

PRECISIONS = {
    "bfloat16": (torch.bfloat16, False),
    "float16": (torch.float16, False),
    "autocast to bfloat16": (torch.bfloat16, True),
    "autocast to float16": (torch.float16, True),
}


def train(network, criterion, sample, seed: int) -> None:
    """A few updates by cross-entropy, from weights of their own, leave the logits peaked and something to learn."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(12):
        optimizer.zero_grad()
        loss, tokens, _ = criterion(network, sample)
        (loss / tokens).backward()
        optimizer.step()


def plain_loss(criterion, network, sample):
    """Minus F and cross-entropy by torch's own operations, without noise; every tensor is kept."""
    logits, _ = network(**sample["net_input"])
    bertscore, real, weight = criterion.bertscore, sample["target"] != 1, criterion.cross_entropy_weight
    probabilities = soft_prediction(logits, bertscore.soft_prediction, bertscore.temperature, noise=False)
    f1 = bertscore.score_predictions(probabilities, sample["target"]).f1
    nll = -at_least_float32(logits).log_softmax(dim=-1).gather(-1, sample["target"].unsqueeze(-1)).squeeze(-1)[real]
    return -(1 - weight) * f1.sum() + weight * len(f1) * nll.mean()


def flat_gradient(loss, network) -> torch.Tensor:
    return torch.cat([part.flatten().double() for part in gradients(loss, network).values()])


def errors(criterion, network, sample, dtype, autocast) -> list[float]:
    """Errors of F per sentence, and relative ones of the gradient, ours and the plain one's; float64 is exact."""
    if not autocast:
        criterion.to(dtype), network.to(dtype)
    with torch.autocast("cpu", dtype=dtype, enabled=autocast):
        with_noise, _, _ = criterion.train()(network, sample)
        loss, _, log = criterion.eval()(network, sample)
        plain = plain_loss(criterion, network, sample)
    gradient, its_gradient, noisy = (flat_gradient(value, network) for value in (loss, plain, with_noise))
    for finite in (gradient, noisy):
        assert finite.isfinite().all() and finite.abs().sum() > 0
    criterion.double(), network.double()  # the same weights, rounded or not
    exact, _, exact_log = criterion(network, sample)
    exact_gradient = flat_gradient(exact, network)
    criterion.float(), network.float()
    return [
        float((log["f_bert"] - exact_log["f_bert"]).abs()) / len(sample["target"]),
        *(float((g - exact_gradient).norm() / exact_gradient.norm()) for g in (gradient, its_gradient)),
    ]


@pytest.mark.parametrize("kind", SOFT_PREDICTIONS)
def test_half_precision(build, kind):
    """F errs by less than the rounding of a number near 1, the gradient no more than the plain composition's does.

    Rounding moves a gradient by a tenth and more, where another symbol becomes the best match or enters a support,
    and how far is chance. Without autocast the plain composition rounds the same numbers; with it other ones, so
    that the mean over a few models is compared, and loosely.
    """
    criterion, network, task = build("--soft-prediction", kind, "--cross-entropy-weight", "0.2", "--chunk-tokens", "50")
    cross_entropy, _, _ = build("--criterion", "cross_entropy")
    task.load_dataset("train")
    sample = task.dataset("train").collater([task.dataset("train")[i] for i in range(8)])
    start, models = copy.deepcopy(network.state_dict()), []
    for seed in range(3):
        network.load_state_dict(start)
        train(network, cross_entropy, sample, seed)
        models.append(copy.deepcopy(network.state_dict()))
    for name, (dtype, autocast) in PRECISIONS.items():
        rows = []
        for model in models:
            network.load_state_dict(model)
            rows.append(errors(criterion, network, sample, dtype, autocast))
        of_f, ours, plain = torch.tensor(rows).mean(dim=0).tolist()
        assert of_f < torch.finfo(dtype).eps / 2, name
        assert ours < plain * (3 if autocast else 1.05), name
