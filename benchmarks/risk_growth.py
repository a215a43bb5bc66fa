"""How an update of --objective risk grows with the candidates of a sentence, the sentences' length and their number.

    python benchmarks/risk_growth.py DATA --checkpoint FILE --lm NAME --layer N --plot FILE [OPTION ...]

OPTION is one of the criterion's. What does not vary is 4 candidates of beam search and 64 sentences of the training
set's median length. The printed tables have the median seconds of each part of an update, and the exponents of the
closest power laws.
"""

import argparse
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from fairseq.data import LanguagePairDataset
from loss_growth import exponent
from loss_measure import Machine
from loss_plots import SUFFIXES, growth_of_time
from loss_report import hardware, table
from risk import BACKWARD, DRAWN, READ, REST, Updates, parser

CANDIDATES, LENGTH, SENTENCES = "candidates", "symbols of a reference", "sentences"
SIZES = {CANDIDATES: (2, 4, 8, 16), LENGTH: (7, 10, 14, 20, 28), SENTENCES: (16, 32, 64, 128, 256)}

TOGETHER = "together"
ROWS = (TOGETHER, DRAWN, READ, REST, BACKWARD)


def measured(args: argparse.Namespace, options_of_risk: Sequence[str], axis: str, size: int) -> dict[str, float]:
    """The median seconds of ROWS at one size."""
    sizes = {CANDIDATES: 4, LENGTH: None, SENTENCES: 64, axis: size}
    drawn = ["--candidates", str(sizes[CANDIDATES]), "--sampled-candidates", "0"]
    choose = partial(of_length, length=sizes[LENGTH], number=sizes[SENTENCES])
    updates = Updates(args, [*options_of_risk, *drawn], choose)
    updates.seconds(updates.risk)
    taken = defaultdict(list)
    for _ in range(args.rounds):
        updates.parts = parts = Counter()
        taken[TOGETHER].append(updates.seconds(updates.risk))
        for row in ROWS[1:]:
            taken[row].append(parts[row])
    return {row: statistics.median(taken[row]) for row in ROWS}


def of_length(dataset: LanguagePairDataset, length: int | None, number: int) -> list[Sequence[int]]:
    """One batch of so many sentences, those whose references are the closest to a length; None: to the median."""
    lengths = dataset.tgt_sizes
    return [np.abs(lengths - (length or np.median(lengths))).argsort(kind="stable")[:number]]


def growth_table(axis: str, seconds: dict[int, dict[str, float]]) -> str:
    """A row for each of ROWS, a column for each size, and the exponents."""
    body = []
    for row in ROWS:
        values = [taken[row] for taken in seconds.values()]
        body.append([row, *(f"{value:.3f}" for value in values), f"{exponent(list(seconds), values):.2f}"])
    return table([f"s, by {axis}", *map(str, seconds), "exponent"], body)


def main() -> None:
    command = parser(__doc__)
    command.add_argument("--axes", nargs="+", choices=SIZES, default=list(SIZES), help="what grows (all three)")
    command.add_argument("--plot", metavar="FILE", help="figure, .png or .svg")
    args, options_of_risk = command.parse_known_args()
    if args.plot and Path(args.plot).suffix not in SUFFIXES:
        command.error(f"--plot writes {' or '.join(SUFFIXES)}, not {args.plot}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    header = f"{hardware(Machine(device, torch.float32))}, {args.rounds} rounds"
    print(header, flush=True)
    growths = {}
    for axis in args.axes:
        growths[axis] = {size: measured(args, options_of_risk, axis, size) for size in SIZES[axis]}
        print(f"\n{growth_table(axis, growths[axis])}", flush=True)
    if args.plot:
        growth_of_time(args.plot, growths, header)


if __name__ == "__main__":
    main()
