"""The main job by fairseq's own commands: baseline, fine-tuning, validation, translation, resumption."""

import re
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
import yaml
from lms import save_tiny
from training import MODELS, PACKAGE, fairseq, logged, train
from transformers import AutoTokenizer

from fairseq_bertloss.checkpoints import allow_fairseq_classes
from fairseq_bertloss.soft_predictions import SOFT_PREDICTIONS

allow_fairseq_classes()


@pytest.fixture(scope="module")
def baseline(corpus, tmp_path_factory):
    """A cross-entropy baseline; 30 updates leave it something to learn."""
    folder = tmp_path_factory.mktemp("baseline")
    train(corpus, folder, "--criterion", "label_smoothed_cross_entropy", "--max-update", "30", "--disable-validation")
    return folder / "checkpoint_last.pt"


@pytest.fixture(scope="module")
def fine_tune(corpus, baseline, tiny_lm, tmp_path_factory):
    """A function that fine-tunes the baseline with bertscore_loss; the same arguments run once."""
    runs = {}

    def run(*arguments, check=True):
        if arguments not in runs:
            folder = tmp_path_factory.mktemp("fine-tuned")
            criterion = ["--criterion", "bertscore_loss", "--bert-model", tiny_lm("bert"), "--bert-layer", "2"]
            start = ["--finetune-from-model", baseline]
            done = train(corpus, folder, *criterion, *start, *arguments, check=check)
            runs[arguments] = SimpleNamespace(done=done, checkpoint=folder / "checkpoint_last.pt", arguments=arguments)
        return runs[arguments]

    return run


@pytest.fixture(scope="module")
def gumbel_run(fine_tune):
    return fine_tune("--soft-prediction", "gumbel_softmax", "--max-update", "50")


@pytest.mark.parametrize("kind", SOFT_PREDICTIONS)
def test_f_bert_rises_on_the_training_batch(fine_tune, kind):
    run = fine_tune("--soft-prediction", kind, "--max-update", "50")
    updates = logged(run.done, "train_inner")
    assert len(updates) == 50 and {u["bsz"] for u in updates} == {256.0}, "not one batch"
    first, last = ([u["f_bert"] for u in part] for part in (updates[:5], updates[-5:]))
    assert min(last) > max(first)
    assert updates[-1]["loss"] == pytest.approx(-updates[-1]["f_bert"], abs=2e-3)
    (valid,) = logged(run.done, "valid")[-1:]
    for name in ("f_bert", "p_bert", "r_bert", "nll_loss", "ppl", "accuracy", "entropy", "support", "p_eos_end",
                 "p_eos_before", "skipped", "ce_loss"):  # fmt: skip
        assert f"valid_{name}" in valid and name in updates[-1]


def test_checkpoint_holds_the_translation_model_alone(gumbel_run, baseline):
    before, after = baseline.stat().st_size, gumbel_run.checkpoint.stat().st_size
    assert abs(after - before) < 0.01 * before
    state = torch.load(gumbel_run.checkpoint)  # with torch's safety check on
    assert state["criterion"] is None
    assert state["cfg"]["criterion"]["_name"] == "bertscore_loss"


def test_validate_reports_what_training_logged(corpus, gumbel_run):
    done = fairseq("validate", corpus, "--task", "translation", "--path", gumbel_run.checkpoint, "--cpu", "--max-tokens", "4000",
                   "--required-batch-size-multiple", "1", "--log-format", "json")  # fmt: skip
    (figures,) = logged(done, "valid")
    in_training = logged(gumbel_run.done, "valid")[-1]
    for name in ("f_bert", "nll_loss", "entropy"):
        assert figures[f"valid_{name}"] == pytest.approx(in_training[f"valid_{name}"], abs=2e-3)


def test_generate_needs_neither_language_model_nor_transformers(corpus, gumbel_run):
    """Word pieces come out; the same model with --tokenizer word_pieces prints text."""
    without = "import sys; sys.modules.update(transformers=None, bert_score=None); import fairseq_cli.generate as g; g.cli_main()"
    arguments = [str(corpus), "--path", str(gumbel_run.checkpoint), "--user-dir", str(PACKAGE), "--cpu", "--beam", "5",
                 "--max-tokens", "4000", "--required-batch-size-multiple", "1", "--gen-subset", "test"]  # fmt: skip
    done = subprocess.run([sys.executable, "-c", without, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(re.findall(r"^H-\d+\t", done.stdout, re.M)) == 5


def test_interactive_translates_raw_text(corpus, gumbel_run, tiny_lm):
    command = [sys.executable, "-m", "fairseq_cli.interactive", str(corpus), "--path", str(gumbel_run.checkpoint),
               "--user-dir", str(PACKAGE), "--cpu", "--tokenizer", "word_pieces", "--word-pieces-lm", tiny_lm("bert"),
               "--word-pieces-source", str(corpus)]  # fmt: skip
    done = subprocess.run(command, input="Zwei Männer sitzen auf dem Dach.\n", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    (text,) = re.findall(r"^D-0\t[^\t]*\t(.*)$", done.stdout, re.M)
    assert text and " ##" not in text


@pytest.mark.parametrize("model", ["lstm", "fconv"])
def test_other_architectures(corpus, tiny_lm, tmp_path, model):
    done = train(corpus, tmp_path, "--criterion", "bertscore_loss", "--bert-model", tiny_lm("bert"), "--bert-layer", "2",
                 "--max-update", "20", "--cross-entropy-weight", "0.5", "--label-smoothing", "0.1", model=model)  # fmt: skip
    updates = logged(done, "train_inner")
    assert updates[-1]["loss"] < updates[0]["loss"]
    # A mean of means, each in its unit: fairseq logs cross-entropy in bits, the loss has it in nats.
    for u in updates:
        assert u["loss"] == pytest.approx(-0.5 * u["f_bert"] + 0.5 * u["ce_loss"] * 0.693147, abs=2e-3)


def test_a_resumed_run_is_the_uninterrupted_run(corpus, baseline, tiny_lm, tmp_path):
    def run(folder, updates):
        train(corpus, tmp_path / folder, "--criterion", "bertscore_loss", "--bert-model", tiny_lm("bert"),
              "--bert-layer", "2", "--finetune-from-model", baseline, "--temperature", "1.0:0.1@6",
              "--disable-validation", "--max-update", str(updates), "--dropout", "0.1")  # fmt: skip
        return torch.load(tmp_path / folder / "checkpoint_last.pt")["model"]

    whole = run("whole", 6)
    run("halves", 3)
    halves = run("halves", 6)
    assert whole.keys() == halves.keys()
    assert all(torch.equal(whole[name], halves[name]) for name in whole)


def test_hydra_train(corpus, tiny_lm, tmp_path):
    """The criterion configured in a YAML file, as fairseq-hydra-train reads it."""
    config = {
        "common": {"user_dir": str(PACKAGE), "cpu": True, "log_format": "json", "log_interval": 1},
        "task": {"_name": "translation", "data": str(corpus), "source_lang": "de", "target_lang": "en"},
        "dataset": {"max_tokens": 4000, "required_batch_size_multiple": 1, "num_workers": 0},
        "optimization": {"lr": [0.005], "max_update": 3},
        "optimizer": {"_name": "adam"},
        "lr_scheduler": {"_name": "fixed"},
        "checkpoint": {"save_dir": str(tmp_path / "checkpoints")},
        "model": {
            "_name": "transformer",
            **{side: {"embed_dim": 32, "ffn_embed_dim": 32, "layers": 1, "attention_heads": 2} for side in ("encoder", "decoder")},
        },
        "criterion": {
            "_name": "bertscore_loss", "bert_model": tiny_lm("bert"), "bert_layer": 2, "soft_prediction": "sparsemax",
            "soft_temperature": 0.5,
        },
    }  # fmt: skip
    (tmp_path / "job.yaml").write_text("# @package _group_\n" + yaml.safe_dump(config))
    done = fairseq("hydra_train", "--config-dir", tmp_path, "--config-name", "job", f"hydra.run.dir={tmp_path}")
    log = done.stdout + done.stderr + "".join(path.read_text() for path in tmp_path.glob("*.log"))
    assert "f_bert" in log
    state = torch.load(tmp_path / "checkpoints" / "checkpoint_last.pt")
    assert state["cfg"]["criterion"]["soft_temperature"] == "0.5"


def test_a_bad_option_ends_fairseq_train_with_its_message(fine_tune):
    run = fine_tune("--max-update", "1", "--bert-layer", "9", check=False)
    assert run.done.returncode != 0
    assert "layers 0 (its embeddings) to 3, no layer 9" in run.done.stderr.strip().splitlines()[-1]


def test_cached_references_and_a_language_model_of_its_own_precision(fine_tune, tmp_path):
    """The same training but for rounding; a second run computes no reference again."""
    usual = ("--soft-prediction", "sparsemax", "--max-update", "5")
    cached = (*usual, "--lm-dtype", "bfloat16", "--cache-references", tmp_path / "cache")
    first, again = fine_tune(*cached), fine_tune(*cached, "--log-interval", "1")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.data")}
    assert len(files) == 1, "the second run has appended"
    f_bert = [[u["f_bert"] for u in logged(run.done, "train_inner")] for run in (fine_tune(*usual), first, again)]
    assert len(f_bert[0]) == 5
    assert f_bert[1] == pytest.approx(f_bert[0], abs=5e-3) and f_bert[2] == f_bert[1]
    assert re.search(r"references \([\d,]+ tokens of \d+ values in float16\) take at most [\d.]+ GB", first.done.stdout)

    small = fine_tune(*usual, "--cache-references", tmp_path / "small", "--cache-references-limit", "1e-6", check=False)
    assert small.done.returncode != 0
    assert re.search(r"the cap is 0.00 GB: raise --cache-references-limit", small.done.stderr.splitlines()[-1])


def test_two_workers_of_which_one_has_nothing_to_score(corpus, baseline, tiny_lm, tmp_path):
    """They stay in step, and what is logged is the mean of what was scored; targets over 14 symbols do not fit."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_lm("bert"))
    short = save_tiny("bert", str(tmp_path / "lm"), tokenizer, max_position_embeddings=15)
    with_port = f"tcp://127.0.0.1:{_free_port()}"
    distributed = ["--distributed-world-size", "2", "--distributed-backend", "gloo", "--ddp-backend", "legacy_ddp",
                   "--distributed-no-spawn", "--distributed-init-method", with_port]  # fmt: skip
    options = "--optimizer adam --lr 2e-3 --seed 1 --log-format json --log-interval 1 --num-workers 0 --cpu --dropout 0"
    command = [sys.executable, "-m", "fairseq_cli.train", str(corpus), "--save-dir", str(tmp_path / "run"),
               *MODELS["transformer"].split(), *options.split(), "--batch-size", "1", "--max-update", "12",
               "--required-batch-size-multiple", "1", "--user-dir", str(PACKAGE), "--disable-validation",
               "--criterion", "bertscore_loss", "--bert-model", short, "--bert-layer", "2",
               "--finetune-from-model", str(baseline), *distributed]  # fmt: skip
    workers = [
        subprocess.Popen([*command, "--distributed-rank", str(rank)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for rank in (0, 1)
    ]
    outputs = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], "\n".join(output[-3000:] for output in outputs)
    updates = logged(SimpleNamespace(stdout=outputs[0], stderr=""), "train_inner")
    assert {u["skipped"] for u in updates} >= {0.0, 1.0}, "no update had one worker without a sentence to score"
    # A worker without a sentence adds nothing to the mean, which two of them leave at 0.
    assert all(0 < u["f_bert"] < 1 if u["skipped"] < 2 else u["f_bert"] == 0 for u in updates)


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
