"""The subcommand that makes a killed training ready to go on: mend."""

import argparse
import os

from fairseq_bertloss.commands.common import add_command, quiet_fairseq, report


def add_mend(subparsers) -> None:
    """Adds the parser of `bertloss mend`."""
    summary = (
        "replace a broken checkpoint_last.pt by the furthest whole checkpoint, so that a killed training can go on"
    )
    parser = add_command(
        subparsers,
        "mend",
        summary,
        run_mend,
        reads="the checkpoints in a training's --save-dir",
        writes="its checkpoint_last.pt, where that is broken or missing",
        example="bertloss mend checkpoints",
    )
    parser.add_argument("folder", metavar="SAVE_DIR", help="the training's --save-dir")


def run_mend(args: argparse.Namespace) -> None:
    """Mends the last checkpoint and reports how; a whole one stays as it is."""
    quiet_fairseq()
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
