"""The main job by fairseq's own commands: baseline, fine-tuning, validation, translation, resumption."""

import io
import json
import math
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
import yaml
from bad_input import gpt2, without_room
from lms import make_tokenizer, save_tiny
from training import PACKAGE, SEED, fairseq, logged, rise, train

from fairseq_bertloss.checkpoints.loading import allow_fairseq_classes
from fairseq_bertloss.choices import SOFT_PREDICTIONS

allow_fairseq_classes()


@pytest.fixture(scope="module")
def fine_tune(corpus, baseline, tiny_lm, tmp_path_factory):
    """A function that fine-tunes the baseline with bertscore_loss; the same arguments run once."""
    runs = {}

    def run(*arguments, check=True):
        if arguments not in runs:
            folder = tmp_path_factory.mktemp("fine-tuned")
            criterion = ["--criterion", "bertscore_loss", "--bert-model", tiny_lm("bert"), "--bert-layer", "2",
                         "--objective", "soft"]  # fmt: skip
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
    """It rises by 1.4 at least (sparsemax), by 1.9 with Gumbel noise: seeds 1 to 7, rounded in three ways."""
    run = fine_tune("--soft-prediction", kind, "--max-update", "50")
    updates = logged(run.done, "train_inner")
    assert len(updates) == 50 and {u["bsz"] for u in updates} == {256.0}, "not one batch"
    assert rise(updates, "f_bert") > 0.7
    assert updates[-1]["loss"] == pytest.approx(-updates[-1]["f_bert"] / 100, abs=2e-3)
    (valid,) = logged(run.done, "valid")[-1:]
    for name in ("f_bert", "p_bert", "r_bert", "nll_loss", "ppl", "accuracy", "entropy", "support", "p_eos_end",
                 "p_eos_before", "skipped", "ce_loss"):  # fmt: skip
        assert f"valid_{name}" in valid and name in updates[-1]


def _size_without_options(state: dict) -> int:
    file = io.BytesIO()
    torch.save({**state, "cfg": None}, file)
    return len(file.getvalue())


def test_checkpoint_holds_the_translation_model_alone(gumbel_run, baseline):
    state = torch.load(gumbel_run.checkpoint)  # with torch's safety check on
    before, after = (_size_without_options(each) for each in (torch.load(baseline), state))
    assert abs(after - before) < 0.01 * before
    assert state["criterion"] is None
    assert state["cfg"]["criterion"]["_name"] == "bertscore_loss"


def test_validate_reports_what_training_logged(corpus, gumbel_run):
    done = fairseq("validate", corpus, "--task", "translation", "--path", gumbel_run.checkpoint, "--cpu",
                   "--max-tokens", "4000", "--required-batch-size-multiple", "1", "--log-format", "json")  # fmt: skip
    (figures,) = logged(done, "valid")
    in_training = logged(gumbel_run.done, "valid")[-1]
    for name, tolerance in (("f_bert", 0.2), ("nll_loss", 2e-3), ("entropy", 2e-3)):
        assert figures[f"valid_{name}"] == pytest.approx(in_training[f"valid_{name}"], abs=tolerance)


def test_generate_needs_neither_language_model_nor_transformers(corpus, gumbel_run):
    """Word pieces come out; the same model with --tokenizer word_pieces prints text."""
    without = (
        "import sys; sys.modules.update(transformers=None, bert_score=None); "
        "import fairseq_cli.generate as g; g.cli_main()"
    )
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
    done = train(corpus, tmp_path, "--criterion", "bertscore_loss", "--bert-model", tiny_lm("bert"),
                 "--bert-layer", "2", "--objective", "soft", "--max-update", "20", "--cross-entropy-weight", "0.5",
                 "--label-smoothing", "0.1", model=model)  # fmt: skip
    updates = logged(done, "train_inner")
    assert updates[-1]["loss"] < updates[0]["loss"]
    # A mean of means, each in its unit: fairseq logs cross-entropy in bits, the loss has it in nats.
    for u in updates:
        assert u["loss"] == pytest.approx(-0.005 * u["f_bert"] + 0.5 * u["ce_loss"] * 0.693147, abs=2e-3)


def test_a_resumed_run_is_the_uninterrupted_run(corpus, baseline, tiny_lm, tmp_path):
    def run(folder, updates):
        train(corpus, tmp_path / folder, "--criterion", "bertscore_loss", "--bert-model", tiny_lm("bert"),
              "--bert-layer", "2", "--finetune-from-model", baseline, "--objective", "soft",
              "--temperature", "1.0:0.1@6", "--disable-validation", "--max-update", str(updates),
              "--dropout", "0.1")  # fmt: skip
        return torch.load(tmp_path / folder / "checkpoint_last.pt")["model"]

    whole = run("whole", 6)
    run("halves", 3)
    halves = run("halves", 6)
    assert whole.keys() == halves.keys()
    assert all(torch.equal(whole[name], halves[name]) for name in whole)


@pytest.fixture
def hydra_train(corpus, baseline, tiny_lm, tmp_path):
    """A function that trains by fairseq-hydra-train, the whole corpus a batch: the log and the checkpoint."""

    def run(name: str, updates: int, criterion: dict | None = None, **common) -> SimpleNamespace:
        folder = tmp_path / name
        folder.mkdir()
        common = {"user_dir": str(PACKAGE), "cpu": True, "seed": SEED, "log_format": "json", "log_interval": 1} | common
        size = {"embed_dim": 32, "ffn_embed_dim": 32, "layers": 1, "attention_heads": 2}
        config = {
            "common": common,
            "task": {"_name": "translation", "data": str(corpus), "source_lang": "de", "target_lang": "en"},
            "dataset": {"max_tokens": 20000, "required_batch_size_multiple": 1, "num_workers": 0},
            "optimization": {"lr": [0.0002], "max_update": updates},
            "optimizer": {"_name": "adam"},
            "lr_scheduler": {"_name": "fixed"},
            "checkpoint": {"save_dir": str(folder), "finetune_from_model": str(baseline), "no_epoch_checkpoints": True},
            "model": {"_name": "transformer", "dropout": 0.0, "encoder": size, "decoder": size},
            "criterion": {
                "_name": "bertscore_loss", "bert_model": tiny_lm("bert"), "bert_layer": 2, "objective": "soft",
                "soft_prediction": "sparsemax", "soft_temperature": 0.5, **(criterion or {}),
            },
        }  # fmt: skip
        (folder / "job.yaml").write_text("# @package _group_\n" + yaml.safe_dump(config))
        fairseq("hydra_train", "--config-dir", folder, "--config-name", "job", f"hydra.run.dir={folder}")
        (log,) = folder.glob("*.log")
        text = log.read_text(encoding="utf-8")
        updates, validations = (
            [{name: float(value) for name, value in json.loads(record).items()} for record in found]
            for found in (re.findall(rf"\[{kind}\].* - (\{{.*\}})", text) for kind in ("train_inner", "valid"))
        )
        return SimpleNamespace(updates=updates, valid=validations, checkpoint=torch.load(folder / "checkpoint_last.pt"))

    return run


def test_hydra_train(hydra_train):
    """The criterion configured in a YAML file, as fairseq-hydra-train reads it."""
    run = hydra_train("run", 3)
    assert run.updates and all(1 < update["f_bert"] < 100 for update in run.updates)
    assert run.checkpoint["cfg"]["criterion"]["soft_temperature"] == "0.5"


@pytest.mark.parametrize(
    "cpu", [True, pytest.param(False, marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]
)
def test_bfloat16(hydra_train, cpu):
    """fairseq-train's own --bf16 asks for a TPU, a YAML file's does not.

    It begins where float32 does, and learns at least half as much (the two part as they go: rounding grows).
    """
    whole, half = (hydra_train(name, 100, cpu=cpu, bf16=name == "half") for name in ("whole", "half"))
    parameters = half.checkpoint["model"].values()  # which fairseq writes down in float32
    assert all(torch.equal(parameter, parameter.bfloat16().float()) for parameter in parameters)
    assert len(half.updates) == 100 and not any(math.isnan(update["f_bert"]) for update in half.updates)
    assert half.updates[0]["f_bert"] == pytest.approx(whole.updates[0]["f_bert"], abs=0.2)
    assert rise(half.updates, "f_bert") > rise(whole.updates, "f_bert") / 2 > 0.5


@pytest.mark.parametrize(
    "arguments, lm, message",
    [
        (["--bert-layer", "9"], None, "layers 0 (its embeddings) to 3, no layer 9"),
        ([], lambda here: save_tiny("roberta", str(here / "lm")), "symbols are not in the vocabulary of"),
        (
            [],
            without_room,
            "has 2 positions, and one symbol between its markers takes 3: choose another language model",
        ),
        ([], gpt2, "is not built like BERT"),
        (["--adaptive-softmax-cutoff", "20,40"], None, "train the model without --adaptive-softmax-cutoff"),
    ],
    ids=["layer", "dictionary", "positions", "decoder", "adaptive softmax"],
)
def test_fairseq_train_ends_with_one_message(corpus, tiny_lm, tmp_path, arguments, lm, message):
    folder = str(tmp_path / "lm") if lm else tiny_lm("bert")
    if lm:
        make_tokenizer("bert").save_pretrained(folder)
        lm(tmp_path)
    done = train(corpus, tmp_path / "run", "--criterion", "bertscore_loss", "--bert-model", folder, "--bert-layer", "2",
                 "--max-update", "1", *arguments, check=False)  # fmt: skip
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode != 0 and last.startswith("ValueError: ") and message in last
    assert {path.name for path in (tmp_path / "run").glob("*.pt")} <= {"crash.pt"}  # fairseq's own


def test_cached_references_and_a_language_model_of_its_own_precision(fine_tune, tmp_path):
    """The same training but for rounding; a second run computes no reference again."""
    usual = ("--soft-prediction", "sparsemax", "--max-update", "5")
    cached = (*usual, "--lm-dtype", "bfloat16", "--cache-references", tmp_path / "cache")
    first, again = fine_tune(*cached), fine_tune(*cached, "--log-interval", "1")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.data")}
    assert len(files) == 1, "the second run has appended"
    f_bert = [[u["f_bert"] for u in logged(run.done, "train_inner")] for run in (fine_tune(*usual), first, again)]
    assert len(f_bert[0]) == 5
    assert f_bert[1] == pytest.approx(f_bert[0], abs=0.5) and f_bert[2] == f_bert[1]
    assert re.search(r"references \([\d,]+ tokens of \d+ values in float16\) take at most [\d.]+ GB", first.done.stdout)

    small = fine_tune(*usual, "--cache-references", tmp_path / "small", "--cache-references-limit", "1e-6", check=False)
    assert small.done.returncode != 0
    assert re.search(r"the cap is 0.00 GB: raise --cache-references-limit", small.done.stderr.splitlines()[-1])
