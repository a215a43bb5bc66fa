"""What several subcommands share: options, and lines for the user."""

import argparse
import sys

from fairseq_bertloss.commands.streams import give_up


def report(line: str) -> None:
    """Prints a line for the user to stderr, if it can be written; stdout is for results.

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
    """Says whether the folder was written or was there already."""
    report(f"{destdir}: {'written' if is_new else 'already prepared'}")


def warn(*warnings: str | None) -> None:
    """Reports the warnings that there are."""
    for warning in filter(None, warnings):
        report(warning)


def add_lm(parser: argparse.ArgumentParser) -> None:
    """The option that names the language model."""
    parser.add_argument("--lm", required=True, metavar="NAME", help="language model: hub name or local folder")


def add_languages(parser: argparse.ArgumentParser) -> None:
    """The options that name the language pair."""
    parser.add_argument("--source-lang", required=True, metavar="CODE", help="such as de, es, tr or zh")
    parser.add_argument("--target-lang", required=True, metavar="CODE", help="such as en")


def add_destdir(parser: argparse.ArgumentParser) -> None:
    """The options of a command that writes a folder."""
    parser.add_argument("--destdir", required=True, metavar="DIR", help="folder to write, whole or not at all")
    parser.add_argument("--overwrite", action="store_true", help="replace a folder that this command wrote")
