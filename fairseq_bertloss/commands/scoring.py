"""What the subcommands that evaluate share: the options of the metrics, and systems with names."""

import argparse
import os

from fairseq_bertloss.commands.common import add_lm

FOR_REPORT = "file to write, for `bertloss report`"


def add_evaluator(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say what the translations are scored against, and how."""
    parser.add_argument(
        "--reference",
        required=True,
        metavar="FILE",
        help="references: text, one a line, or fairseq-generate's output, whose T- lines are taken",
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


def evaluator(args: argparse.Namespace):
    """The Evaluator that the options of add_evaluator() describe."""
    from fairseq_bertloss.evaluation.metrics import Evaluator

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
    )


def named_files(argument: str) -> tuple[str | None, list[str]]:
    """Splits NAME=FILE,FILE,... into the name, None if there is none, and the files."""
    if os.path.exists(argument):
        return None, [argument]
    name, equals, files = argument.partition("=")
    named = (name, files.split(",")) if equals else (None, argument.split(","))
    if not all(named[1]):
        raise ValueError(f"{argument!r} names no file, or has a comma too many")
    return named


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
