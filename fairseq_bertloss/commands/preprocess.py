"""Subcommands that prepare text for fairseq: vocabulary, prepare, homeassistant."""

import argparse
import os

from fairseq_bertloss.commands.common import add_destdir, add_languages, add_lm, report, report_folder, warn


def add_vocabulary(subparsers) -> None:
    """`bertloss vocabulary`."""
    parser = subparsers.add_parser("vocabulary", help="write a language model's vocabulary as fairseq's dict.txt")
    add_lm(parser)
    parser.add_argument("--output", required=True, metavar="DICT", help="file for fairseq-preprocess --tgtdict")
    parser.set_defaults(run=run_vocabulary)


def run_vocabulary(args: argparse.Namespace) -> None:
    """Writes the dictionary of a language model's whole vocabulary."""
    from fairseq_bertloss.language_model.vocabulary import dictionary_symbols, load_tokenizer, write_dictionary

    symbols = dictionary_symbols(load_tokenizer(args.lm))
    write_dictionary(args.output, symbols)
    report(f"{args.output}: {len(symbols)} symbols (fairseq adds its four specials)")


def add_prepare(subparsers) -> None:
    """`bertloss prepare`."""
    parser = subparsers.add_parser("prepare", help="turn raw parallel text into a folder for fairseq-train")
    files = parser.add_argument_group("raw text, one sentence a line, UTF-8, plain or .gz")
    files.add_argument("--source", required=True, metavar="FILE", help="training source")
    files.add_argument("--target", required=True, metavar="FILE", help="training target")
    for split in ("valid", "test"):
        files.add_argument(f"--{split}-source", metavar="FILE")
        files.add_argument(f"--{split}-target", metavar="FILE")
    add_lm(parser)
    add_languages(parser)
    add_destdir(parser)
    parser.add_argument(
        "--lowercase", action="store_true", help="lower-case the source; the language model decides for the target"
    )
    parser.add_argument("--merges", type=int, default=32000, help="BPE merges of the source (%(default)s)")
    parser.add_argument(
        "--max-length",
        type=int,
        default=175,
        help="drop training pairs with more source words or target pieces (%(default)s)",
    )
    parser.add_argument(
        "--max-ratio",
        type=float,
        help="drop training pairs with more than so many times as many words as pieces, or the other way (any number)",
    )
    parser.add_argument(
        "--observed-vocabulary",
        action="store_true",
        help="target dictionary of the pieces seen in training, not of the language model's whole vocabulary",
    )
    parser.add_argument(
        "--expected-pairs", type=int, metavar="N", help="report how far the number of training pairs is from this"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=min(8, os.cpu_count() or 1),
        help="processes (%(default)s); any number gives the same files",
    )
    parser.set_defaults(run=run_prepare)


def run_prepare(args: argparse.Namespace) -> None:
    """Prepares a corpus and reports what was read, kept and dropped."""
    from fairseq_bertloss.corpus.prepare import Settings, prepare
    from fairseq_bertloss.corpus.source import rules_warning, spaces_warning

    corpora = {"train": (args.source, args.target)}
    for split in ("valid", "test"):
        paths = getattr(args, f"{split}_source"), getattr(args, f"{split}_target")
        if any(paths):
            if not all(paths):
                raise ValueError(f"--{split}-source and --{split}-target go together")
            corpora[split] = paths
    settings = Settings(
        source_lang=args.source_lang,
        target_lang=args.target_lang,
        lm=args.lm,
        lowercase=args.lowercase,
        merges=args.merges,
        max_length=args.max_length,
        max_ratio=args.max_ratio,
        observed_vocabulary=args.observed_vocabulary,
    )
    warn(rules_warning(args.source_lang), spaces_warning(args.source_lang))
    record, is_new = prepare(settings, corpora, args.destdir, args.workers, args.overwrite)
    report_folder(args.destdir, is_new)
    for split, counts in record["counts"].items():
        report(split_summary(split, **counts))
    if args.expected_pairs:
        for line in size_differences(record["counts"]["train"], args.expected_pairs):
            report(line)


def size_differences(counts: dict[str, int], expected: int) -> list[str]:
    """How many training pairs there are beside how many there should be, before and after --max-ratio."""
    sizes = {"after --max-length": counts["kept"] + counts["uneven"], "after --max-ratio": counts["kept"]}
    return [
        f"train: {size} pairs {step}, expected {expected}: {size - expected:+d} ({(size - expected) / expected:+.1%})"
        for step, size in sizes.items()
    ]


def split_summary(split: str, read: int, kept: int, **unfit: int) -> str:
    """One line on a split: what was dropped from training, or what is empty in an evaluation set."""
    from fairseq_bertloss.corpus.prepare import in_words

    reasons = in_words(unfit)
    if split == "train":
        return f"{split}: {kept} of {read} pairs kept" + (f"; dropped: {reasons}" if reasons else "")
    warning = "; warning: " if unfit["empty_source"] or unfit["empty_target"] else "; "
    return f"{split}: {kept} pairs" + (f"{warning}{reasons}, all kept" if reasons else "")


def add_homeassistant(subparsers) -> None:
    """`bertloss homeassistant`."""
    parser = subparsers.add_parser("homeassistant", help="extract real parallel text from a homeassistant wheel")
    parser.add_argument("wheel", help="homeassistant-*.whl, from 'pip download --no-deps homeassistant==2024.3.3'")
    add_languages(parser)
    add_destdir(parser)
    parser.set_defaults(run=run_homeassistant)


def run_homeassistant(args: argparse.Namespace) -> None:
    """Writes the wheel's parallel strings and reports how many there are."""
    from fairseq_bertloss.corpus.homeassistant import extract

    record, is_new = extract(args.wheel, args.source_lang, args.target_lang, args.destdir, args.overwrite)
    report_folder(args.destdir, is_new)
    report(", ".join(f"{split}: {count} pairs" for split, count in record["counts"].items()))
