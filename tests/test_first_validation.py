"""The validation before the first update: its figures are those of fairseq's own, and training does not notice it."""

import random
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fairseq.logging import metrics
from test_criterion import PIECES, build, make_sample  # noqa: F401, build is a fixture
from test_end_to_end import hydra_train  # noqa: F401, a fixture
from test_suitable import Wrapper
from training import bertscore, fairseq, logged, train

from fairseq_bertloss.checkpoints.loading import allow_fairseq_classes
from fairseq_bertloss.training.first_validation import _training_undisturbed

allow_fairseq_classes()

CLOCKS = {"wps", "ups", "wall", "train_wall"}
TRANSLATED = ["--eval-f-bert", "--eval-generation-args", '{"max_len_b": 15}']
OPTIONS = [*TRANSLATED, "--objective", "soft", "--batch-size", "40", "--dropout", "0.1", "--max-update", "3",
           "--lr", "10", "--valid-subset", "valid,test", "--best-checkpoint-metric", "nll_loss",
           "--patience", "2", "--save-interval-updates", "1", "--keep-interval-updates", "1"]  # fmt: skip
WITHOUT = ["--validate-after-updates", "1"]


def untimed(records: list[dict]) -> list[dict]:
    """Records without what a clock says."""
    clocks = {f"{kind}{name}" for kind in ("", "train_", "valid_", "test_") for name in CLOCKS}
    return [{name: value for name, value in record.items() if name not in clocks} for record in records]


def counted(meter: tuple) -> tuple:
    """A meter of a checkpoint, without what a clock says."""
    _, name, _, state = meter
    return name, None if name in CLOCKS else state


@pytest.fixture(scope="module")
def run(corpus, baseline, tiny_lm, tmp_path_factory):
    """A function that goes on from the baseline: the log, and what the last checkpoint holds."""

    def go_on(*arguments: str, folder=None, check=True) -> SimpleNamespace:
        folder = folder or tmp_path_factory.mktemp("run")
        command = [*bertscore(tiny_lm("bert")), *OPTIONS, "--finetune-from-model", baseline, *arguments]
        done = train(corpus, folder, *command, check=check)
        logs = {kind: logged(done, kind) for kind in ("train_inner", "train", "valid", "test")}
        checkpoint = folder / "checkpoint_last.pt"
        return SimpleNamespace(folder=folder, text=done.stdout + done.stderr, checkpoint=checkpoint, **logs)

    return go_on


@pytest.fixture(scope="module")
def with_it(run):
    return run()


@pytest.fixture(scope="module")
def without(run):
    return run(*WITHOUT)


def test_training_does_not_notice(with_it, without):
    """Nor does early stopping: an update counts as the best, although the learning rate makes all worse than before."""
    assert untimed(with_it.train_inner) == untimed(without.train_inner) and len(without.train_inner) == 3
    assert untimed(with_it.train) == untimed(without.train)
    first, *others = with_it.valid
    assert untimed(others) == untimed(without.valid)
    assert first["valid_num_updates"] == first["epoch"] == 0 and "valid_best_nll_loss" not in first
    best = min(record["valid_nll_loss"] for record in others)
    assert first["valid_nll_loss"] < best and first["valid_f_bert"] > 1
    states = [torch.load(run.checkpoint) for run in (with_it, without)]
    assert states[0]["extra_state"]["best"] == pytest.approx(best, rel=1e-5)  # six digits are logged
    for part in ("best", "val_loss", "train_iterator"):
        assert states[0]["extra_state"][part] == states[1]["extra_state"][part]
    for kind in ("model", "last_optimizer_state"):
        torch.testing.assert_close(states[0][kind], states[1][kind], rtol=0, atol=0)
    meters = [state["extra_state"]["metrics"] for state in states]
    assert [counted(meter) for meter in meters[0]["valid"]] == [counted(meter) for meter in meters[1]["valid"]]


def test_figures_are_those_of_fairseqs_own_validation(run):
    """Of a model that nothing changes: of all validation sets, in as many batches."""
    done = run("--lr", "1e-30", "--max-update", "1", "--batch-size", "4", "--fixed-validation-seed", "7")
    for kind, sentences in (("valid", 4), ("test", 4)):
        first, last = untimed(getattr(done, kind))
        assert first[f"{kind}_num_updates"] == 0 and first[f"{kind}_bsz"] < sentences
        for record in (first, last):
            for name in ("epoch", f"{kind}_num_updates", f"{kind}_best_nll_loss"):
                record.pop(name, None)
        assert first == last and first[f"{kind}_f_bert"] > 1


def test_figures_are_those_of_fairseq_validate(corpus, with_it, run, tmp_path):
    """It starts from another checkpoint here, one that fairseq-validate knows what to do with."""
    first = run("--finetune-from-model", with_it.checkpoint, "--max-update", "1", folder=tmp_path).valid[0]
    done = fairseq("validate", corpus, "--task", "translation", "--path", with_it.checkpoint, "--cpu",
                   "--batch-size", "40", "--required-batch-size-multiple", "1", "--log-format", "json")  # fmt: skip
    (figures,) = logged(done, "valid")
    for name in ("f_bert", "p_bert", "r_bert", "f_bert_forced", "nll_loss", "loss", "bsz"):
        assert first[f"valid_{name}"] == figures[f"valid_{name}"], name


def test_a_resumed_training_does_not_repeat_it(with_it, run, tmp_path):
    halves = [run("--max-update", updates, folder=tmp_path) for updates in ("2", "3")]
    assert [record["valid_num_updates"] for half in halves for record in half.valid] == [0, 1, 2, 3]
    assert untimed(halves[1].train_inner) == untimed(with_it.train_inner[2:])
    assert "before the first update" in halves[0].text and "before the first update" not in halves[1].text


def test_no_validation(run):
    done = run("--disable-validation", "--max-update", "1")
    assert not done.valid and "before the first update" not in done.text


def test_a_set_that_is_not_there(build_for_training):
    """Nothing but a line of the log, where whoever drives fairseq has loaded no such set."""
    criterion, network, sample, log = build_for_training(*TRANSLATED)
    loss, _, _ = criterion(network, sample)
    assert log.messages.count("no validation before the first update: the task has not loaded valid") == 1
    criterion(network, sample)
    assert len([message for message in log.messages if "before the first update" in message]) == 1
    assert loss.requires_grad and network.training and criterion.training


def test_a_wrapper_that_nobody_knows(build_for_training):
    criterion, network, sample, log = build_for_training(*TRANSLATED, loaded=True)
    criterion(Wrapper(network), sample)
    assert "no validation before the first update: a Wrapper hides the model" in log.messages


def test_it_leaves_no_gradient_and_every_module_as_it_was(build_for_training):
    criterion, network, sample, log = build_for_training(*TRANSLATED, loaded=True)
    network.encoder.layers[0].eval()  # someone keeps a part without dropout
    modes = [module.training for module in network.modules()]
    criterion(network, sample)
    assert 'begin validation on "valid" subset before the first update' in log.messages
    assert [module.training for module in network.modules()] == modes and criterion.training
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.fixture
def build_for_training(build, caplog):  # noqa: F811
    """A function that makes criterion, model and a batch in training mode, and says where messages are."""

    def made(*arguments: str, loaded: bool = False):
        criterion, network, task = build(*arguments, "--batch-size", "4", "--cpu")
        if loaded:
            task.load_dataset("valid")
        caplog.set_level("INFO")
        return criterion.train(), network.train(), make_sample(task, PIECES), caplog

    return made


def test_random_numbers_and_the_stopwatch_go_on_as_before():
    """A function that rewards or a model may draw from any generator."""
    network = torch.nn.Linear(1, 1)
    drawn = []
    for disturbed in (False, True):
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
        with metrics.aggregate(new_root=True) as figures:
            metrics.log_start_time("train_wall")
            if disturbed:
                with _training_undisturbed(network, network):
                    assert not network.training
                    random.random(), np.random.rand(), torch.rand(1)
                    before, ended = figures["train_wall"].sum, time.perf_counter()
                assert figures["train_wall"].start_time >= ended
                assert figures["train_wall"].sum == before > 0
        drawn.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert drawn[0] == drawn[1] and network.training


def test_fairseq_hydra_train(hydra_train):  # noqa: F811
    done = hydra_train("run", 1, {"eval_f_bert": True, "eval_generation_args": '{"max_len_b": 15}'})
    assert [record["valid_num_updates"] for record in done.valid] == [0, 1]
    assert done.valid[0]["valid_f_bert"] > 1
