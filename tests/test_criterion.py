"""The criterion inside fairseq's objects: one process, real models of fairseq, a real (tiny) language model."""

import logging
import math

import pytest
import torch
from fairseq import options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.logging import metrics
from training import MODELS

import fairseq_bertloss.training.criterion  # noqa: F401, registers bertscore_loss
from fairseq_bertloss.choices import END_OF_SENTENCE, SOFT_PREDICTIONS
from fairseq_bertloss.loss.soft_predictions import SoftPrediction
from fairseq_bertloss.training.log import SUMS


@pytest.fixture
def build(corpus, tiny_lm):
    """A function that builds criterion and model as fairseq-train does from its command line."""

    def build_from(*arguments, model="transformer"):
        line = [str(corpus), *MODELS[model].split(), "--dropout", "0"]
        if "--criterion" not in arguments:
            line += ["--criterion", "bertscore_loss", "--bert-model", tiny_lm("bert"), "--bert-layer", "2"]
        line += arguments
        cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), line))
        torch.manual_seed(1)
        task = tasks.setup_task(cfg.task)
        network = task.build_model(cfg.model)
        return task.build_criterion(cfg.criterion), network, task

    return build_from


def make_sample(task, sentences, target_repeats=1) -> dict:
    """A batch of the given pairs, as the translation task collates it; targets can be made longer by repetition."""
    source = [task.source_dictionary.encode_line(s, add_if_not_exist=False).long() for s, _ in sentences]
    target = [
        task.target_dictionary.encode_line(" ".join([t] * target_repeats), add_if_not_exist=False).long()
        for _, t in sentences
    ]
    dataset = task.build_dataset_for_inference(source, [len(s) for s in source])
    dataset.tgt, dataset.tgt_sizes = target, [len(t) for t in target]
    return dataset.collater([dataset[i] for i in range(len(source))])


PIECES = [(source, "two men are sit ##ting on the roof of a house .".replace("house", house)) for source, house in
          [("zwei", "house"), ("ein", "dog and a dog"), ("die", "")]]  # fmt: skip


def gradients(loss, network):
    parameters = dict(network.named_parameters())
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return dict(zip(parameters, found, strict=True))


def test_the_default_is_the_papers_best_row(build):
    """F of Gumbel-Softmax at temperature 0.1, and nothing beside it."""

    def loss(*arguments):
        criterion, network, task = build(*arguments)
        sample = make_sample(task, PIECES)
        torch.manual_seed(2)
        return float(criterion(network, sample)[0])

    papers = "--objective soft --soft-prediction gumbel_softmax --temperature 0.1 --score f1 --cross-entropy-weight 0"
    assert loss() == loss(*papers.split(), "--reward-matching", "greedy")
    assert loss() != loss("--soft-prediction", "softmax"), "another objective would not have been seen"


@pytest.mark.parametrize("kind", ["softmax", "sparsemax", "entmax15"])
@pytest.mark.parametrize("weight", ["0", "0.3"])
def test_a_batch_is_the_sum_of_its_sentences(build, kind, weight):
    criterion, network, task = build("--soft-prediction", kind, "--cross-entropy-weight", weight)
    _, size, whole = criterion(network, make_sample(task, PIECES))
    parts = [criterion(network, make_sample(task, [pair]))[2] for pair in PIECES]
    assert size == whole["sample_size"] == len(PIECES)
    for name in [name for name in SUMS if name in whole]:
        assert float(whole[name]) == pytest.approx(sum(float(part[name]) for part in parts), rel=5e-7, abs=2e-5), name


@pytest.mark.parametrize("weight", ["0", "0.3", "1"])
def test_reduce_false_sums_to_reduce_true(build, weight):
    criterion, network, task = build("--cross-entropy-weight", weight, "--soft-prediction", "softmax")
    sample = make_sample(task, PIECES)
    summed, _, _ = criterion(network, sample)
    single, _, _ = criterion(network, sample, reduce=False)
    assert single.shape == (len(PIECES),)
    torch.testing.assert_close(single.sum(), summed)


@pytest.mark.parametrize("smoothing", ["0", "0.1"])
@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_mixed_loss_is_two_means_each_in_its_unit(build, weight, smoothing):
    """The cross-entropy is fairseq's label_smoothed_cross_entropy, in value and gradient."""
    mixed, network, task = build(
        "--soft-prediction", "softmax", "--cross-entropy-weight", str(weight), "--label-smoothing", smoothing
    )
    pure, _, _ = build("--soft-prediction", "softmax")
    theirs, _, _ = build("--criterion", "label_smoothed_cross_entropy", "--label-smoothing", smoothing)
    sample = make_sample(task, PIECES)
    (loss, size, log), (f, _, _), (ce, tokens, ce_log) = (c(network, sample) for c in (mixed, pure, theirs))
    expected = (1 - weight) * f / size + weight * ce / tokens
    torch.testing.assert_close(loss / size, expected)
    torch.testing.assert_close(log["nll_loss"], ce_log["nll_loss"])
    torch.testing.assert_close(log["ce_loss"], ce_log["loss"])
    ours, wanted = gradients(loss / size, network), gradients(expected, network)
    for name, gradient in wanted.items():
        torch.testing.assert_close(ours[name], gradient, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("end_of_sentence", END_OF_SENTENCE)
def test_every_decoder_parameter_learns_from_f_alone(build, model, end_of_sentence):
    criterion, network, task = build("--end-of-sentence", end_of_sentence, "--temperature", "1", model=model)
    loss, _, _ = criterion(network.train(), make_sample(task, PIECES))
    for name, gradient in gradients(loss, network).items():
        assert gradient is not None and gradient.isfinite().all(), name
        if name.startswith("decoder"):
            assert gradient.abs().sum() > 0, name
    loss, _, _ = criterion(network, make_sample(task, PIECES))
    loss.backward()
    assert network.decoder.embed_tokens.weight.grad is not None
    for parameter in criterion.bertscore.language_model._encoder.parameters():
        assert parameter.grad is None and not parameter.requires_grad


@pytest.mark.parametrize("kind", SOFT_PREDICTIONS)
def test_validation_draws_no_noise(build, kind):
    criterion, network, task = build("--soft-prediction", kind)
    sample = make_sample(task, PIECES)
    network.eval()

    def draw():
        return criterion(network, sample)[0].item()

    criterion.train()
    assert (draw() != draw()) == (kind == "gumbel_softmax")
    criterion.eval()
    assert draw() == draw()


# Sentences that do not fit.


def test_long_targets_are_left_out(build, caplog):
    criterion, network, task = build("--soft-prediction", "softmax")
    short, long = make_sample(task, PIECES[:2]), make_sample(task, PIECES[:2], target_repeats=12)
    both = make_sample(task, PIECES[:2])
    both["target"] = torch.cat([_pad_to(short["target"], long["target"].size(1)), long["target"]])
    for key in ("src_tokens", "src_lengths", "prev_output_tokens"):
        first, second = short["net_input"][key], long["net_input"][key]
        both["net_input"][key] = torch.cat([_pad_to(first, second.size(1)) if first.dim() == 2 else first, second])
    assert long["target"].size(1) > criterion.bertscore.max_target_length
    expected, _, expected_log = criterion(network, short)
    with caplog.at_level(logging.WARNING):
        loss, size, log = criterion(network, both)
        criterion(network, both)
    torch.testing.assert_close(loss, expected)
    assert (size, log["nsentences"], log["skipped"]) == (2, 4, 2)
    assert log["ntokens_scored"] == expected_log["ntokens_scored"]
    assert [r.message for r in caplog.records if "skipping targets of more than 99 symbols" in r.message].__len__() == 1


def _pad_to(tokens, length):
    return torch.nn.functional.pad(tokens, (0, length - tokens.size(1)), value=1)


@pytest.mark.parametrize("reduce", [True, False])
def test_a_batch_without_a_fitting_target_changes_nothing(build, reduce):
    criterion, network, task = build()
    loss, size, log = criterion(network, make_sample(task, PIECES, target_repeats=12), reduce=reduce)
    assert (loss.sum().item(), size, log["skipped"], log["sample_size"]) == (0.0, 0, 3, 0)
    for name, gradient in gradients(loss.sum(), network).items():
        assert gradient is not None and (gradient == 0).all(), name
    # Workers add up their logs in this order and by where the values live.
    _, _, usual = criterion(network, make_sample(task, PIECES))
    assert list(usual) == list(log)
    assert {k: torch.is_tensor(v) for k, v in usual.items()} == {k: torch.is_tensor(v) for k, v in log.items()}


def test_an_empty_reference(build):
    criterion, network, task = build()
    loss, size, _ = criterion(network, make_sample(task, [("zwei", "")]))
    assert size == 1 and loss.isfinite()
    assert all(g.isfinite().all() for g in gradients(loss, network).values())


def test_one_to_one_matching_trains_and_greedy_matching_is_logged(build):
    arguments = ["--soft-prediction", "softmax", "--score", "recall"]
    greedy, network, task = build(*arguments)
    criterion, *_ = build(*arguments, "--reward-matching", "one-to-one")
    sample = make_sample(task, PIECES)
    plain, _, expected_log = greedy(network, sample)
    loss, _, log = criterion(network, sample)
    for name in ("f_bert", "p_bert", "r_bert"):
        torch.testing.assert_close(log[name], expected_log[name], msg=lambda text, name=name: f"{name}: {text}")
    torch.testing.assert_close(-plain, log["r_bert"])
    torch.testing.assert_close(
        -loss, criterion.bertscore(network(**sample["net_input"])[0], sample["target"]).recall.sum()
    )
    assert loss > plain + 0.01
    assert any(gradient.abs().max() > 1e-4 for gradient in gradients(loss, network).values())


@pytest.mark.parametrize("smoothing", ["0", "0.1"])
def test_symbols_that_the_model_rules_out(build, smoothing):
    criterion, network, task = build("--cross-entropy-weight", "0.3", "--label-smoothing", smoothing)
    sample = make_sample(task, PIECES)
    ruled_out = torch.zeros(len(task.target_dictionary))
    ruled_out[[s for s in range(4, 30) if not (sample["target"] == s).any()]] = -torch.inf
    network.decoder.output_projection.register_forward_hook(lambda module, inputs, logits: logits + ruled_out)
    loss, _, log = criterion(network, sample)
    assert all(torch.as_tensor(value).isfinite() for value in log.values())
    assert all(g.isfinite().all() for g in gradients(loss, network).values())
    assert ruled_out.isinf().sum() > 5


# The log.


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_logged_means_have_the_right_denominators(build, weight):
    criterion, network, task = build("--cross-entropy-weight", str(weight), "--label-smoothing", "0.1")
    criterion.eval()
    network.eval()
    sample = make_sample(task, PIECES)
    unequal = [
        make_sample(task, PIECES[:1]),
        make_sample(task, PIECES[1:]),
        make_sample(task, PIECES, target_repeats=12),
    ]

    def reduced(samples):
        with metrics.aggregate(new_root=True) as aggregator:
            criterion.reduce_metrics([criterion(network, s)[2] for s in samples])
        return aggregator.get_smoothed_values()

    together, apart = reduced([sample]), reduced(unequal)
    assert together.pop("skipped") == 0 and apart.pop("skipped") == 3
    for name, value in apart.items():
        last_digit = 0.011 if name in ("f_bert", "p_bert", "r_bert") else 2e-3  # percent has two
        assert together[name] == pytest.approx(value, abs=last_digit), name
    assert together.keys() == apart.keys()

    lprobs = network(**sample["net_input"])[0].log_softmax(-1)
    real, end = sample["target"] != 1, sample["target"] == 2
    nll = -lprobs.gather(-1, sample["target"].unsqueeze(-1)).squeeze(-1)[real].mean() / math.log(2)
    assert together["nll_loss"] == pytest.approx(nll.item(), abs=2e-3)
    assert together["ppl"] == pytest.approx(2 ** nll.item(), rel=1e-2)
    assert together["p_eos_end"] == pytest.approx(lprobs[..., 2].exp()[end].mean().item(), abs=1e-4)
    assert together["p_eos_before"] == pytest.approx(lprobs[..., 2].exp()[real & ~end].mean().item(), abs=1e-6)
    sharp = (lprobs / 0.1).softmax(-1)
    entropy = -(sharp * sharp.clamp(min=1e-30).log()).sum(-1)[real].mean().item()
    assert together["entropy"] == pytest.approx(entropy, abs=1e-3)
    assert together["support"] == pytest.approx((sharp > 0).sum(-1)[real].float().mean().item(), abs=0.01)
    cross_entropy = together["ce_loss"] * math.log(2)
    f = together["f_bert"] / 100  # the loss is in fractions
    assert together["loss"] == pytest.approx((1 - weight) * -f + weight * cross_entropy, abs=2e-3)
    assert together["accuracy"] == pytest.approx(
        100 * (lprobs.argmax(-1) == sample["target"])[real].float().mean().item(), abs=1e-2
    )


@pytest.mark.parametrize("kind", SOFT_PREDICTIONS)
def test_a_model_of_nan_has_a_loss_of_nan(build, kind):
    """Which fairseq reports or skips."""
    criterion, network, task = build("--soft-prediction", kind)
    with torch.no_grad():
        network.decoder.output_projection.weight[5] = torch.nan
    loss, size, _ = criterion(network, make_sample(task, PIECES))
    assert loss.isnan() and size == 3


def test_temperature_follows_the_number_of_updates(build, monkeypatch):
    criterion, network, task = build("--temperature", "1.0:0.1@10")
    sample = make_sample(task, PIECES)
    used = []

    def noted(kind, temperature, *options, **named):
        used.append(temperature)
        return SoftPrediction(kind, temperature, *options, **named)

    monkeypatch.setattr("fairseq_bertloss.loss.bertscore_loss.SoftPrediction", noted)
    seen = {}
    metrics.reset()
    for update in (None, 5, 20):
        if update is not None:
            metrics.log_scalar("num_updates", update, weight=0)  # as fairseq's trainer does
        criterion.train()(network, sample)
        seen[update] = used.pop()
        criterion.eval()(network, sample)
        assert used.pop() == 0.1
    metrics.reset()
    assert seen == {None: 1.0, 5: pytest.approx(0.55), 20: 0.1}


# What fairseq must not see of the language model, and what it must refuse.


def test_nothing_of_the_language_model_is_fairseqs(build):
    criterion, _, _ = build()
    assert list(criterion.parameters()) == [] and criterion.state_dict() == {}
    assert [type(m).__name__ for m in criterion.modules()] == ["BERTScoreCriterion", "BERTScoreLoss"]
    criterion.half()
    assert criterion.bertscore.language_model.embedding_table.dtype == torch.float16


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--criterion", "bertscore_loss"], "needs --bert-model"),
        (["--cross-entropy-weight", "1.5"], "--cross-entropy-weight must lie between 0 and 1, not 1.5"),
        (["--chunk-tokens", "0"], "--chunk-tokens must be at least 1, not 0"),
        (["--label-smoothing", "1"], "--label-smoothing must lie between 0 and 1"),
        (["--ddp-backend", "fully_sharded"], "fully_sharded is not supported: .* take legacy_ddp or c10d"),
        (["--rescale-with-baseline"], "no rescaling baseline .* language 'en'"),
        (["--bert-idf", "/nowhere"], "references for idf weights from '/nowhere'"),
        (
            ["--candidates", "9"],
            "--candidates does nothing with --objective soft: leave it out, or add --objective risk",
        ),
        (["--reference-among-candidates"], "--reference-among-candidates does nothing with --objective soft"),
        (
            ["--candidate-generation-args", '{"sampling":true}'],
            "--candidate-generation-args does nothing with --objective soft: leave it out, or add --objective risk or "
            "--free-running",
        ),
        (
            ["--best-checkpoint-metric", "f_first"],
            "--best-checkpoint-metric f_first is not logged with --objective soft: add --eval-f-bert",
        ),
    ],
)
def test_bad_options(build, arguments, message):
    with pytest.raises(ValueError, match=message):
        build(*arguments)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--temperature", "cold"], "cannot read the temperature 'cold'"),
        (["--free-running", "--candidate-generation-args", '{"beam": 3}'], "draws one translation of a sentence"),
        (["--objective", "risk", "--candidate-generation-args", '{"beam": 3}'], "--candidates says how many"),
    ],
)
def test_bad_options_are_found_before_the_language_model_is_loaded(build, arguments, message):
    with pytest.raises(ValueError, match=message):
        build("--bert-model", "/nowhere", *arguments)


def test_adaptive_softmax_is_refused(build):
    criterion, network, task = build("--adaptive-softmax-cutoff", "20,40")
    with pytest.raises(ValueError, match="without --adaptive-softmax-cutoff"):
        criterion(network, make_sample(task, PIECES))
