"""Subcommands that evaluate translations: score, compare, report."""

import argparse
import os

import fairseq_bertloss
from fairseq_bertloss.commands.common import add_command, quiet_fairseq
from fairseq_bertloss.commands.scoring import (
    add_evaluator,
    add_json,
    add_results,
    add_system,
    check_results,
    evaluator,
    named_files,
    with_standard_input,
)
from fairseq_bertloss.commands.streams import check_stdout, show


def add_score(subparsers) -> None:
    """Adds the parser of `bertloss score`."""
    summary = "score translations by BLEU, BERTScore, MoverScore and other metrics"
    parser = add_command(
        subparsers,
        "score",
        summary,
        run_score,
        reads="translations and their references: text, one sentence a line, or fairseq-generate's output; plain or "
        ".gz, - for standard input",
        writes="a table, JSON or tab-separated lines, to standard output",
        example="bertloss score --reference test.en --lm bert-base-uncased baseline=baseline.out tuned=tuned.out",
    )
    parser.add_argument(
        "systems", nargs="+", metavar="[NAME=]FILE", help="translations of a system: text, or fairseq-generate's output"
    )
    add_evaluator(parser)
    add_json(parser)
    parser.add_argument(
        "--sentence-level",
        action="store_true",
        help="print the scores of every sentence, tab-separated; with --json, beside those of the whole",
    )


def run_score(args: argparse.Namespace) -> None:
    """Prints the scores of each file and the signatures of the metrics."""
    from fairseq_bertloss.evaluation import score

    check_stdout()
    systems = {}
    for name, files in map(named_files, args.systems):
        add_system(systems, name or ",".join(files), files)
    references, systems = with_standard_input(args.reference, systems)
    scores = score.score_files(references, systems, evaluator(args))
    if args.json:
        show(score.to_json(scores, args.sentence_level))
    else:
        show(score.to_tsv(scores) if args.sentence_level else score.to_text(scores))


def add_compare(subparsers) -> None:
    """Adds the parser of `bertloss compare`."""
    summary = "compare systems with a baseline, and test whether they differ by more than chance"
    parser = add_command(
        subparsers,
        "compare",
        summary,
        run_compare,
        reads="translations and their references, as `bertloss score` does",
        writes="tables of scores and tests, or JSON, to standard output; with --output the JSON to a file too",
        example="bertloss compare --reference test.en --lm bert-base-uncased --baseline baseline.out --control "
        "control.out --system tuned=tuned.out --output runs/comparison.json",
    )
    runs = "FILE, or FILE,FILE,... for several training seeds"
    parser.add_argument(
        "--baseline", required=True, metavar="[NAME=]FILES", help=f"translations of the baseline: {runs}"
    )
    parser.add_argument(
        "--control",
        action="append",
        default=[],
        metavar="[NAME=]FILES",
        help="translations of a control (training continued with cross-entropy), by which the systems are judged; if "
        "the option is repeated, by the control with the highest F_BERT",
    )
    parser.add_argument(
        "--system",
        required=True,
        action="append",
        metavar="NAME=FILES",
        help=f"translations of a system: {runs}; repeat the option for more systems",
    )
    add_evaluator(parser)
    parser.add_argument(
        "--paired-runs",
        action="store_true",
        help="test differences pair by pair: file i of every system has the same training seed, for example because "
        "all of them go on from that seed's baseline",
    )
    parser.add_argument(
        "--resamples", type=int, default=10000, metavar="N", help="resamples of each test (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=12345, metavar="N", help="seed of the resampling (default: %(default)s)"
    )
    parser.add_argument(
        "--level", type=float, default=0.01, metavar="P", help="mark differences with p below P (default: %(default)s)"
    )
    add_results(parser)


def run_compare(args: argparse.Namespace) -> None:
    """Prints the table and the tests, and writes them for the report if a file is named."""
    from fairseq_bertloss.evaluation import results, tables
    from fairseq_bertloss.evaluation.comparison import compare

    check_results(args)
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
    references, systems = with_standard_input(args.reference, systems)
    comparison = compare(
        references,
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
    show(tables.to_json(comparison) if args.json else tables.markdown(comparison))


def add_report(subparsers) -> None:
    """Adds the parser of `bertloss report`."""
    summary = "write one HTML page with the tables and figures of a comparison"
    parser = add_command(
        subparsers,
        "report",
        summary,
        run_report,
        reads="what compare, entropy and curve wrote with --output into one folder",
        writes="an HTML page, and beside it its tables in Markdown, LaTeX and JSON, its examples in LaTeX and its "
        "figures in SVG and PDF",
        example="bertloss report --runs runs --output report.html",
    )
    parser.add_argument(
        "--runs",
        required=True,
        metavar="DIR",
        help="folder of comparison.json and, if they were written, entropy.json and curve.json",
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="HTML",
        help="page to write, PAGE.html; its table is written beside it as PAGE.table.md, PAGE.table.tex and "
        "PAGE.table.json, its examples as PAGE.examples.tex, its figures as PAGE.figure1.svg, PAGE.figure1.pdf and "
        "so on",
    )
    parser.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="the checkpoint of a system, to say by which command of fairseq-train it was made; repeat the option for "
        "more systems",
    )
    parser.add_argument("--title", metavar="TEXT", help="title of the page (default: the name of the test set)")
    parser.add_argument("--published", metavar="FILE", help="published scores to show beside these, as JSON")


def run_report(args: argparse.Namespace) -> None:
    """Writes the page and its tables, and prints their paths."""
    from fairseq_bertloss.report.write_report import write_report

    check_stdout()
    checkpoints = {}
    for argument in args.checkpoint:
        add_system(checkpoints, *_named_checkpoint(argument))
    if checkpoints:
        quiet_fairseq()
        fairseq_bertloss.register()
    for path in write_report(args.runs, args.output, args.published, args.title, checkpoints):
        show(os.path.abspath(path))


def _named_checkpoint(argument: str) -> tuple[str, str]:
    """NAME=FILE in its parts."""
    name, equals, file = argument.partition("=")
    if not (name and equals and file):
        raise ValueError(f"--checkpoint {argument} must be NAME=FILE, with the name of a system")
    return name, file
