"""The runs of benchmarks/effect.py as tables in Markdown.

    python benchmarks/effect_table.py docs/results/multi30k/valid --decoding averaged \\
        --rows baseline mix-0.2 gumbel_softmax
    python benchmarks/effect_table.py docs/results/multi30k/valid --decoding averaged \\
        --rows mix-0.2 --against no-dropout-control

Means over the seeds, and standard deviations where there are several; rows' controls come along. `time` is relative to
cross-entropy without dropout, of the same updates at the same learning rate. With --against a second table has the
differences to one row, and how they stand to the bar of effect_bar.py. With --parts a table of the corpus' parts
comes first; rows are compared by the mean over these.
"""

import argparse
import functools
import json
import math
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import effect_bar
import effect_rows

SCORES = {
    "bleu": "BLEU", "f_bert": "F_BERT", "f_bert_e5": "F_BERT by e5", "f_bert_mpnet": "F_BERT by mpnet",
    "moverscore": "MoverScore by e5", "moverscore_mpnet": "MoverScore by mpnet", "chrf": "chrF", "ter": "TER",
    "length_ratio": "length", "repeated": "repeated", "nll": "NLL", "entropy": "entropy",
    "p_eos_end": "p(</s>) at the end", "p_eos_before": "p(</s>) before",
}  # fmt: skip
"""What a run may have, and its heading."""

DIGITS = {"length_ratio": 3, "nll": 3, "entropy": 3, "p_eos_end": 3, "p_eos_before": 5}

TIME = "time"


def runs(folder: Path, row: str, decoding: str, seeds: Sequence[int] | None = None) -> list[dict]:
    """The runs of all seeds, or of some, in the order of the seeds.

    Raises:
        ValueError: there is none.
    """
    chosen = r"\d+" if seeds is None else "|".join(map(str, seeds))
    name = re.compile(rf"{re.escape(row)}\.(?:{chosen})\.{re.escape(decoding)}\.json")
    paths = [path for path in folder.iterdir() if name.fullmatch(path.name)]
    if not paths:
        raise ValueError(f"there is no run {row}.SEED.{decoding}.json in {folder}: benchmarks/effect.py makes it")
    return sorted((json.loads(path.read_text(encoding="utf-8")) for path in paths), key=lambda run: run["seed"])


def seconds(run: dict) -> float:
    """What training took, without validation and saving."""
    return sum(record["train_train_wall"] for record in run["log"] if record["kind"] == "train")


def with_controls(rows: list[str]) -> list[str]:
    """The rows, each after what it is to be seen beside."""
    return list(dict.fromkeys(shown for row in rows for shown in (*effect_rows.controls_of(row), row)))


def table(found: dict[str, list[dict]]) -> str:
    """A line for each row's runs.

    Raises:
        ValueError: a row and its control have other seeds, or a row has no control.
    """
    names = _scores(found)
    timed = any(effect_rows.control_of(row) for row in found)
    lines = _heading(["row", *(SCORES[name] for name in names), *([TIME] if timed else [])])
    for row, own in found.items():
        cells = [_mean([run["scores"][name] for run in own], DIGITS.get(name, 2)) for name in names]
        if timed:
            control = effect_rows.control_of(row)
            cells.append(f"{_times(own, found[control]):.1f}" if control else "")
        lines.append(_line(row, *cells))
    return "\n".join(lines)


def parts_table(found: dict[str, list[dict]]) -> str:
    """A line for each part of the corpus and row.

    Raises:
        ValueError: a run has no parts.
    """
    names = _scores(found)
    lines = _heading(["part", "row", *(SCORES[name] for name in names)])
    parts = next(iter(found.values()))[0].get("parts", {})
    if not parts:
        raise ValueError("the corpus has no parts: leave --parts out")
    for part in parts:
        for row, own in found.items():
            cells = [_mean([run["parts"][part][name] for run in own], DIGITS.get(name, 2)) for name in names]
            lines.append(_line(part, row, *cells))
    return "\n".join(lines)


def against(found: dict[str, list[dict]], control: str) -> str:
    """Each row's differences to one of the rows, and whether they are enough.

    Raises:
        ValueError: they have other seeds.
    """
    compared = (effect_bar.F_BERT, *effect_bar.OTHERS, "moverscore", "moverscore_mpnet", *effect_bar.LOWER_IS_BETTER)
    names = [name for name in _scores(found) if name in compared]
    judges = [name for name in ("f_bert", "f_bert_e5") if name in names]
    lines = _heading(
        [f"less {control}", *(SCORES[name] for name in names), *(f"sentences by {SCORES[name]}" for name in judges)]
    )
    verdicts = []
    for row, own in found.items():
        if row in (control, effect_rows.BASELINE):
            continue
        _check_pairs(own, found[control])
        difference_in = functools.partial(effect_bar.difference, own=own, controls=found[control])
        cells = [_difference(difference_in(name), DIGITS.get(name, 2)) for name in names]
        shares = [effect_bar.wins(name, own, found[control]) for name in judges]
        lines.append(_line(row, *cells, *(f"{won:.0f} % won, {lost:.0f} % lost" for won, lost in shares)))
        verdicts.append(f"{row}: {_verdict(difference_in, names)}")
    return "\n".join([*lines, "", *verdicts])


def _verdict(difference_in, names: list[str]) -> str:
    """Whether the bar is met."""
    needed = (effect_bar.F_BERT, *effect_bar.OTHERS, "repeated", "length_ratio")
    if lacking := [name for name in needed if name not in names]:
        return f"the bar needs {', '.join(lacking)} too"
    missed = effect_bar.shortfalls(difference_in)
    return f"the bar is missed: {'; '.join(missed)}" if missed else "the bar is met"


def _scores(found: dict[str, list[dict]]) -> list[str]:
    """The names that all runs have."""
    return [name for name in SCORES if all(name in run["scores"] for own in found.values() for run in own)]


def _times(own: list[dict], controls: list[dict]) -> float:
    """The mean ratio of training times."""
    _check_pairs(own, controls)
    return statistics.mean(seconds(run) / seconds(control) for run, control in zip(own, controls, strict=True))


def _check_pairs(own: list[dict], controls: list[dict]) -> None:
    seeds, their_seeds = ([run["seed"] for run in side] for side in (own, controls))
    if seeds != their_seeds:
        raise ValueError(
            f"{own[0]['row']} has the seeds {seeds}, {controls[0]['row']} has {their_seeds}: --seeds chooses"
        )


def _mean(values: list[float], digits: int) -> str:
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def _difference(difference: effect_bar.Difference, digits: int) -> str:
    mean = f"{difference.mean:+.{digits}f}"
    return mean if math.isnan(difference.p) else f"{mean} ({difference.p:.4f})"


def _heading(titles: list[str]) -> list[str]:
    return [_line(*titles), "|:--" + "|--:" * (len(titles) - 1) + "|"]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="docs/results/CORPUS/SUBSET")
    parser.add_argument("--rows", nargs="+", required=True)
    parser.add_argument("--decoding", default=effect_rows.BEAM_5, choices=effect_rows.DECODINGS)
    parser.add_argument("--seeds", type=int, nargs="+", help="(all that have run)")
    parser.add_argument(
        "--against", metavar="ROW", help="differences to this row, and p over pairs of seeds in brackets"
    )
    parser.add_argument("--parts", action="store_true", help="first a table of the parts of the corpus")
    args = parser.parse_args()
    rows = with_controls([*([args.against] if args.against else []), *args.rows])
    found = {row: runs(args.folder, row, args.decoding, args.seeds) for row in rows}
    if args.parts:
        print(f"{parts_table(found)}\n")
    print(table(found))
    if args.against:
        print(f"\n{against(found, args.against)}")


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(f"effect_table.py: {error}")
