"""Soft predictions that follow the model's own translations: real fairseq models, a real (tiny) language model."""

import pytest
import torch
from fairseq.logging import metrics
from test_criterion import PIECES, build, gradients, make_sample  # noqa: F401, build is a fixture
from training import MODELS, logged, rise, train

from fairseq_bertloss.loss.output_layer import Projection
from fairseq_bertloss.loss.soft_predictions import soft_prediction

FREE = ["--free-running"]


@pytest.fixture
def free(build, monkeypatch):  # noqa: F811
    """Criterion, model and sample; a random model does not end its sentences, here they get different lengths."""

    def make(*arguments, model="transformer"):
        criterion, network, task = build(*FREE, *arguments, model=model)
        sample, translator = make_sample(task, PIECES), criterion.objective.translator
        drawn = [[[*only[: 3 + 4 * i], 2]] for i, (only,) in enumerate(translator.draw(network, sample))]
        monkeypatch.setattr(translator, "draw", lambda *_: drawn)
        return criterion, network, sample, [only for (only,) in drawn]

    return make


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", ["softmax", "sparsemax"])
def test_loss_and_gradient_sentence_by_sentence(free, kind, model):
    criterion, network, sample, drawn = free("--soft-prediction", kind, model=model)
    loss, size, log = criterion(network, sample)
    f, predicted = 0.0, 0
    for i, translation in enumerate(drawn):
        net_input = {name: part[i : i + 1] for name, part in sample["net_input"].items()}
        net_input["prev_output_tokens"] = torch.tensor([[2, *translation[:-1]]])
        probabilities = soft_prediction(network(**net_input)[0], kind, 1.0)
        reference = sample["target"][i][sample["target"][i] != 1].unsqueeze(0)
        embeddings = probabilities @ criterion.bertscore.embedding_table
        layout = criterion.bertscore._layout(torch.tensor([translation]))
        sentences = criterion.bertscore._sentences(embeddings[0], None, torch.tensor([translation]), layout)
        f = f + criterion.bertscore._score(sentences, reference, criterion.bertscore._layout(reference)).reported.f1[0]
        predicted += len(translation)
    assert (size, log["ntokens_predicted"], log["ntokens_scored"]) == (3, predicted, sample["ntokens"])
    assert log["f_bert"].item() == pytest.approx(-loss.item())
    torch.testing.assert_close(-loss, f, rtol=1e-5, atol=1e-5)
    ours, theirs = gradients(loss, network), gradients(-f, network)
    for name, gradient in theirs.items():
        torch.testing.assert_close(
            ours[name], gradient, rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_what_the_language_model_reads_is_what_was_drawn(free):
    """With hard samples the F is that of the translations themselves, whatever the noise."""
    criterion, network, sample, drawn = free("--gumbel-hard")
    network.train(), criterion.train()
    width = max(map(len, drawn))
    hypothesis = torch.tensor([one + [1] * (width - len(one)) for one in drawn])
    expected = criterion.bertscore.score_ids(hypothesis, sample["target"]).f1.sum()
    for seed in range(3):
        torch.manual_seed(seed)
        torch.testing.assert_close(criterion(network, sample)[2]["f_bert"], expected, rtol=1e-5, atol=1e-5)
    teacher_forced = criterion.bertscore.score_features(
        network(**sample["net_input"], features_only=True)[0],
        sample["target"],
        Projection(network.decoder.output_projection.weight, None),
    )[0]
    assert (teacher_forced.reported.f1.sum() - expected).abs() > 0.01


def test_mixed_with_cross_entropy_of_the_references(free, build):  # noqa: F811
    options = ["--soft-prediction", "softmax", "--label-smoothing", "0.1"]
    criterion, network, sample, _ = free(*options, "--cross-entropy-weight", "0.3")
    pure = free(*options)[0]
    control, _, _ = build(*options, "--cross-entropy-weight", "1")
    loss, _, log = criterion(network, sample)
    of_references, tokens, their_log = control(network, sample)
    expected = 0.7 * pure(network, sample)[0] + 0.3 * of_references / tokens * 3
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    for name in ("nll_loss", "ce_loss", "accuracy", "p_eos_end", "p_eos_before"):
        torch.testing.assert_close(log[name], their_log[name], rtol=1e-5, atol=1e-5)


def test_entropy_is_a_mean_over_what_was_predicted(free):
    criterion, network, sample, drawn = free("--soft-prediction", "softmax")
    log = criterion(network, sample)[2]
    with metrics.aggregate(new_root=True) as aggregator:
        criterion.reduce_metrics([log, log])
    entropy = aggregator.get_smoothed_values()["entropy"]
    assert entropy == pytest.approx(log["entropy"].item() / sum(map(len, drawn)), abs=1e-4)


def test_training_samples_and_validation_does_not(build):  # noqa: F811
    criterion, network, task = build(*FREE)
    sample, translator = make_sample(task, PIECES), criterion.objective.translator

    def draw(seed):
        torch.manual_seed(seed)
        return translator.draw(network, sample)

    assert draw(1) == draw(1) != draw(2) and all(len(only) == 1 for only in draw(1))
    criterion.eval()
    assert draw(1) == draw(2)


def test_a_model_of_nan_has_a_loss_of_nan(build):  # noqa: F811
    criterion, network, task = build(*FREE)
    with torch.no_grad():
        network.decoder.output_projection.weight[5] = torch.nan
    loss, size, _ = criterion(network, make_sample(task, PIECES))
    assert loss.isnan() and size == 3


def test_bad_options(build):  # noqa: F811
    with pytest.raises(ValueError, match="leave out 'beam': --free-running draws one translation"):
        build(*FREE, "--candidate-generation-args", '{"beam": 4}')


def test_free_running_training_raises_f(corpus, tiny_lm, tmp_path):
    """By 2.07 at least: seeds 1 to 7, rounded in three ways. Gumbel noise would hide as much in so few updates."""
    done = train(corpus, tmp_path, "--criterion", "bertscore_loss", "--bert-model", tiny_lm("bert"),
                 "--bert-layer", "2", "--objective", "soft", *FREE, "--soft-prediction", "softmax",
                 "--max-update", "25", "--candidate-generation-args", '{"max_len_a":0,"max_len_b":15}')  # fmt: skip
    updates, validations = logged(done, "train_inner"), logged(done, "valid")
    assert rise(updates, "f_bert") > 1
    assert {"valid_f_bert", "valid_entropy", "valid_accuracy"} <= validations[-1].keys()
