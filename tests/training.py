"""Real fairseq commands on a small real corpus, as users run them: one process a command."""

import json
import os
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "fairseq_bertloss"

MODELS = {
    "transformer": "--arch transformer --encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 32 --decoder-embed-dim 32"
    " --encoder-ffn-embed-dim 32 --decoder-ffn-embed-dim 32 --encoder-attention-heads 2 --decoder-attention-heads 2",
    "lstm": "--arch lstm --encoder-embed-dim 32 --decoder-embed-dim 32 --encoder-hidden-size 32 --decoder-hidden-size 32"
    " --decoder-out-embed-dim 32",
    "fconv": "--arch fconv --encoder-embed-dim 32 --decoder-embed-dim 32 --decoder-out-embed-dim 32"
    " --encoder-layers [(32,3)] --decoder-layers [(32,3)]",
}


def fairseq(tool: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    """Runs fairseq's command `tool` (train, generate, ...) with the plug-in."""
    command = [sys.executable, "-m", f"fairseq_cli.{tool}", *map(str, arguments)]
    if tool != "hydra_train":
        command += ["--user-dir", str(PACKAGE)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done


def train(data: Path, save_dir: Path, *arguments: str, model: str = "transformer", check: bool = True):
    """fairseq-train on the whole corpus as one batch; the log is JSON, a line an update."""
    options = "--optimizer adam --lr 2e-3 --seed 1 --log-format json --log-interval 1 --num-workers 0 --cpu"
    batch = "--max-tokens 20000 --required-batch-size-multiple 1 --no-epoch-checkpoints --dropout 0"
    return fairseq(
        "train", data, "--save-dir", save_dir, *MODELS[model].split(), *options.split(), *batch.split(), *arguments,
        check=check,
    )  # fmt: skip


def logged(done: subprocess.CompletedProcess, name: str) -> list[dict]:
    """The records that fairseq logged under a name: train_inner, train or valid; numbers as numbers."""
    marker = f"| {name} | "
    lines = [line.split(marker, 1)[1] for line in (done.stdout + done.stderr).splitlines() if marker in line]
    return [{key: float(value) for key, value in json.loads(line).items()} for line in lines if line.startswith("{")]
