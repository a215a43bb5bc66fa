"""Subcommands that evaluate: score, compare, entropy, curve, report."""

import argparse
import logging
import os

from fairseq_bertloss.commands.common import add_lm, report
from fairseq_bertloss.commands.streams import check_stdout, show
from fairseq_bertloss.files import check_not_split, check_output


def add_score(subparsers) -> None:
    """`bertloss score`."""
    parser = subparsers.add_parser("score", help="BLEU, BERTScore, MoverScore and more of translations")
    parser.add_argument(
        "systems", nargs="+", metavar="[NAME=]FILE", help="translations: text, or what fairseq-generate printed"
    )
    add_evaluator(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run_score)


def run_score(args: argparse.Namespace) -> None:
    """Prints the figures of each file and the metrics' signatures."""
    from fairseq_bertloss.evaluation import score

    check_stdout()
    systems = {}
    for name, files in map(named_files, args.systems):
        add_system(systems, name or ",".join(files), files)
    scores = score.score_files(args.reference, systems, evaluator(args))
    show(score.to_json(scores) if args.json else score.to_text(scores))


def add_compare(subparsers) -> None:
    """`bertloss compare`."""
    parser = subparsers.add_parser("compare", help="whether systems differ from a baseline by more than chance")
    runs = "FILE, or several of different training seeds: FILE,FILE,..."
    parser.add_argument("--baseline", required=True, metavar="[NAME=]FILES", help=runs)
    parser.add_argument(
        "--control",
        action="append",
        default=[],
        metavar="[NAME=]FILES",
        help="cross-entropy continued, by which systems are judged; repeat it: by the strongest in F_BERT",
    )
    parser.add_argument("--system", required=True, action="append", metavar="NAME=FILES", help=f"{runs}; repeat it")
    add_evaluator(parser)
    parser.add_argument(
        "--paired-runs",
        action="store_true",
        help="file i of each system is of the same seed, as where all go on from that seed's baseline: differences are "
        "tested pair by pair",
    )
    parser.add_argument("--resamples", type=int, default=10000, help="of each test (%(default)s)")
    parser.add_argument("--seed", type=int, default=12345, help="of the resampling (%(default)s)")
    parser.add_argument("--level", type=float, default=0.01, help="p below which a difference is marked (%(default)s)")
    parser.add_argument("--output", metavar="JSON", help="file for `bertloss report`")
    parser.set_defaults(run=run_compare)


def run_compare(args: argparse.Namespace) -> None:
    """Prints the table and the tests, and writes both for the report."""
    from fairseq_bertloss.evaluation import results, tables
    from fairseq_bertloss.evaluation.comparison import compare

    check_stdout()
    if args.output:
        check_output(args.output)
    systems = {}
    baseline, files = named_files(args.baseline)
    baseline = add_system(systems, baseline or "baseline", files)
    controls = []
    for argument in args.control:
        name, files = named_files(argument)
        controls.append(add_system(systems, name or "control", files))
    for argument in args.system:
        name, files = named_files(argument)
        if name is None:
            raise ValueError(
                f"--system {argument} has no name: give NAME=FILE, or NAME=FILE,FILE,... for several seeds"
            )
        add_system(systems, name, files)
    comparison = compare(
        args.reference,
        systems,
        evaluator(args),
        baseline=baseline,
        controls=controls,
        paired_runs=args.paired_runs,
        resamples=args.resamples,
        seed=args.seed,
        level=args.level,
    )
    if args.output:
        results.write(args.output, [comparison])
    show(tables.markdown(comparison))


def add_entropy(subparsers) -> None:
    """`bertloss entropy`."""
    parser = subparsers.add_parser("entropy", help="entropy of a model's probabilities while it makes its own output")
    add_data(parser, "test")
    parser.add_argument(
        "--system",
        nargs=3,
        required=True,
        action="append",
        metavar=("NAME", "CHECKPOINT", "GENERATED"),
        help="a model and what fairseq-generate printed for it; repeat it",
    )
    parser.add_argument("--output", required=True, metavar="JSON", help="file for `bertloss report`")
    parser.set_defaults(run=run_entropy)


def run_entropy(args: argparse.Namespace) -> None:
    """Writes the distributions and reports their means."""
    logging.basicConfig(level=logging.WARNING)  # before fairseq is imported, which would log everything
    from fairseq_bertloss.evaluation import results
    from fairseq_bertloss.forced_decoding import entropies

    check_output(args.output)
    check_not_split(args.data)
    check_names([name for name, *_ in args.system])
    distributions = entropies(args.data, args.gen_subset, args.system, args.max_tokens)
    results.write(args.output, distributions)
    for entropy in distributions:
        positions = sum(entropy.counts)
        report(f"{entropy.system}: mean {entropy.mean:.3f}, median {entropy.median:.3f} nats, {positions} positions")


def add_curve(subparsers) -> None:
    """`bertloss curve`."""
    parser = subparsers.add_parser("curve", help="translate and score the checkpoints of a fine-tuning")
    add_data(parser, "valid")
    parser.add_argument("--baseline", required=True, metavar="CHECKPOINT", help="where the fine-tuning began")
    parser.add_argument(
        "--run",
        dest="runs",
        required=True,
        action="append",
        metavar="NAME=SAVE_DIR",
        help="folder with the checkpoints of --save-interval-updates; repeat it",
    )
    add_evaluator(parser)
    parser.add_argument("--output", required=True, metavar="JSON", help="file for `bertloss report`")
    parser.set_defaults(run=run_curve)


def run_curve(args: argparse.Namespace) -> None:
    """Writes the curves."""
    logging.basicConfig(level=logging.WARNING)  # before fairseq is imported, which would log everything
    from fairseq_bertloss.curve import curves
    from fairseq_bertloss.evaluation import results

    check_output(args.output)
    runs = {}
    for argument in args.runs:
        name, equals, folder = argument.partition("=")
        if not equals:
            raise ValueError(f"--run {argument} has no name: give NAME=SAVE_DIR")
        add_system(runs, name, folder)
    for path in (args.data, args.baseline, *runs.values()):
        check_not_split(path)
    lm = args.word_pieces_lm or args.lm
    found = curves(
        args.data, args.gen_subset, args.baseline, runs, args.reference, evaluator(args), lm, args.max_tokens, report
    )
    results.write(args.output, found)


def add_report(subparsers) -> None:
    """`bertloss report`."""
    parser = subparsers.add_parser("report", help="one page with the tables and figures of a comparison")
    parser.add_argument(
        "--runs",
        required=True,
        metavar="DIR",
        help="folder with comparison.json, and entropy.json and curve.json if there are any",
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="HTML",
        help="the page; its table also goes to .table.md, .tex and .json beside it",
    )
    parser.add_argument(
        "--published", metavar="FILE", help="JSON of scores that somebody else published, to be shown beside these"
    )
    parser.set_defaults(run=run_report)


def run_report(args: argparse.Namespace) -> None:
    """Writes the page and names the files."""
    from fairseq_bertloss.report.write_report import write_report

    check_stdout()
    for path in write_report(args.runs, args.output, args.published):
        show(os.path.abspath(path))


def add_data(parser: argparse.ArgumentParser, subset: str) -> None:
    """The options of a command that drives a fairseq model."""
    parser.add_argument("data", metavar="DATA", help="folder that fairseq-preprocess wrote")
    parser.add_argument("--gen-subset", default=subset, metavar="NAME", help="subset to translate (%(default)s)")
    parser.add_argument("--max-tokens", type=int, default=4096, help="of a batch (%(default)s)")


def add_evaluator(parser: argparse.ArgumentParser) -> None:
    """The options that say what is scored how."""
    parser.add_argument(
        "--reference",
        required=True,
        metavar="FILE",
        help="the references as text, one a line (of fairseq-generate's output: its T- lines)",
    )
    add_lm(parser)
    parser.add_argument("--layer", type=int, metavar="N", help="scoring layer (bert-score's for a known name)")
    parser.add_argument("--lowercase", action="store_true", help="BLEU and chrF without regard to case")
    parser.add_argument(
        "--tokenized", action="store_true", help="BLEU as multi-bleu.perl has it: words as they stand, no smoothing"
    )
    parser.add_argument("--moverscore-lm", metavar="NAME", help="language model for MoverScore (that of --lm)")
    parser.add_argument("--moverscore-version", choices=("v1", "v2"), default="v2", help="(%(default)s)")
    parser.add_argument("--moverscore-idf", action="store_true", help="weigh words by inverse document frequency")
    parser.add_argument(
        "--word-pieces-lm",
        metavar="NAME",
        help="model whose pieces fairseq-generate's output is made of (that of --lm)",
    )
    parser.add_argument(
        "--target-lang",
        metavar="CODE",
        help="language of the translations: zh, ja, th and others without spaces have tokenizers of their own (what "
        "fairseq-generate printed, else the script of the references)",
    )


def evaluator(args: argparse.Namespace):
    """The Evaluator that the options of add_evaluator describe."""
    from fairseq_bertloss.evaluation.metrics import Evaluator

    return Evaluator(
        args.lm,
        args.layer,
        lowercase=args.lowercase,
        tokenized=args.tokenized,
        moverscore_lm=args.moverscore_lm,
        moverscore_version=args.moverscore_version,
        moverscore_idf=args.moverscore_idf,
        word_pieces_lm=args.word_pieces_lm,
        target_lang=args.target_lang,
    )


def named_files(argument: str) -> tuple[str | None, list[str]]:
    """NAME=FILE,FILE,... as its name, None if it has none, and its files."""
    if os.path.exists(argument):
        return None, [argument]
    name, equals, files = argument.partition("=")
    named = (name, files.split(",")) if equals else (None, argument.split(","))
    if not all(named[1]):
        raise ValueError(f"{argument!r} names no file, or has a comma too many")
    return named


def add_system(systems: dict, name: str, value) -> str:
    """Enters a system under its name, which it returns."""
    if name in systems:
        raise ValueError(f"two systems have the name {name!r}")
    systems[name] = value
    return name


def check_names(names: list[str]) -> None:
    """Makes sure that no two systems have one name."""
    entered = {}
    for name in names:
        add_system(entered, name, None)
