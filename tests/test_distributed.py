"""Data parallel training by fairseq-train in two real processes equals one process that accumulates their batches."""

import importlib
import json
import logging
import multiprocessing
import os
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import prepared
import pytest
import torch
from lms import save_tiny
from torch.nn.parallel import DistributedDataParallel
from training import MODELS, PACKAGE, SEED, logged
from transformers import AutoTokenizer
from waiting import HANG

from fairseq_bertloss.checkpoints.loading import allow_fairseq_classes

allow_fairseq_classes()

# With its usual epsilon Adam would magnify the rounding of gradients next to 0.
OPTIONS = f"""--optimizer adam --adam-eps 1 --lr 0.5 --max-update 2 --seed {SEED} --log-format json --log-interval 1
    --num-workers 0 --cpu --dropout 0 --batch-size 3 --required-batch-size-multiple 1 --disable-validation
    --no-epoch-checkpoints --criterion bertscore_loss --objective soft --bert-layer 2
    --cross-entropy-weight 0.3"""
SPARSEMAX = ("--soft-prediction", "sparsemax")
MEETING = "--distributed-backend gloo --distributed-no-spawn --distributed-init-method"
TIED = {"untied": [], "tied": ["--share-decoder-input-output-embed"]}


class DistributedDataParallelOnCPU(DistributedDataParallel):
    """fairseq names the device of every worker, which torch refuses where the model is on the CPU."""

    def __init__(self, module, device_ids, output_device, **options):
        super().__init__(module, **options)


def _work(command: list[str], log: str, wrapped: bool) -> None:
    """What a worker does: fairseq-train's own entry point, with its output in a file.

    Another file gets what each of its batches adds to the log. Where it is to be wrapped, its model is so even if it is
    the only worker.
    """
    for descriptor in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    if "--cpu" in command:
        wrapping = importlib.import_module("fairseq.models.distributed_fairseq_model")
        wrapping.DistributedDataParallel = DistributedDataParallelOnCPU
    if wrapped:
        importlib.import_module("fairseq.trainer").Trainer.use_distributed_wrapper = True
    task = importlib.import_module("fairseq.tasks.translation").TranslationTask
    train_step = task.train_step

    def recorded(*arguments, update_num, ignore_grad, **more):
        step = train_step(*arguments, update_num=update_num, ignore_grad=ignore_grad, **more)
        _, _, logging_output = step
        sums = {name: float(value) for name, value in logging_output.items()}
        with open(f"{log}.batches", "a", encoding="utf-8") as file:
            file.write(json.dumps({"update": update_num, "dummy": ignore_grad, **sums}) + "\n")
        return step

    task.train_step = recorded
    logging.getLogger().handlers.clear()  # the command sets its log up itself, before it imports anything
    torch.set_num_threads(1)
    sys.argv = ["train", *command]
    importlib.import_module("fairseq_cli.train").cli_main()


@pytest.fixture(scope="module")
def train(corpus, tiny_lm, tmp_path_factory):
    """A function that trains with one worker or several.

    It returns the parameters, the log of the first worker, and of each worker what its batches added to the log.
    """

    def run(workers: int, *arguments: str, data: Path = corpus, nccl=False, wrapped=False) -> SimpleNamespace:
        folder = tmp_path_factory.mktemp("run")
        command = [str(data), "--save-dir", str(folder), *MODELS["transformer"].split(), *OPTIONS.split(),
                   "--bert-model", tiny_lm("bert"), "--user-dir", str(PACKAGE), *arguments]  # fmt: skip
        if workers > 1 or wrapped:
            command += ["--distributed-world-size", str(workers), *MEETING.split(), f"file://{folder}/meeting"]
        if nccl:
            command = [part for part in command if part != "--cpu"] + ["--distributed-backend", "nccl"]
        logs = [folder / f"log-{rank}" for rank in range(workers)]
        server = multiprocessing.get_context("forkserver")  # training.py's, which has imported the libraries
        processes = [
            server.Process(
                target=_work, args=([*command, "--distributed-rank", str(rank)], str(log), wrapped), daemon=True
            )
            for rank, log in enumerate(logs)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(timeout=HANG)
            process.kill()  # one that waits for another which has failed
        texts = [Path(log).read_text(encoding="utf-8") for log in logs]
        assert [process.exitcode for process in processes] == [0] * workers, "\n".join(text[-4000:] for text in texts)
        parameters = torch.load(folder / "checkpoint_last.pt")["model"]
        updates = logged(SimpleNamespace(stdout=texts[0], stderr=""), "train_inner")
        files = [Path(f"{log}.batches").read_text(encoding="utf-8") for log in logs]
        batches = [[json.loads(line) for line in file.splitlines()] for file in files]
        return SimpleNamespace(parameters=parameters, updates=updates, batches=batches)

    return run


@pytest.fixture(scope="module")
def alone(train):
    """What one process learns from four batches an update."""
    return {name: train(1, "--update-freq", "4", *SPARSEMAX, *options) for name, options in TIED.items()}


@pytest.mark.parametrize(
    "backend, projection",
    [("legacy_ddp", "untied"), ("legacy_ddp", "tied"), ("c10d", "untied"), ("c10d", "tied"),
     ("c10d --find-unused-parameters", "untied")],
)  # fmt: skip
def test_two_workers_learn_what_one_learns(train, alone, backend, projection):
    together = train(2, "--update-freq", "2", "--ddp-backend", *backend.split(), *SPARSEMAX, *TIED[projection])
    expected = alone[projection]
    assert together.parameters.keys() == expected.parameters.keys()
    for name, parameter in expected.parameters.items():
        torch.testing.assert_close(together.parameters[name], parameter, rtol=0, atol=1e-5)
    assert len(together.updates) == len(expected.updates) == 2
    for update, its_update in zip(together.updates, expected.updates, strict=True):
        assert update["bsz"] == its_update["bsz"] == 12 and its_update["gnorm"] > 0.3  # so much that it shows
        for name in ("loss", "f_bert", "nll_loss", "ce_loss", "accuracy", "entropy", "gnorm"):
            assert update[name] == pytest.approx(its_update[name], abs=2e-3, rel=2e-3), name


def test_two_workers_keep_the_candidates_that_one_draws(train, baseline, tmp_path):
    """In one file, which a single worker learns from as they do."""

    def run(workers: int, cache: str):
        return train(workers, "--update-freq", str(4 // workers), "--ddp-backend", "legacy_ddp", "--objective", "risk",
                     "--candidates", "2", "--finetune-from-model", str(baseline),
                     "--cache-candidates", str(tmp_path / cache)).parameters  # fmt: skip

    expected = run(1, "alone")
    for parameters in (run(2, "shared"), run(1, "shared")):
        for name, parameter in expected.items():
            torch.testing.assert_close(parameters[name], parameter, rtol=0, atol=1e-5)
    files = [next((tmp_path / cache).iterdir()) for cache in ("alone", "shared")]
    alone, shared = (dict(sqlite3.connect(file).execute("SELECT sentence, what FROM kept")) for file in files)
    assert len(alone) == 24 and alone.keys() == shared.keys()
    candidates = [{sentence: json.loads(what)[0] for sentence, what in kept.items()} for kept in (alone, shared)]
    assert candidates[0] == candidates[1]


NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.mark.parametrize("backend", ["gloo", pytest.param("nccl", marks=NEEDS_GPU)])
def test_one_wrapped_worker(train, backend):
    """The only worker learns in DistributedDataParallel what it learns without; on a GPU sums by index are atomic."""
    learned = {}
    for wrapped in (False, True):
        run = train(1, "--ddp-backend", "c10d", *SPARSEMAX, *TIED["tied"], nccl=backend == "nccl", wrapped=wrapped)
        learned[wrapped] = run.parameters
    for name, parameter in learned[False].items():
        torch.testing.assert_close(learned[True][name], parameter, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory, tiny_lm) -> SimpleNamespace:
    """A corpus of five batches of five, so that the second worker's third is none of an epoch's.

    Its language model has no positions for most sentences of some batches and for none of another's.
    """
    folder = tmp_path_factory.mktemp("uneven")
    done = prepared.run(prepared.command(prepared.write_corpus(folder, repeats=3), tiny_lm("bert"), folder / "data"))
    assert done.returncode == 0, done.stderr
    tokenizer = AutoTokenizer.from_pretrained(tiny_lm("bert"))
    return SimpleNamespace(
        data=folder / "data", lm=save_tiny("bert", str(folder / "lm"), tokenizer, max_position_embeddings=19)
    )


@pytest.fixture(scope="module")
def untrained(train, uneven) -> dict[str, torch.Tensor]:
    """The parameters that every training on that corpus begins with."""
    return train(1, "--bert-model", uneven.lm, "--lr", "1e-9", "--max-update", "1", data=uneven.data).parameters


@pytest.mark.parametrize("kind", ["softmax", "sparsemax"])
def test_uneven_workers_learn_in_twenty_updates_what_one_learns(train, uneven, untrained, kind):
    options = ["--bert-model", uneven.lm, "--max-update", "20", "--batch-size", "5", "--soft-prediction", kind]
    expected = train(1, "--update-freq", "2", *options, data=uneven.data)
    moved = max((parameter - untrained[name]).abs().max() for name, parameter in expected.parameters.items())
    assert moved > 0.02, f"parameters moved by {moved} at most, too little to show a difference of 1e-5"
    together = train(2, "--ddp-backend", "legacy_ddp", *options, data=uneven.data)
    for name, parameter in expected.parameters.items():
        torch.testing.assert_close(together.parameters[name], parameter, rtol=0, atol=1e-5)
    assert len(together.updates) == len(expected.updates) == 20
    for update, its_update in zip(together.updates, expected.updates, strict=True):
        assert (update["bsz"], update["skipped"]) == (its_update["bsz"], its_update["skipped"])
        for name in ("loss", "f_bert", "nll_loss", "gnorm"):
            assert update[name] == pytest.approx(its_update[name], abs=2e-3, rel=2e-3), name

    pairs = list(zip(*together.batches, strict=True))
    sizes = [[batch["sample_size"] for batch in pair] for pair in pairs if not any(batch["dummy"] for batch in pair)]
    assert len(sizes) < len(pairs), "no worker without a batch"
    assert any(min(pair) == 0 < max(pair) for pair in sizes), "no worker without a sentence to score"
    assert any(0 < min(pair) < max(pair) for pair in sizes), "no workers with different numbers of sentences"


@pytest.mark.parametrize("average", [[], ["--sentence-avg"]], ids=str)
def test_workers_of_unequal_tokens_learn_cross_entropy_as_one_does(train, uneven, average):
    """An update's mean is over all of its tokens, or sentences; targets too long for the language model learn too."""
    options = ["--bert-model", uneven.lm, "--max-update", "6", "--batch-size", "5", "--cross-entropy-weight", "1",
               "--label-smoothing", "0.1", "--soft-prediction", "sparsemax", *average]  # fmt: skip
    expected = train(1, "--update-freq", "2", *options, data=uneven.data)
    together = train(2, "--ddp-backend", "c10d", *options, data=uneven.data)
    for name, parameter in expected.parameters.items():
        torch.testing.assert_close(together.parameters[name], parameter, rtol=0, atol=1e-5)
    assert any(update["skipped"] for update in expected.updates)
    for update, its_update in zip(together.updates, expected.updates, strict=True):
        for name in ("loss", "ce_loss", "f_bert", "gnorm", "skipped"):
            assert update[name] == pytest.approx(its_update[name], abs=2e-3, rel=2e-3), name
    batch = together.batches[0][0]
    assert batch["sample_size"] == (5 if average else batch["ntokens"])


def test_workers_logs_of_gumbel_softmax_are_weighted_means(train, uneven):
    options = [
        "--soft-prediction",
        "gumbel_softmax",
        "--bert-model",
        uneven.lm,
        "--max-update",
        "6",
        "--batch-size",
        "5",
    ]
    options += ["--seed", "1"]  # which decides whose batches differ
    together = train(2, "--ddp-backend", "legacy_ddp", *options, data=uneven.data)
    shares = [[worker[i]["sample_size"] for worker in together.batches] for i in range(6)]
    assert any(0 < min(share) < max(share) for share in shares), "all weights are equal"
    for number, update in enumerate(together.updates):
        batches = [worker[number] for worker in together.batches]
        assert {batch["update"] for batch in batches} == {number}
        batches = [batch for batch in batches if not batch["dummy"]]
        units = {"f_bert": ("sample_size", 0.1), "p_bert": ("sample_size", 0.1), "accuracy": ("ntokens_scored", 1e-3)}
        for name, (unit, tolerance) in units.items():
            weights = sum(batch[unit] for batch in batches)
            mean = sum(batch[name] for batch in batches) / weights if weights else 0
            assert update[name] == pytest.approx(100 * mean, abs=tolerance), name


def test_two_commands_that_meet_at_a_port(corpus, tiny_lm, tmp_path):
    """As users start them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "fairseq_cli.train", str(corpus), "--save-dir", str(tmp_path),
               "--user-dir", str(PACKAGE), *MODELS["transformer"].split(), *OPTIONS.split(), *SPARSEMAX,
               "--bert-model", tiny_lm("bert"), "--distributed-world-size", "2", "--ddp-backend", "legacy_ddp",
               *MEETING.split(), address, "--distributed-rank"]  # fmt: skip
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    workers = [subprocess.Popen([*command, rank], **pipes) for rank in ("0", "1")]
    outputs = [worker.communicate(timeout=HANG)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], "\n".join(output[-3000:] for output in outputs)
    updates = logged(SimpleNamespace(stdout=outputs[0], stderr=""), "train_inner")
    assert len(updates) == 2 and all(update["bsz"] == 6 for update in updates)


@pytest.mark.parametrize("backend", ["legacy_ddp", "c10d"])
def test_two_workers_in_float16(train, alone, backend):
    """The one way to half precision for which fairseq asks for no GPU; its loss scaling goes through our gradients."""
    options = "--update-freq 2 --fp16 --memory-efficient-fp16 --chunk-tokens 20"
    half = train(2, *options.split(), "--ddp-backend", backend, *SPARSEMAX)
    expected = alone["untied"]
    for name, parameter in expected.parameters.items():  # numbers up to 1, rounded at the start and at each update
        torch.testing.assert_close(half.parameters[name], parameter, rtol=0, atol=2 * torch.finfo(torch.float16).eps)
    assert [update["loss_scale"] for update in half.updates] == [128, 128], "an overflow"
    for update, its_update in zip(half.updates, expected.updates, strict=True):
        for name, tolerance in (("loss", 2e-3), ("f_bert", 0.2), ("nll_loss", 2e-3)):
            assert update[name] == pytest.approx(its_update[name], abs=tolerance), name
        assert update["gnorm"] == pytest.approx(its_update["gnorm"], rel=0.02)


OWN_TRANSLATIONS = {
    "risk": '--objective risk --candidates 3 --sampled-candidates 0 --risk-alpha 30 {"max_len_a":0,"max_len_b":20}',
    "free-running": '--free-running --soft-prediction sparsemax {"max_len_a":0,"max_len_b":20,"sampling":false}',
}


@pytest.mark.parametrize("objective", OWN_TRANSLATIONS)
@pytest.mark.parametrize("backend", ["legacy_ddp", "c10d", "c10d --find-unused-parameters --broadcast-buffers"])
def test_two_workers_learn_from_their_own_translations_what_one_learns(train, backend, objective):
    *options, generation = OWN_TRANSLATIONS[objective].split()
    options += ["--candidate-generation-args", generation, "--cross-entropy-weight", "0"]
    expected = train(1, "--update-freq", "4", *options)
    assert all(update["gnorm"] > 0.02 for update in expected.updates), [update["gnorm"] for update in expected.updates]
    together = train(2, "--update-freq", "2", "--ddp-backend", *backend.split(), *options)
    for name, parameter in expected.parameters.items():
        torch.testing.assert_close(together.parameters[name], parameter, rtol=0, atol=1e-5)
    for update, its_update in zip(together.updates, expected.updates, strict=True):
        names = {"loss", "f_expected", "f_first", "f_best", "candidates", "f_bert", "entropy", "nll_loss", "gnorm"}
        assert len(names & update.keys()) >= 5
        for name in names & update.keys():
            assert update[name] == pytest.approx(its_update[name], abs=2e-3, rel=2e-3), name
