"""What an update costs from decoder features to the gradients of features and output projection: BERTScore in four
ways against cross-entropy and the floor.

    python benchmarks/loss.py --lm NAME --layer N --tokens 1792 --checkpoint FILE --data DIR --csv FILE --plot FILE
    python benchmarks/loss.py --lm NAME --layer N --tokens 1792 --vocabulary 30522
    python benchmarks/loss.py --lm NAME --layer N --growth tokens --sizes 512 1024 2048
    python benchmarks/loss.py --lm random:768x12 --device cuda --dtype bfloat16 --tokens 4096 --fit-memory 16

README.md beside this file says what the rows are and how to read them.
"""

import argparse
import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace

import loss_growth
import loss_plots
import loss_report
import torch
from loss_growth import AXES, SIZES, Shape
from loss_inputs import language_model, trained
from loss_measure import Machine, peaks, seconds
from loss_rows import CROSS_ENTROPY, OURS, PLAIN, Workload
from tqdm import tqdm

from fairseq_bertloss.choices import SOFT_PREDICTIONS
from fairseq_bertloss.language_model.pretrained import short_name

MOST_TOKENS = 1 << 17
"""Where --fit-memory stops."""


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def figure(path: str) -> str:
    if not path.endswith(loss_plots.SUFFIXES):
        raise argparse.ArgumentTypeError(f"{path!r} must end with {' or '.join(loss_plots.SUFFIXES)}")
    return path


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = arguments.add_argument
    add("--device", choices=("cpu", "cuda"), default="cpu", help="%(default)s by default")
    add("--dtype", choices=("float32", "bfloat16"), default="float32", help="of features, projection and LM")
    add("--lm", required=True, help="hub name or folder of the language model; random:768x12 is a BERT of that size")
    add("--layer", type=int, help="scoring layer; bert-score's by default, of a random LM the last")
    add("--kinds", nargs="+", choices=SOFT_PREDICTIONS, default=list(SOFT_PREDICTIONS), help="soft predictions")
    add("--tokens", type=positive, default=1792, help="target tokens without padding (%(default)s)")
    add("--longest", type=positive, default=28, help="sentence, in symbols (%(default)s)")
    add("--typical-batch", action="store_true", help="of --data: as padded as fairseq-train's with --max-tokens TOKENS")
    add("--vocabulary", type=positive, help="symbols, of made-up logits (30522)")
    add("--features-dim", type=positive, default=512, help="width of the decoder's features (%(default)s)")
    add("--checkpoint", help="of fairseq-train: logits of this model instead of made-up ones")
    add("--data", help="folder from fairseq-preprocess that the checkpoint reads")
    add("--subset", default="valid", help="of the data (%(default)s)")
    add("--rounds", type=positive, default=10, help="in which every row runs once (%(default)s)")
    add("--warm-up", type=positive, default=3, help="rounds before, which do not count (%(default)s)")
    add("--no-memory", action="store_true", help="measure time alone")
    add("--csv", help="file for the table")
    add("--plot", type=figure, help="file for a figure, .png or .svg")
    add("--growth", choices=AXES, help="how cost grows with the size of this, and of made-up logits")
    add("--sizes", nargs="+", help="for --growth (512 ... 16384 tokens, 8000 ... 250000 symbols, LMs 128x2 ... 768x12)")
    add("--fit-memory", type=float, metavar="GB", help="the most tokens that fit so much of the GPU's memory")
    return arguments


def check(arguments: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Ends the program where options do not go together, or ask for what is not there."""
    made_up = options.growth or options.fit_memory
    wrong = {
        "--device cuda: torch finds no GPU here": options.device == "cuda" and not torch.cuda.is_available(),
        "--checkpoint needs --data, and --data --checkpoint": bool(options.checkpoint) != bool(options.data),
        "--typical-batch needs --checkpoint and --data": options.typical_batch and not options.checkpoint,
        "--checkpoint brings its own vocabulary: leave out --vocabulary": options.checkpoint and options.vocabulary,
        "--growth and --fit-memory use made-up logits: leave out --checkpoint": options.checkpoint and made_up,
        "--growth and --fit-memory are two runs": options.growth and options.fit_memory,
        "--sizes belongs to --growth": options.sizes and not options.growth,
        "--fit-memory needs --device cuda": options.fit_memory and options.device != "cuda",
        "--fit-memory must be positive": options.fit_memory is not None and options.fit_memory <= 0,
        "--fit-memory writes no file": options.fit_memory and (options.csv or options.plot),
        "--growth lm varies the LM: leave out --layer": options.growth == "lm" and options.layer,
        "--growth measures memory too: leave out --no-memory": options.growth and options.no_memory,
        "--vocabulary must be at least 10": options.vocabulary is not None and options.vocabulary < 10,
        "--tokens and --longest must be at least 2": min(options.tokens, options.longest) < 2,
    }
    for path in filter(None, (options.csv, options.plot)):
        wrong[f"there is no folder for {path}"] = not os.path.isdir(os.path.dirname(path) or ".")
    for message, is_wrong in wrong.items():
        if is_wrong:
            arguments.error(message)


def shape(options: argparse.Namespace) -> Shape:
    vocabulary = options.vocabulary or 30522
    return Shape(options.tokens, vocabulary, options.features_dim, options.longest, options.lm, options.layer)


@contextlib.contextmanager
def workload(options: argparse.Namespace) -> Iterator[Workload]:
    """The logits of the checkpoint or made-up ones, and the language model."""
    made_up = shape(options)
    lm = language_model(options.lm, options.layer, made_up.vocabulary)
    with lm as (folder, layer), tempfile.TemporaryDirectory() as cache:
        if options.checkpoint is None:
            work = made_up.workload(folder, layer)
        else:
            longest = None if options.typical_batch else options.longest
            sizes = options.tokens, longest, options.features_dim
            work = Workload(folder, layer, trained(options.checkpoint, options.data, options.subset, *sizes))
        yield replace(work, cache=cache)


def compare(options: argparse.Namespace, machine: Machine) -> None:
    """The table of all rows."""
    with workload(options) as work:
        rows = work.rows(machine.device, machine.dtype, options.kinds)
        updates = len(rows) * (options.rounds + options.warm_up + (not options.no_memory))
        with tqdm(total=updates, unit=" updates") as progress:
            taken = seconds(rows, machine, options.rounds, options.warm_up, progress.update)
            needed = {} if options.no_memory else peaks(work, rows, machine, progress.update)
    results = loss_report.results(rows, taken, needed)
    header = f"{loss_report.hardware(machine)}\n{loss_report.sizes(work.batch)}, LM {short_name(options.lm)}"
    print(f"{header}, {options.rounds} rounds")
    print(f"{loss_report.peakedness(work.batch)}\n\n{loss_report.markdown(results)}")
    if options.csv:
        loss_report.write_csv(options.csv, loss_report.COLUMNS, [result.fields() for result in results])
    if options.plot:
        loss_plots.bars(options.plot, results, header)


def grow(options: argparse.Namespace, machine: Machine) -> None:
    """Tables of time and memory against sizes, with exponents."""
    base = shape(options)
    shapes = [loss_growth.resized(base, options.growth, size) for size in options.sizes or SIZES[options.growth]]
    if len(shapes) < 2:
        raise ValueError("--growth needs at least two --sizes")
    total = loss_growth.steps(shapes, options.kinds, options.rounds, options.warm_up)
    with tqdm(total=total, unit=" updates") as progress:
        measure = options.kinds, options.rounds, options.warm_up, progress.update
        points = list(loss_growth.points(shapes, machine, *measure))
    header = f"{loss_report.hardware(machine)}\n{base.describe(options.growth)}, {options.rounds} rounds"
    print(f"{header}\n\n{loss_report.growth_tables(AXES[options.growth], points)}")
    if options.csv:
        columns = (AXES[options.growth], "row", "seconds", "peak_bytes")
        fields = [(p.size, name, p.seconds[name], p.peaks[name]) for p in points for name in p.peaks]
        loss_report.write_csv(options.csv, columns, fields)
    if options.plot:
        loss_plots.growth(options.plot, AXES[options.growth], points, header)


def fit(options: argparse.Namespace, machine: Machine) -> None:
    """The largest batches within a limit of memory."""
    available = torch.cuda.get_device_properties(0).total_memory
    if options.fit_memory * 2**30 > available:
        raise ValueError(f"--fit-memory {options.fit_memory}: the GPU has {available / 2**30:.1f} GB")
    torch.cuda.set_per_process_memory_fraction(options.fit_memory * 2**30 / available)
    contenders = [(CROSS_ENTROPY, ""), *((way, kind) for kind in options.kinds for way in (OURS, PLAIN))]
    print(f"{loss_report.hardware(machine)}\n{shape(options).describe('tokens')}, {options.fit_memory} GB\n")
    print(loss_report.table(["way", "soft prediction", "most tokens (2% less at most)"], []), flush=True)
    with tqdm(unit=" tries") as progress:
        for way, kind in contenders:  # each is said when it is known: a limit of time may end this
            inputs = shape(options), way, kind or options.kinds[0], machine, MOST_TOKENS, progress.update
            print(loss_report.table_line([way, kind, f"{loss_growth.most_tokens(*inputs):,}"]), flush=True)


def main(argv: list[str] | None = None) -> None:
    arguments = parser()
    options = arguments.parse_args(argv)
    check(arguments, options)
    logging.basicConfig(level=logging.WARNING)  # first: fairseq would ask for every library's debugging messages
    machine = Machine(options.device, getattr(torch, options.dtype))
    torch.manual_seed(1)
    try:
        if options.growth:
            grow(options, machine)
        elif options.fit_memory:
            fit(options, machine)
        else:
            compare(options, machine)
    except (ValueError, ChildProcessError) as error:
        arguments.error(str(error))


if __name__ == "__main__":
    main()
