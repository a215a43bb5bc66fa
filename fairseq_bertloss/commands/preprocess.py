"""Subcommands that prepare text for fairseq: vocabulary, prepare, homeassistant."""

import argparse

from fairseq_bertloss.commands.common import (
    add_command,
    add_destdir,
    add_languages,
    add_lm,
    report,
    report_folder,
    report_pairs,
    warn,
)
from fairseq_bertloss.corpus.settings import Settings


def add_vocabulary(subparsers) -> None:
    """Adds the parser of `bertloss vocabulary`."""
    summary = "write the vocabulary of a language model as a dictionary of fairseq"
    parser = add_command(
        subparsers,
        "vocabulary",
        summary,
        run_vocabulary,
        reads="a language model's tokenizer",
        writes="a dictionary, for fairseq-preprocess --tgtdict",
        example="bertloss vocabulary --lm bert-base-uncased --output dict.en.txt",
    )
    add_lm(parser, "whose vocabulary is written")
    parser.add_argument(
        "--output", required=True, metavar="DICT", help="file to write, for fairseq-preprocess --tgtdict"
    )


def run_vocabulary(args: argparse.Namespace) -> None:
    """Writes a language model's whole vocabulary and reports its size."""
    from fairseq_bertloss.language_model.vocabulary import dictionary_symbols, load_tokenizer, write_dictionary

    symbols = dictionary_symbols(load_tokenizer(args.lm))
    write_dictionary(args.output, symbols)
    report(f"{args.output}: {len(symbols)} symbols (fairseq adds its four special ones)")


def add_prepare(subparsers) -> None:
    """Adds the parser of `bertloss prepare`."""
    summary = "turn raw parallel text into a folder for fairseq-train"
    parser = add_command(
        subparsers,
        "prepare",
        summary,
        run_prepare,
        reads="raw parallel text, one sentence a line",
        writes="a folder that fairseq-train reads, with the text as it was cut and a record of the settings",
        example="bertloss prepare --source train.de --target train.en --valid-source valid.de --valid-target valid.en "
        "--lm bert-base-uncased --source-lang de --target-lang en --destdir data",
    )
    add_raw_text(parser.add_argument_group("raw text (UTF-8, one sentence a line, plain or .gz)"))
    add_lm(parser, "whose word pieces the target is made of")
    add_languages(parser)
    add_destdir(parser)
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="number of processes; any number writes the same files (default: as many as so much text is worth)",
    )
    add_treatment(parser)


def add_raw_text(group: argparse._ArgumentGroup) -> None:
    """Adds the options that name the files to read."""
    group.add_argument("--source", required=True, metavar="FILE", help="source side of training")
    group.add_argument("--target", required=True, metavar="FILE", help="target side of training")
    for split, name in (("valid", "validation"), ("test", "test")):
        for side in ("source", "target"):
            group.add_argument(f"--{split}-{side}", metavar="FILE", help=f"{side} side of {name}")


def add_treatment(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say how the text is cut and which training pairs are kept."""
    parser.add_argument(
        "--lowercase", action="store_true", help="lower-case the source; the language model decides for the target"
    )
    parser.add_argument(
        "--merges",
        type=int,
        default=Settings.merges,
        metavar="N",
        help="BPE merges of the source (default: %(default)s)",
    )
    parser.add_argument(
        "--max-length",
        type=int,
        default=Settings.max_length,
        metavar="N",
        help="drop training pairs with more than N source words or target pieces (default: %(default)s)",
    )
    parser.add_argument(
        "--max-ratio",
        type=float,
        metavar="R",
        help="drop training pairs with more than R times as many source words as target pieces, or the reverse "
        "(default: keep them)",
    )
    parser.add_argument(
        "--observed-vocabulary",
        action="store_true",
        help="limit the target dictionary to the pieces seen in training (default: all pieces of the language model)",
    )
    parser.add_argument(
        "--expected-pairs", type=int, metavar="N", help="report how far the number of training pairs is from N"
    )


def run_prepare(args: argparse.Namespace) -> None:
    """Prepares a corpus and reports how many pairs were read, kept and dropped."""
    from fairseq_bertloss.corpus.prepare import prepare, worthwhile_workers
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
    workers = worthwhile_workers(corpora) if args.workers is None else args.workers
    record, is_new = prepare(settings, corpora, args.destdir, workers, args.overwrite)
    report_folder(args.destdir, is_new)
    for split, counts in record["counts"].items():
        report(split_summary(split, **counts))
    if args.expected_pairs:
        for line in size_differences(record["counts"]["train"], args.expected_pairs):
            report(line)


def size_differences(counts: dict[str, int], expected: int) -> list[str]:
    """Two lines: how far the training pairs are from the expected number after --max-length, and after --max-ratio."""
    sizes = {"after --max-length": counts["kept"] + counts["uneven"], "after --max-ratio": counts["kept"]}
    return [
        f"train: {size} pairs {step}, expected {expected}: {size - expected:+d} ({(size - expected) / expected:+.1%})"
        for step, size in sizes.items()
    ]


def split_summary(split: str, read: int, kept: int, **unfit: int) -> str:
    """One line on a split: the pairs dropped from training, or the unfit ones kept in an evaluation set."""
    from fairseq_bertloss.corpus.prepare import in_words

    reasons = in_words(unfit)
    if split == "train":
        return f"{split}: {kept} of {read} pairs kept" + (f"; dropped: {reasons}" if reasons else "")
    warning = "; warning: " if unfit["empty_source"] or unfit["empty_target"] else "; "
    return f"{split}: {kept} pairs" + (f"{warning}{reasons}, all kept" if reasons else "")


def add_homeassistant(subparsers) -> None:
    """Adds the parser of `bertloss homeassistant`."""
    summary = "extract raw parallel text, sentences of a user interface, from a wheel of Home Assistant"
    parser = add_command(
        subparsers,
        "homeassistant",
        summary,
        run_homeassistant,
        reads="the wheel of Home Assistant 2026.2.3",
        writes="a folder with train, valid and test, one file a language",
        example="bertloss homeassistant homeassistant-2026.2.3-py3-none-any.whl --source-lang de --target-lang en "
        "--destdir corpus",
        is_listed=False,
    )
    parser.add_argument(
        "wheel",
        metavar="WHEEL",
        help="the wheel, downloaded by 'pip download --no-deps --ignore-requires-python homeassistant==2026.2.3'",
    )
    add_languages(parser)
    add_destdir(parser)


def run_homeassistant(args: argparse.Namespace) -> None:
    """Writes the wheel's parallel sentences and reports how many there are."""
    from fairseq_bertloss.corpus.homeassistant import extract

    record, is_new = extract(args.wheel, args.source_lang, args.target_lang, args.destdir, args.overwrite)
    report_folder(args.destdir, is_new)
    report_pairs(record["counts"])
