"""What several subcommands share: their parsers, common options, and messages for the user."""

import argparse
import logging
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fairseq_bertloss.commands.streams import give_up
from fairseq_bertloss.progress import is_shown, show_progress


def add_command(
    subparsers,
    name: str,
    summary: str,
    run: Callable[[argparse.Namespace], None],
    *,
    reads: str,
    writes: str,
    example: str,
    is_listed: bool = True,
) -> argparse.ArgumentParser:
    """The parser of a new subcommand.

    Args:
        subparsers: where it is added.
        name: what the user types.
        summary: what the command does, in the imperative, without a full stop.
        run: what does it.
        reads: what comes in.
        writes: what comes out.
        example: a command line to copy.
        is_listed: whether `bertloss --help` names the command.
    """
    what = f"{summary[0].upper()}{summary[1:]}."
    parser = subparsers.add_parser(
        name,
        **({"help": summary} if is_listed else {}),
        description="\n".join([what, "", *_hanging("reads:", reads), *_hanging("writes:", writes)]),
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("--quiet", action="store_true", help="print results and errors alone")
    return parser


def _wrapped(text: str, **more: str) -> list[str]:
    return textwrap.wrap(text, 96, break_long_words=False, break_on_hyphens=False, **more)


def _hanging(label: str, text: str) -> list[str]:
    """A paragraph whose further lines begin where its text does."""
    return _wrapped(text, initial_indent=label.ljust(8), subsequent_indent=" " * 8)


def quiet_fairseq() -> None:
    """Lets fairseq log warnings alone. It would log everything if it were imported before this is called."""
    logging.basicConfig(level=logging.WARNING)


@contextmanager
def quietly(quiet: bool) -> Iterator[None]:
    """Leaves out progress, reports and warnings in a with statement, if it is to be quiet."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        if quiet:
            warnings.simplefilter("ignore")
            logging.disable(logging.WARNING)
        show_progress(not quiet)
        try:
            yield
        finally:
            show_progress(True)
            logging.disable(before)


def report(line: str) -> None:
    """Prints a line for the user to stderr, unless that is to be quiet; stdout is for results.

    Raises:
        BrokenPipeError: nobody reads stderr any more.
    """
    if is_shown():
        report_error(line)


def report_error(line: str) -> None:
    """Prints a line for the user to stderr, if it can be written.

    Raises:
        BrokenPipeError: nobody reads stderr any more.
    """
    try:
        print(line, file=sys.stderr)
    except BrokenPipeError:
        raise
    except OSError:  # a full disk under a log is no reason to give up work
        give_up(sys.stderr)


def report_folder(destdir: str, is_new: bool) -> None:
    """Reports whether the folder was written now or was prepared already."""
    report(f"{destdir}: {'written' if is_new else 'already prepared'}")


def report_pairs(counts: dict[str, int]) -> None:
    """Reports how many pairs each split has."""
    report(", ".join(f"{split}: {count} pairs" for split, count in counts.items()))


def warn(*lines: str | None) -> None:
    """Reports warnings; None stands for none."""
    for warning in filter(None, lines):
        report(warning)


def add_lm(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Adds the option that names the language model.

    Args:
        parser: the command's.
        purpose: what the command needs the language model for, as a relative clause.
    """
    parser.add_argument(
        "--lm", required=True, metavar="NAME", help=f"language model {purpose}: hub name or local folder"
    )


def add_languages(parser: argparse.ArgumentParser) -> None:
    """Adds the options that name the language pair."""
    parser.add_argument(
        "--source-lang", required=True, metavar="CODE", help="code of the source language, such as de, es, tr or zh"
    )
    parser.add_argument("--target-lang", required=True, metavar="CODE", help="code of the target language, such as en")


def add_destdir(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a command that writes a folder."""
    parser.add_argument(
        "--destdir", required=True, metavar="DIR", help="folder to write; it appears once it is complete"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the folder if an earlier run of this command wrote it"
    )
