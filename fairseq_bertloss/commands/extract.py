"""The subcommand that reads raw corpora: extract."""

import argparse

from fairseq_bertloss.commands.common import (
    add_command,
    add_destdir,
    add_languages,
    report,
    report_folder,
    report_pairs,
    warn,
)


def add_extract(subparsers) -> None:
    """Adds the parser of `bertloss extract`."""
    summary = "extract raw parallel text from a corpus of TED talks (WIT3) or of plain files"
    parser = add_command(
        subparsers,
        "extract",
        summary,
        run_extract,
        reads="an archive or a folder of a corpus",
        writes="a folder with train, valid and test, one file a language",
        example="bertloss extract 2014-01.tgz --corpus wit3 --source-lang de --target-lang en --destdir corpus",
    )
    parser.add_argument(
        "path", metavar="PATH", help="corpus: archive or folder of WIT3, or folder of text files, gzipped or not"
    )
    parser.add_argument("--corpus", required=True, choices=("wit3", "plain"), help="format of the corpus")
    add_languages(parser)
    add_destdir(parser)
    parser.add_argument(
        "--moses-tokenized", action="store_true", help="detokenize the text, which Moses has tokenized (plain only)"
    )
    parser.add_argument(
        "--download", action="store_true", help="download the archive to PATH first, unless it is there (wit3 only)"
    )
    add_splits(parser.add_argument_group("training, validation and test"))


def add_splits(group: argparse._ArgumentGroup) -> None:
    """Adds the options that choose validation and test."""
    group.add_argument(
        "--valid-every", type=int, metavar="N", help="move every Nth training pair to the validation set"
    )
    group.add_argument("--valid", nargs="+", default=(), metavar="SET", help="sets for validation, such as dev2010")
    group.add_argument("--test", nargs="+", default=(), metavar="SET", help="sets for test, such as tst2010 tst2011")
    group.add_argument("--halve-valid", action="store_true", help="move every other validation pair to the test set")
    group.add_argument(
        "--at-most",
        nargs="+",
        type=split_size,
        default=(),
        metavar="SPLIT=N",
        help="keep at most N pairs of train, valid or test, evenly spaced",
    )
    group.add_argument(
        "--max-words", type=int, metavar="N", help="leave out every pair with more than N words on a side, in test too"
    )
    group.add_argument(
        "--disjoint",
        action="store_true",
        help="leave out of training what stands in validation or test, and out of validation what stands in test, on "
        "either side and whatever the case, accents and punctuation",
    )


def split_size(text: str) -> tuple[str, int]:
    """Parses train=6000."""
    split, separator, size = text.partition("=")
    if not separator or not size.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} does not have the form train=6000")
    return split, int(size)


def run_extract(args: argparse.Namespace) -> None:
    """Writes the splits of a corpus and reports how many pairs they have."""
    from fairseq_bertloss.corpus.extraction import Splits, extract
    from fairseq_bertloss.corpus.raw import TRAIN

    if len(dict(args.at_most)) < len(args.at_most):
        raise ValueError("--at-most names a split twice")
    splits = Splits(
        valid_every=args.valid_every,
        valid=tuple(args.valid),
        test=tuple(args.test),
        halve_valid=args.halve_valid,
        at_most=dict(args.at_most),
        max_words=args.max_words,
        disjoint=args.disjoint,
    )
    record, is_new = extract(open_corpus(args), splits, args.destdir, args.overwrite)
    report_folder(args.destdir, is_new)
    if record["empty_training_pairs"]:
        report(f"left out of training: {record['empty_training_pairs']} pairs with an empty side")
    for split, count in record.get("pairs_that_stand_elsewhere", {}).items():
        report(f"left out of {split}: {count} pairs that stand in {'validation or ' if split == TRAIN else ''}test")
    report_pairs(record["counts"])


def open_corpus(args: argparse.Namespace):
    """The corpus that the arguments name, downloaded first if they say so.

    Raises:
        ValueError: an option does not fit this kind of corpus, the download failed, or the corpus cannot be read.
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
