"""What benchmarks/loss.py prints and writes."""

import csv
import importlib.metadata
import io
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from loss_growth import Point, exponent
from loss_inputs import PAD, Batch
from loss_measure import Machine
from loss_rows import CROSS_ENTROPY, FLOOR, LANGUAGE_MODEL, Row

from fairseq_bertloss.files import whole
from fairseq_bertloss.loss.soft_predictions import DEFAULT_TEMPERATURE, soft_prediction

QUANTILES = (20, 50, 80)
SUM = f"{CROSS_ENTROPY} + {LANGUAGE_MODEL}"
COLUMNS = (
    "row", "kind", "way", *(f"seconds_p{q}" for q in QUANTILES), *(f"ratio_p{q}" for q in QUANTILES),
    "peak_bytes", "beyond_lm_bytes", "beyond_lm_to_cross_entropy",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """A row as measured: quantiles of seconds and of their ratio to the floor of the same round; bytes or None."""

    row: str
    kind: str
    way: str
    seconds: tuple[float, ...]
    ratio: tuple[float, ...]
    peak: int | None = None
    beyond_lm: int | None = None
    beyond_lm_to_cross_entropy: float | None = None

    def fields(self) -> tuple:
        """The fields of a row, in the order of COLUMNS."""
        memory = self.peak, self.beyond_lm, self.beyond_lm_to_cross_entropy
        return self.row, self.kind, self.way, *self.seconds, *self.ratio, *memory


def results(rows: Sequence[Row], seconds: dict[str, list[float]], peaks: dict[str, int]) -> list[Result]:
    """One for each row, and one for the sum of what the floor consists of.

    Args:
        rows: as measured, the floor and its parts among them.
        seconds: of each round, by the rows' names.
        peaks: bytes by the rows' names; empty where memory was not measured.
    """
    floor = np.array(seconds[FLOOR])
    lines = []
    for row in rows:
        memory = ()
        if peaks:
            beyond = peaks[row.name] - peaks[LANGUAGE_MODEL]
            memory = peaks[row.name], beyond, beyond / peaks[CROSS_ENTROPY]
        lines.append(_result(row.name, row.kind, row.way, np.array(seconds[row.name]), floor, *memory))
    parts = np.array(seconds[CROSS_ENTROPY]) + np.array(seconds[LANGUAGE_MODEL])
    lines.insert([row.way for row in rows].index(FLOOR), _result(SUM, None, SUM, parts, floor))
    return lines


def _result(name: str, kind: str | None, way: str, seconds: np.ndarray, floor: np.ndarray, *memory) -> Result:
    quantiles = (tuple(np.percentile(values, QUANTILES).tolist()) for values in (seconds, seconds / floor))
    return Result(name, kind or "", way, *quantiles, *memory)


def markdown(lines: Sequence[Result]) -> str:
    """The table of results."""
    head = ["", *(f"s, p{q}" for q in QUANTILES), *(f"/ floor, p{q}" for q in QUANTILES)]
    head += ["peak, GB", "beyond the LM, GB", "/ cross-entropy"]
    body = [[line.row, *map(_number, line.fields()[3:9]), *_memory(line)] for line in lines]
    return table(head, body)


def _memory(line: Result) -> list[str]:
    if line.peak is None:
        return [""] * 3
    return [f"{line.peak / 1e9:.3f}", f"{line.beyond_lm / 1e9:.3f}", f"{line.beyond_lm_to_cross_entropy:.2f}"]


def _number(value: float) -> str:
    return f"{value:.4f}" if value < 0.1 else f"{value:.3f}"


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Markdown, the first column on the left and the others on the right."""
    rule = [":--", *["--:"] * (len(head) - 1)]
    return "\n".join(map(table_line, (head, rule, *body)))


def table_line(cells: Sequence[str]) -> str:
    """One of a table's."""
    return f"| {' | '.join(cells)} |"


def growth_tables(axis: str, points: Sequence[Point]) -> str:
    """Median seconds, then peak memory, of every row at every size, and the exponents of the closest power laws."""
    sizes = [point.size for point in points]
    rows = list(points[0].seconds)
    tables = []
    for unit, values in {
        "s": {row: [point.seconds[row] for point in points] for row in rows},
        "GB": {row: [point.peaks[row] / 1e9 for point in points] for row in rows},
    }.items():
        body = [[row, *map(_number, values[row]), f"{exponent(sizes, values[row]):.2f}"] for row in rows]
        tables.append(table([f"{unit}, by {axis}", *(point.label for point in points), "exponent"], body))
    return "\n\n".join(tables)


def hardware(machine: Machine) -> str:
    """What it runs on, and the versions of what it runs."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers", "entmax")]
    name = torch.cuda.get_device_name() if machine.device == "cuda" else _cpu_name()
    precision = str(machine.dtype).removeprefix("torch.")
    return ", ".join(
        [name, f"{torch.get_num_threads()} threads", f"python {platform.python_version()}", *versions, precision]
    )


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.M) if info.exists() else None
    return f"CPU {found[1] if found else platform.processor() or platform.machine()}"


def sizes(batch: Batch) -> str:
    """A batch's sizes."""
    sentences, longest, dim = batch.features.shape
    return (
        f"{batch.tokens} tokens in {sentences} sentences of up to {longest} ({batch.padding:.1%} of the positions are "
        f"padding), vocabulary {len(batch.weight)}, features {dim}"
    )


@torch.no_grad()
def peakedness(batch: Batch, chunk: int = 256) -> str:
    """How peaked the logits are, which decides what sparse soft predictions cost."""
    real = batch.target.ne(PAD)
    right = 0
    entropy = 0.0
    supports = dict.fromkeys(("sparsemax", "entmax15"), 0)
    for features, target in zip(batch.features[real].split(chunk), batch.target[real].split(chunk), strict=True):
        logits = torch.nn.functional.linear(features, batch.weight, batch.bias)
        right += int(logits.argmax(dim=-1).eq(target).sum())
        entropy += float(torch.special.entr(logits.softmax(dim=-1)).sum())
        for kind in supports:
            supports[kind] += int((soft_prediction(logits, kind, DEFAULT_TEMPERATURE[kind]) > 0).sum())
    means = ", ".join(f"{kind} {total / batch.tokens:.2f}" for kind, total in supports.items())
    return (
        f"{batch.source}: accuracy {right / batch.tokens:.3f}, entropy {entropy / batch.tokens:.2f} nats, "
        f"mean support {means}"
    )


def write_csv(path: str, columns: Sequence[str], lines: Sequence[Sequence]) -> None:
    """Writes a table; the file appears whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([columns, *lines])
    write(path, text.getvalue().encode())


def write(path: str, content: bytes) -> None:
    """Writes a file, whole or not at all."""
    with whole(path) as (partial,):
        partial.write_bytes(content)
