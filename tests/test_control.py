"""--cross-entropy-weight 1 learns what fairseq's label_smoothed_cross_entropy learns, from whatever batches."""

import math

import pytest
import torch
from fairseq.logging import metrics
from test_criterion import PIECES, build, make_sample  # noqa: F401, build is a fixture

from fairseq_bertloss.training.sums import COMMON_SUMS, OBJECTIVE_SUMS, SOFT_SUMS

OBJECTIVES = {
    "soft": ["--objective", "soft"],
    "free-running": ["--objective", "soft", "--free-running"],
    "risk": ["--objective", "risk", "--candidates", "2"],
}
WEIGHT = ["--cross-entropy-weight", "1"]


@pytest.fixture
def both(build):  # noqa: F811
    """A function that makes the control, fairseq's criterion, the model in double precision and the task."""

    def make(objective, *arguments):
        ours, network, task = build(*OBJECTIVES[objective], *WEIGHT, *arguments)
        theirs, _, _ = build("--criterion", "label_smoothed_cross_entropy", *arguments)
        return ours.double(), theirs, network.double().train(), task

    return make


def update(criterion, network, samples):
    """Gradients as fairseq's trainer makes them of several batches: their sum, divided by the sum of the sizes."""
    torch.manual_seed(4)
    network.zero_grad()
    sizes = []
    for sample in samples:
        loss, size, _ = criterion(network, sample)
        loss.backward()
        sizes.append(int(size))
    return {name: parameter.grad / sum(sizes) for name, parameter in network.named_parameters()}, sizes


def assert_same_update(ours, theirs, network, samples):
    """Up to the rounding of fairseq's log_softmax, which it takes in float32."""
    (gradient, sizes), (expected, its_sizes) = update(ours, network, samples), update(theirs, network, samples)
    assert sizes == its_sizes and len(set(sizes)) == len(sizes)
    for name, part in expected.items():
        torch.testing.assert_close(
            gradient[name], part, rtol=1e-5, atol=1e-7, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize(
    "arguments", [[], ["--label-smoothing", "0.1"], ["--sentence-avg", "--label-smoothing", "0.1"]], ids=str
)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_updates_gradient_is_fairseqs(both, objective, arguments):
    """Of short sentences, and of one that is long: with dropout, whose masks are the same."""
    ours, theirs, network, task = both(objective, "--dropout", "0.3", *arguments)
    assert_same_update(
        ours, theirs, network, [make_sample(task, PIECES), make_sample(task, PIECES[:1], target_repeats=5)]
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_targets_too_long_for_the_language_model_learn_too(both, objective):
    ours, theirs, network, task = both(objective, "--label-smoothing", "0.1")
    long = make_sample(task, PIECES[:2], target_repeats=12)
    mixed = make_sample(task, PIECES)
    for part, other, name in ((mixed, long, "target"), (mixed["net_input"], long["net_input"], "prev_output_tokens")):
        part[name] = torch.nn.functional.pad(part[name], (0, other[name].size(1) - part[name].size(1)), value=1)
        part[name][0] = other[name][0]
    mixed["ntokens"] = int(mixed["target"].ne(1).sum())
    assert_same_update(ours, theirs, network, [long, mixed])
    logs = [ours(network, sample)[2] for sample in (long, mixed)]
    assert [log["skipped"] for log in logs] == [2, 1] and [log["nsentences_scored"] for log in logs] == [0, 2]
    assert list(logs[0]) == list(logs[1]), "workers add up their logs in this order"
    assert [{name for name, value in log.items() if torch.is_tensor(value)} for log in logs] == 2 * [
        {*COMMON_SUMS, *ours.objective.sums}
    ]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_log_and_validations_loss(both, objective):
    ours, theirs, network, task = both(objective, "--label-smoothing", "0.1")
    ours.eval(), network.eval()
    samples = [make_sample(task, PIECES), make_sample(task, PIECES[:2], target_repeats=12)]

    def reduced(criterion):
        with metrics.aggregate(new_root=True) as aggregator:
            criterion.reduce_metrics([criterion(network, sample)[2] for sample in samples])
        return aggregator.get_smoothed_values()

    values, expected = reduced(ours), reduced(theirs)
    assert values["ce_loss"] == pytest.approx(expected["loss"], abs=1.1e-3)
    assert values["loss"] == pytest.approx(expected["loss"] * math.log(2), abs=1e-3), "nats"
    assert values["nll_loss"] == pytest.approx(expected["nll_loss"], abs=1.1e-3) and values["skipped"] == 2
    scored = ours(network, samples[0])[2]
    name = "f_first" if objective == "risk" else "f_bert"
    assert values[name] == pytest.approx(100 * scored[name].item() / 3, abs=1e-2), "of the sentences that it can score"


def test_reduce_false_has_each_sentence(both):
    ours, theirs, network, task = both("soft", "--label-smoothing", "0.1")
    sample = make_sample(task, PIECES)
    single = ours(network, sample, reduce=False)[0]
    expected = theirs(network, sample, reduce=False)[0].view(sample["target"].shape).sum(dim=1)
    torch.testing.assert_close(single.float(), expected)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_what_is_logged_draws_nothing_from_training(both, objective):
    ours, _, network, task = both(objective)
    sample = make_sample(task, PIECES)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    ours(network, sample)
    assert torch.equal(torch.get_rng_state(), state), "without dropout"
    assert all(parameter.requires_grad for parameter in network.parameters()) and network.training


def encoded(network, run):
    """How often the encoder reads a batch."""
    times = []
    hook = network.encoder.register_forward_hook(lambda *_: times.append(1))
    run()
    hook.remove()
    return len(times)


@pytest.mark.parametrize("training", [True, False])
def test_teacher_forced_figures_come_from_the_pass_that_learns(build, training):  # noqa: F811
    """Of sentences of which one is too long to be scored."""
    arguments = ["--soft-prediction", "softmax", "--label-smoothing", "0.1"]
    (ours, network, task), (plain, _, _) = build(*arguments, *WEIGHT), build(*arguments)
    for module in (ours, plain, network):
        module.double().train(training)
    sample = make_sample(task, [*PIECES, ("zwei", " ".join([PIECES[0][1]] * 12))])
    logs = []
    assert encoded(network, lambda: logs.append(ours(network, sample)[2])) == 1
    expected = plain(network, sample)[2]
    assert expected["nsentences_scored"] == 3
    for name in SOFT_SUMS:
        torch.testing.assert_close(logs[0][name], expected[name])


@pytest.mark.parametrize("weight", ["0.3", "1"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_sum_that_an_objective_forgets_is_missed(build, objective, weight):  # noqa: F811
    ours, network, task = build(*OBJECTIVES[objective], "--cross-entropy-weight", weight)
    names = ours.objective.sums
    assert names == OBJECTIVE_SUMS["risk" if objective == "risk" else "soft"]
    for forgotten in (names[0], names[-1]):
        learning = ours._learning

        def forgetful(*given, forgotten=forgotten, learning=learning):
            learned = learning(*given)
            sums = {name: value for name, value in learned.scored.sums.items() if name != forgotten}
            return learned._replace(scored=learned.scored._replace(sums=sums))

        ours._learning = forgetful
        with pytest.raises(KeyError, match=forgotten):
            ours(network, make_sample(task, PIECES))
        ours._learning = learning
