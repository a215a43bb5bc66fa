"""The line of a training's log that says what it learns from."""

import logging

import pytest
from test_criterion import build  # noqa: F401, a fixture

from fairseq_bertloss.language_model.pretrained import short_name

RECIPE = "--objective risk --reward-matching one-to-one --reward-scale min-max --cross-entropy-weight 0.2"
TEXT = "--objective risk --reward bertscore:1,chrf:0.5 --candidates-as text --lm-dtype bfloat16"
SCHEDULE = "--soft-prediction sparsemax --temperature 1:0.5@100 --score recall --free-running --bf16"


@pytest.mark.parametrize(
    "options, objective, language_model",
    [
        (
            "",
            "soft predictions (gumbel_softmax, temperature 0.1) along the reference; maximised: BERTScore's f1 by "
            "greedy matching",
            "float32, reads pieces",
        ),
        (
            SCHEDULE,
            "soft predictions (sparsemax, temperature 1:0.5@100) along the model's own translation; maximised: "
            "BERTScore's recall by greedy matching",
            "bfloat16, reads pieces",
        ),
        (
            f"{RECIPE} --label-smoothing 0.1",
            "minimum risk of 4 candidates and 1 sampled; reward: BERTScore's f1 by one-to-one matching, scaled by "
            "min-max; 0.2 cross-entropy (label smoothing 0.1)",
            "float32, reads pieces",
        ),
        (
            f"{TEXT} --reference-among-candidates --sampled-candidates 0",
            "minimum risk of 4 candidates and the reference; reward: 1 BERTScore's f1 by greedy matching and 0.5 chrf",
            "bfloat16, reads text",
        ),
        (
            "--cross-entropy-weight 1 --label-smoothing 0.1 --gumbel-hard",
            "cross-entropy alone (label smoothing 0.1); in the log beside it; soft predictions (gumbel_softmax, hard, "
            "temperature 0.1) along the reference; maximised: BERTScore's f1 by greedy matching",
            "float32, reads pieces",
        ),
        (
            "--objective risk --reward bleu --best-candidate",
            "cross-entropy of the best of 4 candidates and 1 sampled; reward: bleu",
            None,
        ),
    ],
)
def test_what_a_training_learns_from(build, tiny_lm, caplog, options, objective, language_model):  # noqa: F811
    with caplog.at_level(logging.INFO):
        build(*options.split())
    (line,) = (record.message for record in caplog.records if record.name == "fairseq_bertloss.training.criterion")
    lm = f"language model {short_name(tiny_lm('bert'))}, layer 2, in {language_model}"
    assert line == (objective if language_model is None else f"{objective}; {lm}")
