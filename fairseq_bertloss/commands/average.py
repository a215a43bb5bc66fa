"""`bertloss average`: one model from several checkpoints."""

import argparse
import logging

from fairseq_bertloss.commands.common import report
from fairseq_bertloss.files import check_not_split, check_output


def add_average(subparsers) -> None:
    """`bertloss average`."""
    parser = subparsers.add_parser(
        "average", help="average checkpoints of a fine-tuning, and interpolate them with their baseline"
    )
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT", help="of one fine-tuning")
    parser.add_argument("--baseline", metavar="CHECKPOINT", help="the very one that the fine-tuning began with")
    parser.add_argument(
        "--baseline-weight",
        type=float,
        metavar="W",
        help="of the baseline's parameters, above 0 and below 1; the mean of the others has the rest (0.5)",
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="FILE",
        help="checkpoint to write, to translate with or to fine-tune from; no training can be resumed from it",
    )
    parser.set_defaults(run=run_average)


def run_average(args: argparse.Namespace) -> None:
    """Writes the average and says so."""
    logging.basicConfig(level=logging.WARNING)  # before fairseq is imported, which would log everything
    from fairseq_bertloss.checkpoints.averaging import average

    check_output(args.output)
    check_not_split(args.output)
    options = {}
    if args.baseline_weight is not None:
        if args.baseline is None:
            raise ValueError("--baseline-weight is of --baseline CHECKPOINT, which is missing")
        options["baseline_weight"] = args.baseline_weight
    average(args.checkpoints, args.output, args.baseline, **options)
    report(f"{args.output}: written")
