"""The subcommand that averages checkpoints: average."""

import argparse

from fairseq_bertloss.commands.common import add_command, quiet_fairseq, report
from fairseq_bertloss.files import check_not_split, check_output


def add_average(subparsers) -> None:
    """Adds the parser of `bertloss average`."""
    summary = (
        "average checkpoints of one training, and interpolate the mean with the training's baseline if one is given"
    )
    parser = add_command(
        subparsers,
        "average",
        summary,
        run_average,
        reads="checkpoints of one training",
        writes="a checkpoint to translate with",
        example="bertloss average checkpoints/checkpoint_*_*.pt --output averaged.pt",
    )
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT", help="checkpoints of one training")
    parser.add_argument(
        "--baseline", metavar="CHECKPOINT", help="checkpoint that the training began with (--finetune-from-model)"
    )
    parser.add_argument(
        "--baseline-weight",
        type=float,
        metavar="W",
        help="weight of the baseline, above 0 and below 1; the mean of the checkpoints gets the rest (default: 0.5)",
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="FILE",
        help="checkpoint to write; it can translate and be fine-tuned, but no training can be resumed from it",
    )


def run_average(args: argparse.Namespace) -> None:
    """Writes the average and reports it."""
    quiet_fairseq()
    from fairseq_bertloss.checkpoints.averaging import average

    check_output(args.output)
    check_not_split(args.output)
    options = {}
    if args.baseline_weight is not None:
        if args.baseline is None:
            raise ValueError("--baseline-weight needs --baseline CHECKPOINT")
        options["baseline_weight"] = args.baseline_weight
    average(args.checkpoints, args.output, args.baseline, **options)
    report(f"{args.output}: written")
