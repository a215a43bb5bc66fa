"""Whether a long fine-tuning stays as it began: memory, speed, log and temporary files, by quarters of its updates.

    python benchmarks/soak.py DATA --bert-model NAME --updates 2000 [further options of fairseq-train]

DATA is what `bertloss prepare` has made; the model is tiny and starts from random weights: an update takes little.
Ends with status 1 where the last quarter has over 2% more memory than the second, is a fifth slower, has more temporary
files or more lines of the log an update.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parent.parent / "fairseq_bertloss"
OPTIONS = """--arch transformer --encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 32 --decoder-embed-dim 32
    --encoder-ffn-embed-dim 32 --decoder-ffn-embed-dim 32 --encoder-attention-heads 2 --decoder-attention-heads 2
    --optimizer adam --lr 1e-4 --seed 1 --max-tokens 1000 --required-batch-size-multiple 1 --num-workers 0
    --log-format json --log-interval 1 --no-epoch-checkpoints --save-interval-updates 100 --keep-interval-updates 1
    --criterion bertscore_loss --objective soft"""
GROWTH = 1.02
"""The last quarter's memory at the most, as a ratio to the second's."""
SLOWER = 0.8
"""The last quarter's speed at the least, as a ratio to the second's."""


class Observation(NamedTuple):
    """What is seen when an update has been logged."""

    seconds: float
    megabytes: float  # of the training's process
    log_lines: int
    temporary: int  # files and folders in TMPDIR


class Quarter(NamedTuple):
    """A quarter of the updates."""

    megabytes: float  # median
    updates_per_second: float
    lines_per_update: float
    temporary: int  # at its end


def observe(data: str, folder: Path, options: Sequence[str]) -> Iterator[Observation]:
    """Runs fairseq-train and looks at it whenever it logs an update.

    Args:
        folder: of checkpoints, the log, and temporary files.

    Raises:
        SystemExit: it fails.
    """
    log = folder / "train.log"
    temporary = folder / "tmp"
    temporary.mkdir()
    command = [
        sys.executable,
        "-m",
        "fairseq_cli.train",
        data,
        "--user-dir",
        str(PACKAGE),
        "--save-dir",
        str(folder / "run"),
    ]
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": environment}
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen([*command, *OPTIONS.split(), *options], **pipes) as process,
    ):
        for number, line in enumerate(process.stdout, 1):
            file.write(line)
            if "| train_inner | " in line:
                pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
                megabytes = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
                yield Observation(time.monotonic(), megabytes, number, len(list(temporary.rglob("*"))))
    if process.returncode:
        sys.exit(f"fairseq-train failed with status {process.returncode}:\n{log.read_text(encoding='utf-8')[-2000:]}")


def quarters(observations: Sequence[Observation]) -> list[Quarter]:
    """Four parts of equal numbers of updates; the first begins after the first update."""
    ends = [round(i * (len(observations) - 1) / 4) for i in range(5)]
    parts = []
    for start, end in pairwise(ends):
        first = observations[start]
        last = observations[end]
        between = observations[start + 1 : end + 1]
        parts.append(Quarter(
            statistics.median(one.megabytes for one in between), (end - start) / (last.seconds - first.seconds),
            (last.log_lines - first.log_lines) / (end - start), last.temporary,
        ))  # fmt: skip
    return parts


def complaints(parts: Sequence[Quarter]) -> list[str]:
    """What grows that should not."""
    _, second, _, last = parts
    found = []
    if last.megabytes > GROWTH * second.megabytes:
        found.append(f"memory grew by {last.megabytes / second.megabytes - 1:.1%} from the second quarter to the last")
    if last.updates_per_second < SLOWER * second.updates_per_second:
        speeds = last.updates_per_second, second.updates_per_second
        found.append("{:.2f} updates a second in the last quarter, {:.2f} in the second".format(*speeds))
    if last.temporary > second.temporary:
        found.append(
            f"there are {last.temporary - second.temporary} temporary files more than after the second quarter"
        )
    if last.lines_per_update > second.lines_per_update + 0.1:
        found.append(f"{last.lines_per_update:.2f} lines an update are logged in the last quarter")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--bert-model", required=True)
    parser.add_argument("--bert-layer", default="2")
    parser.add_argument("--updates", type=int, default=2000, help="at least 8 (%(default)s)")
    args, further = parser.parse_known_args()
    if args.updates < 8:
        parser.error("--updates must be at least 8, for quarters")
    options = ["--bert-model", args.bert_model, "--bert-layer", args.bert_layer, "--max-update", str(args.updates)]
    observations = []
    with tempfile.TemporaryDirectory() as folder:
        for observation in observe(args.data, Path(folder), [*options, *further]):
            observations.append(observation)
            if len(observations) % 100 == 0:
                print(f"update {len(observations)}: {observation.megabytes:.1f} MB", file=sys.stderr, flush=True)
    parts = quarters(observations)
    print("| quarter | MB | updates a second | log lines an update | temporary files |\n|--:|--:|--:|--:|--:|")
    for number, part in enumerate(parts, 1):
        figures = (
            f"{part.megabytes:.1f}",
            f"{part.updates_per_second:.2f}",
            f"{part.lines_per_update:.2f}",
            part.temporary,
        )
        print("|", number, "|", " | ".join(map(str, figures)), "|")
    found = complaints(parts)
    sys.exit("; ".join(found) or None)


if __name__ == "__main__":
    main()
