"""tests/composing.py: what it remembers changes no configuration."""

import pytest
from composing import compose, hydras
from fairseq import options
from fairseq.dataclass import utils

import fairseq_bertloss.training.criterion  # noqa: F401, registers bertscore_loss


@pytest.mark.parametrize(
    "arguments",
    [
        ["--arch", "transformer", "--criterion", "bertscore_loss", "--bert-model", "x"],
        ["--arch", "lstm", "--criterion", "bertscore_loss", "--bert-model", "a=b, c's", "--objective", "risk"]
        + ["--candidate-generation-args", '{"beam": 2, "text": "it\'s"}', "--bpe", "subword_nmt", "--optimizer", "adam"]
        + ["--adam-betas", "(0.9,0.98)", "--lr", "1e-3,2e-4", "--lr-scheduler", "inverse_sqrt", "--tokenizer", "moses"]
        + ["--source-lang", "de", "--target-lang", "en"],
        ["--arch", "mbart_base", "--criterion", "label_smoothed_cross_entropy", "--update-freq", "2,3", "--fp16"],
        ["--arch", "transformer", "--task", "translation_multi_simple_epoch", "--langs", "de,en"],
    ],
)
def test_a_configuration_is_hydras(arguments, monkeypatch):
    args = options.parse_args_and_arch(options.get_training_parser(), ["data", *arguments])
    monkeypatch.setattr(utils, "compose", hydras)
    expected = utils.convert_namespace_to_omegaconf(args)
    monkeypatch.setattr(utils, "compose", compose)
    for _ in range(2):
        found = utils.convert_namespace_to_omegaconf(args)
        assert found == expected and str(found) == str(expected)
        found.common.seed += 1  # and what is done to one does not reach the next
