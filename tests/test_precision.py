"""`--lm-dtype auto`: the precision that the device is fast in, by what a product takes there."""

import logging

import pytest
import torch
from test_criterion import build  # noqa: F401, a fixture

from fairseq_bertloss.language_model import precision


@pytest.mark.parametrize("fast, slow", [("bfloat16", "float32"), ("float32", "bfloat16")])
def test_the_faster_precision_is_taken(build, monkeypatch, caplog, fast, slow):  # noqa: F811
    disturbed = iter(range(10**6))

    def taken(left, right):
        return (left.dtype == getattr(torch, slow)) + 0.3 * (next(disturbed) % 3)

    monkeypatch.setattr(precision, "_taken", taken)
    with caplog.at_level(logging.INFO):
        criterion, _, _ = build("--lm-dtype", "auto", "--cpu")
    assert criterion.bertscore.language_model.dtype == fast
    assert f"the language model computes in {fast}, which is faster on this CPU: pass --lm-dtype {fast}" in caplog.text


@pytest.mark.parametrize("half", ["--fp16", "--memory-efficient-fp16", "--bf16", "--amp"])
def test_a_training_in_half_precision_keeps_its_own(build, monkeypatch, caplog, half):  # noqa: F811
    """float32 would be slower than what the training has without the option."""
    monkeypatch.setattr(precision, "_taken", lambda left, right: float(left.dtype == torch.bfloat16))
    with caplog.at_level(logging.INFO):
        criterion, _, _ = build("--lm-dtype", "auto", "--cpu", half)
    assert criterion.half().bertscore.language_model.embedding_table.dtype == torch.float16
    assert "the language model computes in the training's precision" in caplog.text


def test_a_product_is_timed_in_either_precision():
    assert min(precision._seconds(torch.float32), precision._seconds(torch.bfloat16)) > 0
