"""What several subcommands share: options, and lines for the user."""

import argparse
import os
import sys

from fairseq_bertloss.files import check_can_be_replaced


def report(line: str) -> None:
    """Prints a line for the user to stderr; stdout is for results."""
    print(line, file=sys.stderr)


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


def check_output(path: str) -> None:
    """Makes sure, before long work, that its result can be written."""
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise ValueError(f"--output {path}: there is no folder {folder}")
    check_can_be_replaced(path)
    if os.path.isdir(path):
        raise ValueError(f"--output {path} is a folder; it would be a file in one")
