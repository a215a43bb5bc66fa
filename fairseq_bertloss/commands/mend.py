"""`bertloss mend`: what a killed training left is made ready to go on."""

import argparse
import os

from fairseq_bertloss.commands.common import report


def add_mend(subparsers) -> None:
    """`bertloss mend`."""
    parser = subparsers.add_parser("mend", help="make the last checkpoint of a killed training whole again")
    parser.add_argument("folder", metavar="SAVE_DIR", help="fairseq-train's --save-dir")
    parser.set_defaults(run=run_mend)


def run_mend(args: argparse.Namespace) -> None:
    """Mends it and says what was done; a whole one is left as it is."""
    from fairseq_bertloss.checkpoints import LAST
    from fairseq_bertloss.resumption import mend

    last = os.path.join(args.folder, LAST)
    source, updates, was_missing = mend(args.folder)
    if source is None:
        report(f"{last} is whole, of update {updates}: nothing to do")
    else:
        state = "missing" if was_missing else "broken, its training killed while it was written"
        report(f"{last} was {state}; it is {source.name} now, of update {updates}")
