"""`bertloss mend`: what a killed training left is made ready to go on."""

import argparse
import logging
import os

from fairseq_bertloss.commands.common import report


def add_mend(subparsers) -> None:
    """`bertloss mend`."""
    parser = subparsers.add_parser("mend", help="make the last checkpoint of a killed training whole again")
    parser.add_argument("folder", metavar="SAVE_DIR", help="fairseq-train's --save-dir")
    parser.set_defaults(run=run_mend)


def run_mend(args: argparse.Namespace) -> None:
    """Mends it and says what was done; a whole one is left as it is."""
    logging.basicConfig(level=logging.WARNING)  # before fairseq is imported, which would log everything
    from fairseq_bertloss.checkpoints.loading import LAST
    from fairseq_bertloss.checkpoints.resumption import mend

    last = os.path.join(args.folder, LAST)
    mended = mend(args.folder)
    if mended.source is None:
        report(f"{last} is whole, of update {mended.updates}: nothing to do")
        return
    for reason in mended.passed_over:
        report(f"passed over: {reason}")
    state = f"broken and is {mended.kept.name} now" if mended.kept else "missing"
    report(f"{last} was {state}; {mended.source.name} has taken its place, of update {mended.updates}")
