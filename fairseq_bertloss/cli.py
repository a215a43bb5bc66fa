"""The `bertloss` command: reads arguments, runs a subcommand, reports errors.

The subcommands stand in commands/, and COMMANDS lists them. Heavy modules are imported by the function that
needs them, so that --help is instant.
"""

import argparse
import sys
from collections.abc import Sequence

from fairseq_bertloss import __version__
from fairseq_bertloss.commands import average, evaluate, extract, mend, models, preprocess, streams
from fairseq_bertloss.commands.common import quietly, report_error
from fairseq_bertloss.files import NO_ROOM

DESCRIPTION = """Prepare corpora for fairseq models that learn from BERTScore, and evaluate the models' translations.
fairseq-train itself trains them, with --criterion bertscore_loss."""

COMMANDS = (
    extract.add_extract,
    preprocess.add_vocabulary,
    preprocess.add_prepare,
    preprocess.add_homeassistant,
    mend.add_mend,
    average.add_average,
    evaluate.add_score,
    evaluate.add_compare,
    models.add_entropy,
    models.add_curve,
    evaluate.add_report,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        The exit status: 0; 2 for a user's error, or output that cannot be written; as a shell has it, 130 after Ctrl-C
        and 141 when nobody reads the output any more.
    """
    try:
        with streams.open_streams():
            return _run(argument_parser().parse_args(argv))
    except BrokenPipeError:
        streams.give_up(sys.stdout, sys.stderr)
        return 141
    except streams.NotPrinted as error:
        streams.give_up(sys.stdout)
        _report_error(error)
        return 2


def _run(args: argparse.Namespace) -> int:
    try:
        with quietly(args.quiet):
            args.run(args)
    except KeyboardInterrupt:
        return 130
    except (BrokenPipeError, streams.NotPrinted):
        raise
    except (ValueError, OSError) as error:
        if args.debug:
            raise
        _report_error(error)
        return 2
    return 0


def _report_error(error: ValueError | OSError) -> None:
    report_error(f"bertloss: error: {' '.join(_message(error).split())}")


def _message(error: ValueError | OSError) -> str:
    """What went wrong; if the system refused a file, the file's name comes first."""
    if not isinstance(error, OSError):
        return str(error)
    named = error.filename is not None and error.strerror is not None
    message = f"{error.filename}: {error.strerror}" if named else str(error)
    return f"{message}; make room, and run the same command again" if error.errno in NO_ROOM else message


def argument_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands."""
    parser = argparse.ArgumentParser(prog="bertloss", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback if there is an error")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add_command in COMMANDS:
        add_command(subparsers)
    return parser


if __name__ == "__main__":
    sys.exit(main())
