"""Real fairseq commands on a small real corpus, as users run them: one process a command."""

import importlib
import json
import logging
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

PACKAGE = Path(__file__).resolve().parent.parent / "fairseq_bertloss"

MODELS = {
    "transformer": "--arch transformer --encoder-layers 1 --decoder-layers 1"
    " --encoder-embed-dim 32 --decoder-embed-dim 32 --encoder-ffn-embed-dim 32 --decoder-ffn-embed-dim 32"
    " --encoder-attention-heads 2 --decoder-attention-heads 2",
    "lstm": "--arch lstm --encoder-embed-dim 32 --decoder-embed-dim 32"
    " --encoder-hidden-size 32 --decoder-hidden-size 32 --decoder-out-embed-dim 32",
    "fconv": "--arch fconv --encoder-embed-dim 32 --decoder-embed-dim 32 --decoder-out-embed-dim 32"
    " --encoder-layers [(32,3)] --decoder-layers [(32,3)]",
}


_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload([
    "fairseq.trainer", "fairseq.options", "entmax", "ot", "sacrebleu.metrics", "bert_score",
    "transformers.models.auto.modeling_auto", "transformers.models.bert.modeling_bert",
    "transformers.models.bert.tokenization_bert_fast",
])  # fmt: skip


def fairseq(tool: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    """Runs fairseq's command `tool` (train, generate, ...) with the plug-in, in a process of its own.

    The process is forked from one that has imported the libraries already, which takes longer than most commands.
    """
    command = [tool, *map(str, arguments)]
    if tool != "hydra_train":
        command += ["--user-dir", str(PACKAGE)]
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, name) for name in ("stdout", "stderr")]
        process = _server.Process(target=_command, args=(command, *paths))
        process.start()
        process.join()
        output = [Path(path).read_text(encoding="utf-8") for path in paths]
    done = subprocess.CompletedProcess(command, process.exitcode, *output)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done


def _command(command: list[str], stdout: str, stderr: str) -> None:
    """What the process does: the command's own entry point, with its output in files."""
    for descriptor, path in enumerate((stdout, stderr), 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    logging.getLogger().handlers.clear()  # the command sets its log up itself, before it imports anything
    torch.set_num_threads(1)
    sys.argv = command
    importlib.import_module(f"fairseq_cli.{command[0]}").cli_main()


SEED = int(os.environ.get("TEST_SEED", 1))
"""The seed of trainings, and of what tests draw: no test depends on it, and another may be tried (docs/testing.md)."""

OPTIONS = f"""--optimizer adam --lr 2e-3 --seed {SEED} --log-format json --log-interval 1 --num-workers 0
    --max-tokens 20000 --required-batch-size-multiple 1 --no-epoch-checkpoints --dropout 0"""


def bertscore(lm: str) -> list[str]:
    """The options of the criterion `bertscore_loss` with a tiny language model."""
    return ["--criterion", "bertscore_loss", "--bert-model", lm, "--bert-layer", "2"]


def train(
    data: Path, save_dir: Path, *arguments: str, model: str = "transformer", gpu: bool = False, check: bool = True
):
    """fairseq-train on the whole corpus as one batch; the log is JSON, a line an update."""
    return fairseq(*_training(data, save_dir, model, gpu), *arguments, check=check)


def start(data: Path, save_dir: Path, log: Path, *arguments: str) -> multiprocessing.Process:
    """The same as a process that runs on its own, with its output in a file."""
    command = [*_training(data, save_dir, "transformer"), *arguments, "--user-dir", str(PACKAGE)]
    process = _server.Process(target=_command, args=(command, str(log), str(log)))
    process.start()
    return process


def _training(data: Path, save_dir: Path, model: str, gpu: bool = False) -> list[str]:
    """The command of a training, but for what each adds."""
    device = [] if gpu else ["--cpu"]
    return ["train", str(data), "--save-dir", str(save_dir), *MODELS[model].split(), *OPTIONS.split(), *device]


def rise(updates: list[dict], name: str) -> float:
    """The growth of a logged figure: its mean over the last five updates less what it was before the first."""
    first, *_ = figures = [update[name] for update in updates]
    assert len(figures) >= 20
    return sum(figures[-5:]) / 5 - first


def logged(done: subprocess.CompletedProcess, name: str) -> list[dict]:
    """The records that fairseq logged under a name: train_inner, train or valid; numbers as numbers."""
    marker = f"| {name} | "
    lines = [line.split(marker, 1)[1] for line in (done.stdout + done.stderr).splitlines() if marker in line]
    return [{key: float(value) for key, value in json.loads(line).items()} for line in lines if line.startswith("{")]
