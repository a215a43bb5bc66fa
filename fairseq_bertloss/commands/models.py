"""Subcommands that evaluate by running models of fairseq: entropy, curve."""

import argparse

from fairseq_bertloss.commands.common import add_command, quiet_fairseq, report
from fairseq_bertloss.commands.scoring import (
    add_device,
    add_evaluator,
    add_results,
    add_system,
    check_names,
    check_results,
    device,
    evaluator,
    with_standard_input,
)
from fairseq_bertloss.commands.streams import show
from fairseq_bertloss.files import check_not_split


def add_entropy(subparsers) -> None:
    """Adds the parser of `bertloss entropy`."""
    summary = "measure the entropy of a model's probabilities along its own translations"
    parser = add_command(
        subparsers,
        "entropy",
        summary,
        run_entropy,
        reads="checkpoints, and what fairseq-generate printed with each",
        writes="a table or JSON to standard output; with --output JSON for `bertloss report`",
        example="bertloss entropy data --system baseline baseline.pt baseline.out --system tuned tuned.pt tuned.out "
        "--output runs/entropy.json",
    )
    add_data(parser, "test")
    parser.add_argument(
        "--system",
        nargs=3,
        required=True,
        action="append",
        metavar=("NAME", "CHECKPOINT", "GENERATED"),
        help="name of a system, its checkpoint, and fairseq-generate's output with it; repeat the option for more "
        "systems",
    )
    parser.add_argument(
        "--languages",
        nargs=2,
        metavar=("SOURCE", "TARGET"),
        help="codes of the two languages, for models of several pairs (translation_multi_simple_epoch)",
    )
    add_device(parser, "the models")
    add_results(parser)


def run_entropy(args: argparse.Namespace) -> None:
    """Prints the mean and median of each system's entropies, and writes their distribution if a file is named."""
    quiet_fairseq()
    from fairseq_bertloss.evaluation import results
    from fairseq_bertloss.evaluation.plain_text import aligned
    from fairseq_bertloss.evaluation.tables import entropy_table
    from fairseq_bertloss.forced_decoding import entropies

    check_results(args)
    check_not_split(args.data)
    check_names([name for name, *_ in args.system])
    distributions = entropies(args.data, args.gen_subset, args.system, args.max_tokens, args.languages, device(args))
    if args.output:
        results.write(args.output, distributions)
    show(results.to_json(distributions) if args.json else aligned(*entropy_table(distributions)))


def add_curve(subparsers) -> None:
    """Adds the parser of `bertloss curve`."""
    summary = "translate with every checkpoint of a training, and score the translations"
    parser = add_command(
        subparsers,
        "curve",
        summary,
        run_curve,
        reads="the checkpoints along a training, and binarised data",
        writes="a table or JSON to standard output, and each checkpoint's translations beside it; with --output JSON "
        "for `bertloss report`",
        example="bertloss curve data --reference valid.en --lm bert-base-uncased --baseline baseline.pt --run "
        "tuned=checkpoints --output runs/curve.json",
    )
    add_data(parser, "valid")
    parser.add_argument(
        "--baseline", required=True, metavar="CHECKPOINT", help="checkpoint that the trainings began with"
    )
    parser.add_argument(
        "--run",
        dest="runs",
        required=True,
        action="append",
        metavar="NAME=SAVE_DIR",
        help="name of a training and its --save-dir, with the checkpoints of --save-interval-updates; repeat the "
        "option for more trainings",
    )
    add_evaluator(parser)
    parser.add_argument(
        "--generation",
        metavar="OPTIONS",
        help="more options of fairseq-generate, in quotation marks: its task, or how symbols become text that are no "
        'pieces of --word-pieces-lm ("--post-process sentencepiece"; "--tokenizer moses")',
    )
    add_results(parser)


def run_curve(args: argparse.Namespace) -> None:
    """Prints the scores along each training, and writes them if a file is named."""
    quiet_fairseq()
    from fairseq_bertloss.curve import curves
    from fairseq_bertloss.evaluation import results
    from fairseq_bertloss.evaluation.plain_text import aligned
    from fairseq_bertloss.evaluation.tables import curve_table

    check_results(args)
    runs = {}
    for argument in args.runs:
        name, equals, folder = argument.partition("=")
        if not equals:
            raise ValueError(f"--run {argument} has no name: give NAME=SAVE_DIR")
        add_system(runs, name, folder)
    for path in (args.data, args.baseline, *runs.values()):
        check_not_split(path)
    references, _ = with_standard_input(args.reference, {})
    lm = args.word_pieces_lm or args.lm
    found = curves(
        args.data,
        args.gen_subset,
        args.baseline,
        runs,
        references,
        evaluator(args),
        lm,
        args.max_tokens,
        report,
        args.generation,
    )
    if args.output:
        results.write(args.output, found)
    show(results.to_json(found) if args.json else aligned(*curve_table(found)))


def add_data(parser: argparse.ArgumentParser, subset: str) -> None:
    """Adds the options of a command that runs a fairseq model on a subset of its data."""
    parser.add_argument("data", metavar="DATA", help="folder that fairseq-preprocess or `bertloss prepare` wrote")
    parser.add_argument(
        "--gen-subset", default=subset, metavar="NAME", help="subset of the data (default: %(default)s)"
    )
    parser.add_argument(
        "--max-tokens", type=int, default=4096, metavar="N", help="largest batch, in tokens (default: %(default)s)"
    )
