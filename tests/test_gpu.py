"""fairseq-train on a GPU, in each of its precisions; elsewhere these tests are skipped."""

import math

import pytest
import torch
from training import bertscore, logged, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

PRECISIONS = ["--fp16", "--fp16 --memory-efficient-fp16", "--amp", "--fp16 --lm-dtype float32", "--lm-dtype bfloat16"]
"""fairseq's --bf16 asks for a TPU; in a YAML file for fairseq-hydra-train it does not (test_end_to_end.py)."""
SOFT_PREDICTIONS_AND_RISK = {
    "softmax": "--objective soft --soft-prediction softmax",
    "sparsemax": "--objective soft --soft-prediction sparsemax",
    "gumbel_softmax": "--objective soft --soft-prediction gumbel_softmax",
    "risk": "--objective risk --candidates 2 --sampled-candidates 0",
}


@pytest.fixture
def fine_tune(corpus, baseline, tiny_lm, tmp_path):
    """A function that fine-tunes the baseline for a hundred updates: F of each."""

    def run(name: str, *arguments: str) -> list[float]:
        criterion = [*bertscore(tiny_lm("bert")), "--lr", "2e-4"]
        schedule = ["--finetune-from-model", baseline, "--max-update", "100", "--disable-validation"]
        done = train(corpus, tmp_path / name, *criterion, *schedule, *arguments, gpu=True)
        return [update.get("f_bert", update.get("f_expected")) for update in logged(done, "train_inner")]

    return run


@pytest.mark.parametrize("kind", SOFT_PREDICTIONS_AND_RISK)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_precision(fine_tune, precision, kind):
    """No NaN, and F within 0.2 points of float32's, the mean of the last ten updates where there is noise."""
    whole = fine_tune("whole", *SOFT_PREDICTIONS_AND_RISK[kind].split())
    half = fine_tune("half", *SOFT_PREDICTIONS_AND_RISK[kind].split(), *precision.split())
    assert len(half) >= 95 and not any(map(math.isnan, half)), "more than five batches were skipped"
    assert sum(half[-10:]) / 10 == pytest.approx(sum(whole[-10:]) / 10, abs=0.2)


@pytest.mark.parametrize("precision", ["", *PRECISIONS])
def test_the_validation_before_the_first_update(corpus, baseline, tiny_lm, tmp_path, precision):
    """Its figures are those of the validation after an update that changes nothing."""
    options = ["--finetune-from-model", baseline, "--eval-f-bert", "--lr", "1e-30", "--max-update", "1"]
    done = train(corpus, tmp_path, *bertscore(tiny_lm("bert")), *options, *precision.split(), gpu=True)
    first, *_, last = logged(done, "valid")
    assert (first["valid_num_updates"], last["valid_num_updates"]) == (0, 1)
    for name in ("f_bert", "p_bert", "r_bert"):
        assert first[f"valid_{name}"] == pytest.approx(last[f"valid_{name}"], abs=0.011), "the last digit logged"
