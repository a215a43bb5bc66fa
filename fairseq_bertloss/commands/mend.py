"""`bertloss mend`: what a killed training left is made ready to go on."""

import argparse

from fairseq_bertloss.commands.common import report


def add_mend(subparsers) -> None:
    """`bertloss mend`."""
    parser = subparsers.add_parser("mend", help="make the last checkpoint of a killed training whole again")
    parser.add_argument("folder", metavar="SAVE_DIR", help="fairseq-train's --save-dir")
    parser.set_defaults(run=run_mend)


def run_mend(args: argparse.Namespace) -> None:
    """Mends it and says so; a whole one is left as it is."""
    from fairseq_bertloss.resumption import mend

    source = mend(args.folder)
    if source is not None:
        report(f"{args.folder}/checkpoint_last.pt was broken, its training killed while it was written; it is {source.name} now")
