"""The trainings of gpu.sh, each at the paper's size and on the data of gpu_pack.py.

    python3 benchmarks/gpu_experiment.py STAGE WORK OUT [--tiny]

`baseline` learns until its time is up, its learning rate falling to zero by then. The others go on from it: `updates`
times single updates; `experiment` fine-tunes the paper's rows, the recipe and both controls, all for as many updates as
the recipe makes in its time, and translates the test set. `medium` trains baselines of effect_sizes.py's size of that
name, whose weights come back in half precision. WORK holds the unpacked data and what is trained, OUT what is to be
looked at. --tiny is for a CPU: it shows that all of this runs.
"""

import argparse
import gzip
import io
import json
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import effect_rows
import effect_sizes
import effect_training
import gpu_pack
import torch
import updates
from forked_fairseq import Command, run

import fairseq_bertloss
from fairseq_bertloss.checkpoints.loading import LAST, load
from fairseq_bertloss.files import whole

BENCHMARKS = Path(__file__).resolve().parent
PLUGIN = BENCHMARKS.parent / "fairseq_bertloss"
BY_TIME = BENCHMARKS / "annealing_by_time"

RECIPE = "mix-0.2"
KINDS = ("softmax", "sparsemax", "gumbel_softmax")
"""The paper's rows."""

RATE = "1e-4"
"""The learning rate of fine-tuning."""

CHUNK = 15_000_000
"""Bytes of the files that weights come back in."""


@dataclass(frozen=True)
class Scale:
    """How much is computed, and where; options are fairseq-train's unless their name says otherwise."""

    model: str
    medium: str
    training: str
    baseline: str
    fine_tuning: str
    updates: str
    generation: str  # fairseq-generate's
    rounds: int  # of `updates`,
    rounds_seconds: float  # of which none begins that would hardly end within this time
    rows: tuple[str, ...]  # of effect_rows.py, the recipe last
    timed: dict[str, str]  # the rows of `updates`, and which of effect_rows.py they are
    most_updates: int  # of a fine-tuning
    at_once: int  # trainings or translations


NO_CHECKPOINTS = "--no-save --disable-validation --log-interval 1"
ONE_CHECKPOINT = f"--save-interval 1000000 --save-interval-updates 0 {effect_sizes.WITHOUT_OPTIMIZER}"
FULL = Scale(
    model=effect_sizes.SIZES["paper"].model,
    medium=effect_sizes.SIZES["medium"].model,
    training=f"{effect_sizes.TRAINING} --fp16 --num-workers 2 {ONE_CHECKPOINT}",
    # Four of the paper's batches at once, and the square root of that times its rate, less a little: there is no time
    # for a second try.
    baseline="--max-tokens 16384 --lr 8e-4 --warmup-updates 800 --clip-norm 1 --log-interval 50",
    fine_tuning="--max-tokens 8192",
    updates="--max-tokens 4096 --max-update 12",
    generation="--max-tokens 12288 --fp16",
    rounds=3,
    rounds_seconds=75,
    rows=(effect_rows.CONTROL, effect_rows.STRONG_CONTROL, *KINDS, RECIPE),
    timed={"cross-entropy": effect_rows.CONTROL, **{kind: kind for kind in KINDS}, "risk": RECIPE},
    most_updates=300,
    at_once=7,
)
TINY = Scale(
    model="""--arch transformer_iwslt_de_en --encoder-layers 2 --decoder-layers 2 --encoder-embed-dim 32
        --decoder-embed-dim 32 --encoder-ffn-embed-dim 32 --decoder-ffn-embed-dim 32 --dropout 0.3""",
    medium="""--arch transformer_iwslt_de_en --encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 32
        --decoder-embed-dim 32 --encoder-ffn-embed-dim 32 --decoder-ffn-embed-dim 32
        --share-decoder-input-output-embed""",
    training=f"{effect_sizes.TRAINING} {ONE_CHECKPOINT}",
    baseline="--max-tokens 512 --lr 1e-2 --warmup-updates 10 --log-interval 10",
    fine_tuning="--max-tokens 256",
    updates="--max-tokens 256 --max-update 4",
    generation="--max-tokens 512 --max-len-b 20",
    rounds=1,
    rounds_seconds=30,
    rows=(effect_rows.STRONG_CONTROL, RECIPE),
    timed={"cross-entropy": effect_rows.CONTROL, "risk": RECIPE},
    most_updates=3,
    at_once=2,
)


class Experiment:
    """The trainings on one pack, in one folder."""

    def __init__(self, scale: Scale, work: Path, out: Path):
        self._scale = scale
        self._work = work
        self._out = out
        self._data = work / gpu_pack.DATA
        self._lm = work / gpu_pack.LM
        # The last layer is the scoring one.
        self._layer = json.loads((self._lm / "config.json").read_text(encoding="utf-8"))["num_hidden_layers"]

    def baseline(self, seconds: float) -> str:
        """Trains the baseline that all go on from, and writes its log."""
        command = self._from_nothing(effect_rows.BASELINE, self._scale.model, 1, seconds)
        self._train(command)
        log = effect_training.records(command.log)
        write(self._out / "baseline.json", self._run(effect_rows.BASELINE, command, log))
        return f"{_told(log)} in {seconds:g} s, {self._hardware()}"

    def updates(self) -> str:
        """Times single updates of each row, in turns."""
        logs = []
        longest = 0.0
        begin = time.monotonic()
        for number in range(1, self._scale.rounds + 1):
            start = time.monotonic()
            if start - begin + longest > self._scale.rounds_seconds:
                break
            for name, row in self._scale.timed.items():
                log = self._work / "updates" / f"{name}-{number}.log"
                options = [*self._row(row, 1), *self._scale.updates.split(), *NO_CHECKPOINTS.split()]
                run([self._training(log.parent, self._scale.model, 1, options, log)])
                logs.append(str(log))
            longest = max(longest, time.monotonic() - start)
        return f"{self._hardware()}, {self._scale.updates}\n\n{updates.summary(updates.by_row(logs))}"

    def experiment(self, seconds: float) -> str:
        """Fine-tunes and translates: the recipe first, whose number of updates in its time is everyone's."""
        *rows, last = self._scale.rows
        recipe = self._fine_tuning(last, self._scale.most_updates, f"--stop-time-hours {seconds / 3600}")
        self._train(recipe)
        number = _updates(effect_training.records(recipe.log))
        others = [self._fine_tuning(row, number) for row in rows]
        self._train(*others)
        systems = {effect_rows.BASELINE: self._work / effect_rows.BASELINE}
        systems |= {row: self._work / row for row in self._scale.rows}
        translations = {row: self._translation(folder) for row, folder in systems.items()}
        run(list(translations.values()), self._scale.at_once)
        kept = [json.loads((self._out / "baseline.json").read_text(encoding="utf-8"))]
        kept += [
            self._run(f"{command.log.parent.name}@{RATE}x{number}", command, effect_training.records(command.log))
            for command in (*others, recipe)
        ]
        for row, command in translations.items():
            with whole(self._out / f"experiment.{row}.out.gz") as (partial,):
                partial.write_bytes(gzip.compress(command.log.read_bytes()))
        write(self._out / "experiment.json", kept)
        return f"{number} updates of each row, {self._hardware()}"

    def medium(self, seeds: list[int], seconds: float) -> str:
        """Trains baselines of the medium size, and brings their weights into files of half precision."""
        commands = [self._from_nothing(f"medium-{seed}", self._scale.medium, seed, seconds) for seed in seeds]
        self._train(*commands)
        said = []
        for seed, command in zip(seeds, commands, strict=True):
            log = effect_training.records(command.log)
            weights = in_half_precision(command.log.parent / LAST)
            for number, start in enumerate(range(0, len(weights), CHUNK)):
                part = self._out / f"medium.{seed}.pt.{number:02}"
                part.write_bytes(weights[start : start + CHUNK])
            write(self._out / f"medium.{seed}.json", self._run(effect_rows.BASELINE, command, log, seed))
            said.append(f"seed {seed}: {_told(log)}")
        return "\n".join(said)

    def _train(self, *commands: Command) -> None:
        """Trainings from their start, whatever interrupted ones have left."""
        for command in commands:
            shutil.rmtree(command.log.parent, ignore_errors=True)
        run(commands, self._scale.at_once)

    def _from_nothing(self, name: str, model: str, seed: int, seconds: float) -> Command:
        """A training until the time is up."""
        options = [*effect_rows.CROSS_ENTROPY.split(), *self._scale.baseline.split(), "--lr-scheduler",
                   BY_TIME.name, "--stop-time-hours", seconds / 3600, "--user-dir", BY_TIME]  # fmt: skip
        # Validated at its end alone.
        return self._training(self._work / name, model, seed, [*options, "--validate-interval", 1000000])

    def _fine_tuning(self, row: str, number: int, more: str = "") -> Command:
        options = [*self._row(row, number), *self._scale.fine_tuning.split(), *ONE_CHECKPOINT.split(), *more.split()]
        return self._training(self._work / row, self._scale.model, 1, options)

    def _row(self, row: str, number: int) -> list:
        """A row's options, for so many updates from the baseline."""
        options = effect_rows.options(f"{row}@{RATE}x{number}")
        if effect_rows.CROSS_ENTROPY not in " ".join(options):
            lm = ["--bert-model", self._lm, "--bert-layer", self._layer]
            options = ["--criterion", "bertscore_loss", *lm, *options]
        baseline = self._work / effect_rows.BASELINE / LAST
        if not baseline.exists():
            raise ValueError(f"there is no {baseline}: run the stage `baseline` first")
        return ["--finetune-from-model", baseline, *effect_sizes.FINE_TUNING.split(), *options]

    def _training(self, folder: Path, model: str, seed: int, options: list, log: Path | None = None) -> Command:
        arguments = [self._data, "--save-dir", folder, "--seed", seed, "--user-dir", PLUGIN, *model.split(),
                     *self._scale.training.split(), *options]  # fmt: skip
        return Command("train", arguments, log or folder / "train.log")

    def _translation(self, folder: Path) -> Command:
        arguments = [self._data, "--user-dir", PLUGIN, "--path", folder / LAST, "--gen-subset", "test", "--beam", 5,
                     "--required-batch-size-multiple", 1, "--tokenizer", "word_pieces",
                     "--word-pieces-lm", self._lm, *self._scale.generation.split()]  # fmt: skip
        return Command("generate", arguments, folder / "test.out")

    def _run(self, row: str, command: Command, log: list[dict], seed: int = 1) -> dict:
        """What is kept of a training, as effect_table.py reads it; gpu_scores.py adds the scores."""
        corpus = json.loads((self._data / gpu_pack.CORPUS).read_text(encoding="utf-8"))
        options = [str(part).replace(f"{self._work}/", "") for part in command.arguments]
        options = [part.replace(f"{BENCHMARKS.parent}/", "") for part in options]
        return {"row": row, "seed": seed, "decoding": effect_rows.BEAM_5, "corpus": corpus, "options": options,
                "log": log, "hardware": self._hardware()}  # fmt: skip

    def _hardware(self) -> str:
        """To be asked after the trainings, since it touches the GPU."""
        name = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
        return f"{name}, torch {torch.__version__}"


def in_half_precision(checkpoint: Path) -> bytes:
    """A checkpoint for --finetune-from-model: parameters in float16, and nothing of the training's course.

    Matrices that are the same stand there once: fairseq parts tied ones when it writes what was trained in half.
    """
    state = load(checkpoint)
    matrices: list[torch.Tensor] = []
    for name, value in state["model"].items():
        half = value.half() if value.is_floating_point() else value
        if half.dim() == 2:
            half = next((other for other in matrices if torch.equal(other, half)), half)
            matrices.append(half)
        state["model"][name] = half
    state["last_optimizer_state"] = None
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def write(path: Path, content) -> None:
    """Writes JSON, whole or not at all."""
    with whole(path) as (partial,):
        partial.write_text(json.dumps(content), encoding="utf-8")


def _updates(log: list[dict]) -> int:
    return int(max(record["train_num_updates"] for record in log if record["kind"] == "train"))


def _told(log: list[dict]) -> str:
    """How far a training has come."""
    *_, perplexity = (record["valid_ppl"] for record in log if record["kind"] == "valid")
    return f"{_updates(log)} updates, validation perplexity {perplexity:g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("baseline", "updates", "experiment", "medium"))
    parser.add_argument("work", type=Path, help="the unpacked data, and what is trained")
    parser.add_argument("out", type=Path, help="what is to be looked at")
    parser.add_argument("--seconds", type=float, help="of the training that ends by time")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of `medium`")
    parser.add_argument("--tiny", action="store_true", help="for a CPU")
    args = parser.parse_args()
    fairseq_bertloss.register()  # for the commands that are forked: a plug-in that is there is not imported again
    experiment = Experiment(TINY if args.tiny else FULL, args.work.resolve(), args.out)
    if args.stage == "updates":
        print(experiment.updates())
    elif args.stage == "medium":
        print(experiment.medium(args.seeds, args.seconds))
    else:
        print(getattr(experiment, args.stage)(args.seconds))


if __name__ == "__main__":
    try:
        main()
    except (ValueError, ChildProcessError) as error:
        sys.exit(f"gpu_experiment.py: {error}")
