"""Seconds per update in logs of fairseq-train, and their ratio to the first row's in the same round.

    python benchmarks/updates.py ROW-ROUND.log [ROW-ROUND.log...]

benchmarks/updates.sh makes the logs, with --log-format json --log-interval 1.
"""

import argparse
import json
import re
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from loss_report import QUANTILES, table

WARM_UP = 2
"""Updates at the beginning that do not count."""


@dataclass(frozen=True)
class Training:
    """Seconds and target tokens of each update after the first ones; GB free on the GPU at the least, or None."""

    seconds: list[float]
    tokens: list[float]
    gb_free: float | None


def read(path: str) -> Training:
    """Reads what fairseq-train logged.

    Raises:
        ValueError: the log has too few updates in JSON.
    """
    marker = "| train_inner | "
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    records = [json.loads(line.split(marker, 1)[1]) for line in lines if marker + "{" in line][WARM_UP:]
    if not records:
        raise ValueError(
            f"{path} has no updates after the first {WARM_UP}: train with --log-format json --log-interval 1"
        )
    tokens = [float(record["wpb"]) for record in records]
    # Words per second have more digits than updates per second and the wall clock.
    seconds = [count / float(record["wps"]) for count, record in zip(tokens, records, strict=True)]
    free = [float(record["gb_free"]) for record in records if "gb_free" in record]
    return Training(seconds, tokens, min(free) if free else None)


def summary(trainings: dict[str, dict[int, Training]]) -> str:
    """A table with a line for each row.

    Args:
        trainings: by row and round; the first row is what the others are compared with.

    Raises:
        ValueError: a row lacks a round of the first, or the batches differ.
    """
    first = next(iter(trainings.values()))
    body = []
    for row, rounds in trainings.items():
        if rounds.keys() != first.keys() or any(rounds[i].tokens != first[i].tokens for i in first):
            raise ValueError(f"the trainings of {row!r} have other rounds or other batches than those of the first row")
        ratios = [sum(rounds[i].seconds) / sum(first[i].seconds) for i in first]
        every = [second for training in rounds.values() for second in training.seconds]
        speed = statistics.median(sum(t.tokens) / sum(t.seconds) for t in rounds.values())
        free = [training.gb_free for training in rounds.values() if training.gb_free is not None]
        body.append([
            row, *(f"{second:.3f}" for second in np.percentile(every, QUANTILES)), f"{speed:.0f}",
            f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}",
            f"{min(free):.1f}" if free else "",
        ])  # fmt: skip
    head = ["", *(f"s per update, p{q}" for q in QUANTILES), "tokens/s", "ratio", "its range", "GB free"]
    return table(head, body)


def by_row(paths: Sequence[str]) -> dict[str, dict[int, Training]]:
    """Reads logs that are named ROW-ROUND.log.

    Raises:
        ValueError: another name, or as `read`.
    """
    trainings = defaultdict(dict)
    for path in paths:
        name = re.fullmatch(r"(.+)-(\d+)\.log", Path(path).name)
        if name is None:
            raise ValueError(f"{path} is not named ROW-ROUND.log")
        trainings[name[1]][int(name[2])] = read(path)
    return trainings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", nargs="+", metavar="ROW-ROUND.log", help="the row to compare with first")
    options = parser.parse_args()
    try:
        print(summary(by_row(options.logs)))
    except (OSError, ValueError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
