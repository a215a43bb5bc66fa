"""The runs of benchmarks/effect.py as a table in Markdown.

    python benchmarks/effect_table.py docs/results/multi30k/valid --rows baseline control@1e-4 risk@1e-4

Means over the seeds, and standard deviations where there are several. `F above control` and `time` are against
cross-entropy continued for the same updates at the same learning rate.
"""

import argparse
import json
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import effect_rows

SCORES = {
    "bleu": "BLEU", "f_bert": "F_BERT", "moverscore": "MoverScore", "chrf": "chrF", "length_ratio": "length",
    "beam_score": "beam score", "nll": "NLL", "entropy": "entropy", "p_eos_end": "p(</s>) at the end",
    "p_eos_before": "p(</s>) before",
}  # fmt: skip
"""What a run may have, and its heading."""

DIGITS = {"length_ratio": 3, "beam_score": 3, "nll": 3, "entropy": 3, "p_eos_end": 3, "p_eos_before": 5}


def runs(folder: Path, row: str, decoding: str, seeds: Sequence[int] | None = None) -> list[dict]:
    """Of each seed, or of some.

    Raises:
        ValueError: there is none.
    """
    chosen = r"\d+" if seeds is None else "|".join(map(str, seeds))
    name = re.compile(rf"{re.escape(row)}\.(?:{chosen})\.{re.escape(decoding)}\.json")
    paths = sorted(path for path in folder.iterdir() if name.fullmatch(path.name))
    if not paths:
        raise ValueError(f"there is no run {row}.SEED.{decoding}.json in {folder}: benchmarks/effect.py makes it")
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def seconds(run: dict) -> float:
    """What training took, without validation and saving."""
    return sum(record["train_train_wall"] for record in run["log"] if record["kind"] == "train")


def table(folder: Path, rows: list[str], decoding: str, seeds: Sequence[int] | None = None) -> str:
    """A line for each row, of all seeds or of some.

    Raises:
        ValueError: a row or its control has not run, or they have other seeds.
    """
    found = {row: runs(folder, row, decoding, seeds) for row in rows}
    names = [name for name in SCORES if name in found[rows[0]][0]["scores"]]
    headings = [*(SCORES[name] for name in names), *(["F above control", "time"] if "f_bert" in names else [])]
    lines = ["| row | " + " | ".join(headings) + " |", "|:--" + "|--:" * len(headings) + "|"]
    for row, own in found.items():
        cells = [_mean([run["scores"][name] for run in own], DIGITS.get(name, 2)) for name in names]
        if "f_bert" in names:
            control = effect_rows.control_of(row)
            cells += _against(own, runs(folder, control, decoding, seeds)) if control else ["", ""]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _against(own: list[dict], controls: list[dict]) -> list[str]:
    """Difference in F and ratio of time to the controls, seed by seed."""
    seeds, their_seeds = ([run["seed"] for run in side] for side in (own, controls))
    if seeds != their_seeds:
        raise ValueError(f"{own[0]['row']} has the seeds {seeds}, {controls[0]['row']} has {their_seeds}")
    pairs = list(zip(own, controls))
    above = [run["scores"]["f_bert"] - control["scores"]["f_bert"] for run, control in pairs]
    times = [seconds(run) / seconds(control) for run, control in pairs]
    return [_mean(above, 2, "+"), f"{statistics.mean(times):.1f}"]


def _mean(values: list[float], digits: int, sign: str = "") -> str:
    mean = f"{statistics.mean(values):{sign}.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="docs/results/CORPUS/SUBSET")
    parser.add_argument("--rows", nargs="+", required=True)
    parser.add_argument("--decoding", default=effect_rows.BEAM_5, choices=effect_rows.DECODINGS)
    parser.add_argument("--seeds", type=int, nargs="+", help="(all that have run)")
    args = parser.parse_args()
    print(table(args.folder, args.rows, args.decoding, args.seeds))


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(f"effect_table.py: {error}")
