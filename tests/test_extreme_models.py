"""fairseq-train goes on from models whose logits are extreme, and stops by its own means where they are not numbers."""

import math

import pytest
import torch
from training import bertscore, logged, train

from fairseq_bertloss.checkpoints.loading import allow_fairseq_classes
from fairseq_bertloss.choices import SOFT_PREDICTIONS

allow_fairseq_classes()

RISK = ("--objective", "risk", "--candidates", "2", "--candidate-generation-args", '{"max_len_a":0,"max_len_b":15}')
OBJECTIVES = {kind: ("--objective", "soft", "--soft-prediction", kind) for kind in SOFT_PREDICTIONS} | {"risk": RISK}
STOCK = ("--criterion", "label_smoothed_cross_entropy", "--label-smoothing", "0.1")
OPTIONS = "--max-update 3 --disable-validation --batch-size 32 --lr 1e-4".split()


@pytest.fixture
def go_on(corpus, baseline, tiny_lm, tmp_path):
    """A function that fine-tunes the baseline, whose output layer it changes first: the finished fairseq-train."""

    def run(change, *arguments, check=True):
        state = torch.load(baseline)
        change(state["model"]["decoder.output_projection.weight"])
        torch.save(state, tmp_path / "changed.pt")
        if "--criterion" not in arguments:
            arguments = (*bertscore(tiny_lm("bert")), *arguments)
        arguments = (*OPTIONS, "--finetune-from-model", tmp_path / "changed.pt", *arguments)
        return train(corpus, tmp_path / "tuned", *arguments, check=check)

    return run


@pytest.mark.parametrize(
    "objective, factor", [*((name, 1e4) for name in OBJECTIVES), ("sparsemax", 0.0), ("gumbel_softmax", 0.0)]
)
def test_extreme_logits(go_on, objective, factor):
    updates = logged(go_on(lambda weight: weight.mul_(factor), *OBJECTIVES[objective]), "train_inner")
    assert len(updates) == 3
    numbers = [update[name] for update in updates for name in ("loss", "gnorm", "nll_loss")]
    assert all(map(math.isfinite, numbers))
    name = "f_expected" if objective == "risk" else "f_bert"
    assert all(-100 <= update[name] <= 100 for update in updates)


@pytest.mark.parametrize("options", [STOCK, *(OBJECTIVES[name] for name in ("sparsemax", "gumbel_softmax", "risk"))],
                         ids=["stock", "sparsemax", "gumbel_softmax", "risk"])  # fmt: skip
def test_nan_ends_as_in_stock_fairseq(go_on, tmp_path, options):
    """At the gradients' norm; fairseq's search for the module at fault then fails at its own transformer's encoder."""
    done = go_on(lambda weight: weight[5].fill_(math.nan), *options, check=False)
    assert done.returncode != 0 and "FloatingPointError: gradients are Nan/Inf" in done.stderr
    assert "fairseq_bertloss" not in done.stderr.split("FloatingPointError: gradients are Nan/Inf")[0]
    assert [path.name for path in (tmp_path / "tuned").glob("*.pt")] == ["crash.pt"]


def test_nan_is_an_overflow_in_float16(go_on, tmp_path):
    """Which fairseq ignores; on a CPU it then asks for a GPU, and ends there."""
    done = go_on(lambda weight: weight[5].fill_(math.nan), "--fp16", "--memory-efficient-fp16", check=False)
    assert "NOTE: gradient overflow detected, ignoring gradient" in done.stdout + done.stderr
    if not torch.cuda.is_available():
        assert done.stderr.strip().splitlines()[-1] == "AssertionError: Torch not compiled with CUDA enabled"
    assert not list((tmp_path / "tuned").glob("*.pt"))
