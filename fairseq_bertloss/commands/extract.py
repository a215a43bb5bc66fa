"""The subcommand that reads raw corpora: extract."""

import argparse

from fairseq_bertloss.commands.common import add_destdir, add_languages, report, report_folder, warn


def add_extract(subparsers) -> None:
    """`bertloss extract`."""
    parser = subparsers.add_parser("extract", help="turn a corpus of TED talks or plain files into raw parallel text")
    parser.add_argument("path", metavar="PATH", help="archive or folder of WIT3, or folder of plain or gzipped text")
    parser.add_argument("--corpus", required=True, choices=("wit3", "plain"), help="how the corpus is stored")
    add_languages(parser)
    add_destdir(parser)
    parser.add_argument(
        "--moses-tokenized", action="store_true", help="plain: the text is in Moses' tokens; put it back together"
    )
    parser.add_argument(
        "--download", action="store_true", help="wit3: fetch the archive to PATH first, unless it is there"
    )
    add_splits(parser.add_argument_group("which pairs go where"))
    parser.set_defaults(run=run_extract)


def add_splits(group: argparse._ArgumentGroup) -> None:
    """The options that choose validation and test."""
    group.add_argument(
        "--valid-every", type=int, metavar="N", help="validation: every Nth training pair, out of training"
    )
    group.add_argument("--valid", nargs="+", default=(), metavar="SET", help="validation: these sets, such as dev2010")
    group.add_argument("--test", nargs="+", default=(), metavar="SET", help="test: these sets, such as tst2010 tst2011")
    group.add_argument("--halve-valid", action="store_true", help="test: every other pair of validation")
    group.add_argument(
        "--at-most",
        nargs="+",
        type=split_size,
        default=(),
        metavar="SPLIT=N",
        help="no more than N pairs of train, valid or test, taken from all over it",
    )


def split_size(text: str) -> tuple[str, int]:
    """Parses train=6000."""
    split, separator, size = text.partition("=")
    if not separator or not size.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form train=6000")
    return split, int(size)


def run_extract(args: argparse.Namespace) -> None:
    """Writes the corpus' splits and reports how many pairs they have."""
    from fairseq_bertloss.corpus.extraction import Splits, extract

    if len(dict(args.at_most)) < len(args.at_most):
        raise ValueError("--at-most names a split twice")
    splits = Splits(
        valid_every=args.valid_every,
        valid=tuple(args.valid),
        test=tuple(args.test),
        halve_valid=args.halve_valid,
        at_most=dict(args.at_most),
    )
    record, is_new = extract(open_corpus(args), splits, args.destdir, args.overwrite)
    report_folder(args.destdir, is_new)
    if record["empty_training_pairs"]:
        report(f"left out of training: {record['empty_training_pairs']} pairs with an empty side")
    report(", ".join(f"{split}: {count} pairs" for split, count in record["counts"].items()))


def open_corpus(args: argparse.Namespace):
    """The corpus that the arguments name, downloaded first where that is asked for.

    Raises:
        ValueError: an option is not for this kind of corpus; or as the download and the corpus.
    """
    if args.corpus == "plain":
        from fairseq_bertloss.corpus.plain import PlainText
        from fairseq_bertloss.corpus.source import rules_warning

        if args.download:
            raise ValueError("--download is for --corpus wit3")
        if args.moses_tokenized:
            warn(rules_warning(args.source_lang), rules_warning(args.target_lang))
        return PlainText(args.path, args.source_lang, args.target_lang, args.moses_tokenized)
    from fairseq_bertloss.corpus.download import download_pair
    from fairseq_bertloss.corpus.wit3 import Wit3

    if args.moses_tokenized:
        raise ValueError("--moses-tokenized is for --corpus plain: WIT3's text is not tokenized")
    if args.download and download_pair(args.path, args.source_lang, args.target_lang):
        report(f"{args.path}: downloaded")
    return Wit3(args.path, args.source_lang, args.target_lang)
