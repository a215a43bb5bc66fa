"""What the subcommands that evaluate share: the options of metrics and results, and systems with names."""

import argparse
import itertools
import os
import sys
from collections.abc import Mapping, Sequence

from fairseq_bertloss.commands.common import add_lm
from fairseq_bertloss.commands.streams import check_stdout
from fairseq_bertloss.files import check_output

DASH = "-"
"""What stands for standard input on the command line."""


def add_evaluator(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say what the translations are scored against, and how."""
    parser.add_argument(
        "--reference",
        required=True,
        action="append",
        metavar="FILE",
        help="references: text, one a line, or fairseq-generate's output, whose T- lines are taken; plain or .gz, - "
        "for standard input; repeat the option for further references of the same sentences, blank where there is none",
    )
    add_lm(parser, "that scores")
    parser.add_argument(
        "--layer", type=int, metavar="N", help="layer of --lm that scores (default: bert-score's for this model)"
    )
    parser.add_argument("--lowercase", action="store_true", help="ignore case in BLEU and chrF")
    parser.add_argument(
        "--tokenized",
        action="store_true",
        help="compute BLEU as multi-bleu.perl does: words are what stands between spaces, and nothing is smoothed",
    )
    parser.add_argument("--moverscore-lm", metavar="NAME", help="language model of MoverScore (default: that of --lm)")
    parser.add_argument(
        "--moverscore-version",
        choices=("v1", "v2"),
        default="v2",
        help="version of the package moverscore to agree with (default: %(default)s)",
    )
    parser.add_argument(
        "--moverscore-idf", action="store_true", help="weight MoverScore's words by inverse document frequency"
    )
    parser.add_argument(
        "--word-pieces-lm",
        metavar="NAME",
        help="language model whose word pieces fairseq-generate's output may consist of (default: that of --lm); other "
        "output is text, or subwords with marks (@@, ▁), which are joined",
    )
    parser.add_argument(
        "--target-lang",
        metavar="CODE",
        help="language of the translations, which chooses the tokenizer of Chinese, Japanese, Thai and other languages "
        "without spaces (default: what fairseq-generate logged, or else told by the references' script)",
    )
    add_device(parser, "the language models")
    parser.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="sentences that a language model reads at once (default: as many as suit the metric and the device)",
    )


def add_device(parser: argparse.ArgumentParser, models: str) -> None:
    """Adds the option that says where models run, with what the help calls them."""
    parser.add_argument(
        "--device", metavar="NAME", help=f"device of {models}, such as cpu or cuda:1 (default: a GPU if any)"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds the option of a command that prints a table."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def add_results(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a command that prints a table of what `bertloss report` takes."""
    add_json(parser)
    parser.add_argument("--output", metavar="JSON", help="file to write, for `bertloss report`")


def check_results(args: argparse.Namespace) -> None:
    """Makes sure, before long work, that its results can be printed and written.

    Raises:
        ValueError: standard output is closed, or --output is no place for a file.
    """
    check_stdout()
    if args.output:
        check_output(args.output)


def evaluator(args: argparse.Namespace):
    """The Evaluator that the options of add_evaluator() describe.

    Raises:
        ValueError: a batch of no sentence, or no such device; as Evaluator.
    """
    from fairseq_bertloss.evaluation.metrics import Evaluator

    if args.batch_size is not None and args.batch_size < 1:
        raise ValueError(f"--batch-size must be at least 1, not {args.batch_size}")
    return Evaluator(
        args.lm,
        args.layer,
        lowercase=args.lowercase,
        tokenized=args.tokenized,
        moverscore_lm=args.moverscore_lm,
        moverscore_version=args.moverscore_version,
        moverscore_idf=args.moverscore_idf,
        word_pieces_lm=args.word_pieces_lm,
        target_lang=args.target_lang,
        device=device(args),
        batch_size=args.batch_size,
    )


def device(args: argparse.Namespace) -> str | None:
    """The device that add_device()'s option names; None where none is named.

    Raises:
        ValueError: there is no such device.
    """
    if args.device is None:
        return None

    import torch

    try:
        torch.zeros(1, device=args.device).item()
    except (RuntimeError, AssertionError, ImportError) as error:  # torch's without CUDA, or without a driver
        raise ValueError(f"--device {args.device} cannot be used here: {str(error).splitlines()[0]}") from error
    return args.device


def named_files(argument: str) -> tuple[str | None, list[str]]:
    """Splits NAME=FILE,FILE,... into the name, None if there is none, and the files.

    Files that are there may have = and , in their names.
    """
    name, equals, files = argument.partition("=")
    if not equals or all(map(_is_readable, _split(argument))):
        name, files = None, argument
    named = name, _split(files)
    if not all(named[1]):
        raise ValueError(f"{argument!r} names no file, or has a comma too many")
    return named


def _split(files: str) -> list[str]:
    """FILE,FILE,... at its commas, but not at those inside the names of files that are there."""
    parts = files.split(",")
    for end in range(len(parts), 1, -1):
        if _is_readable(own := ",".join(parts[:end])):
            return [own, *(_split(",".join(parts[end:])) if parts[end:] else [])]
    return [parts[0], *(_split(",".join(parts[1:])) if parts[1:] else [])]


def _is_readable(path: str) -> bool:
    return path == DASH or os.path.exists(path)


def with_standard_input(
    references: Sequence[str], systems: Mapping[str, list[str]]
) -> tuple[list[str], dict[str, list[str]]]:
    """The files of the references and those of the systems, with standard input for -.

    Raises:
        ValueError: - stands for several files, or standard input is closed.
    """
    times = [*references, *itertools.chain(*systems.values())].count(DASH)
    if times > 1:
        raise ValueError(f"{DASH}, standard input, can be read only once: it may stand for one file")
    if times and sys.stdin is None:
        raise ValueError(f"{DASH} stands for standard input, which is closed")

    from fairseq_bertloss.evaluation.hypotheses import STANDARD_INPUT

    def named(path: str) -> str:
        return STANDARD_INPUT if path == DASH else path

    return list(map(named, references)), {named(name): list(map(named, files)) for name, files in systems.items()}


def add_system(systems: dict, name: str, value) -> str:
    """Enters a system under its name, and returns the name.

    Raises:
        ValueError: the name is taken.
    """
    if name in systems:
        raise ValueError(f"two systems have the name {name!r}")
    systems[name] = value
    return name


def check_names(names: list[str]) -> None:
    """Refuses two systems of the same name."""
    entered = {}
    for name in names:
        add_system(entered, name, None)
