"""Writes configs/*.yaml, for fairseq-hydra-train, from the options in configs/*.flags, which are the ones to edit.

python scripts/hydra_configs.py
"""

from argparse import Namespace
from dataclasses import dataclass, fields
from pathlib import Path

import yaml
from fairseq import options
from fairseq.dataclass.configs import CheckpointConfig, DatasetConfig, OptimizationConfig
from fairseq.registry import REGISTRIES
from fairseq.tasks import TASK_DATACLASS_REGISTRY

import fairseq_bertloss

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
TASK = "translation"
NAMES = {
    "arch": "model",
    "task": "task",
    "criterion": "criterion",
    "optimizer": "optimizer",
    "lr_scheduler": "lr_scheduler",
}
"""The section that each of these options names the class of; Hydra calls all of them `_name`."""
OPEN = {
    "common": {"user_dir": "???"},
    "task": {"data": "???", "eval_bleu_detok_args": "???"},
    "checkpoint": {"save_dir": "checkpoints"},
}
"""What every call sets, section by section; `???` is Hydra's word for a value without which nothing runs."""
OPEN_IN_FINE_TUNING = {
    "criterion": {"bert_model": "???", "bert_layer": None},
    "checkpoint": {"finetune_from_model": "???"},
}
"""What every call of a fine-tuning sets besides; the layer, where bert-score knows none for the model."""


@dataclass(frozen=True)
class Experiment:
    """A file for fairseq-hydra-train, from the same files as a call of fairseq-train.

    Attributes:
        comment: its first lines.
        flags: names of files in configs/.
        more: further options.
        fine_tuning: whether it goes on from a baseline.
    """

    comment: str
    flags: list[str]
    more: tuple[str, ...] = ()
    fine_tuning: bool = False


EXPERIMENTS = {
    "baseline": Experiment(
        """\
The baseline: cross-entropy until validation BLEU has not risen for three epochs.

    fairseq-hydra-train --config-dir configs --config-name baseline common.user_dir=$PWD/fairseq_bertloss \\
      task.data=$PWD/data checkpoint.save_dir=$PWD/baseline \\
      task.eval_bleu_detok_args='"{\\"word_pieces_lm\\": \\"bert-base-uncased\\"}"'

The decoder's input and output embeddings are not tied. weight_decay is that of the authors' command lines; the
paper's text has 0.001. fairseq leaves out up to seven sentences of a set unless required_batch_size_multiple is 1.
""",
        ["training", "pairs", "cross_entropy", "baseline"],
    ),
    "paper": Experiment(
        """\
Fine-tuning with BERTScore as the paper does it: the baseline's settings but for the criterion and the learning rate.
soft_prediction can be softmax or sparsemax as well. The command is that of recipe.yaml.

Warm-up is the baseline's too, so that the rate stays below 1.5e-5 for the first 1,200 updates, where the paper's
validation scores peak. The control is baseline.yaml with this learning rate and this start.
""",
        ["training", "pairs", "paper", "bertscore"],
        ("--soft-prediction", "gumbel_softmax"),
        fine_tuning=True,
    ),
    "recipe": Experiment(
        """\
Fine-tuning by the recipe: minimum risk mixed with cross-entropy.

    fairseq-hydra-train --config-dir configs --config-name recipe ... criterion.bert_model=bert-base-uncased \\
      checkpoint.finetune_from_model=$PWD/baseline/checkpoint_best.pt

Without dropout, the model that learns is the one that candidates are drawn from. The control is baseline.yaml with
this learning rate, its schedule, this dropout and this start. docs/results.md has measured this rate with 300 updates
of a small model; no other rate was tried at this model's size.
""",
        ["training", "pairs", "finetuning", "bertscore", "recipe"],
        fine_tuning=True,
    ),
}


def text(experiment: Experiment) -> str:
    """A file's text: where its values come from, its comment, and its sections."""
    files = " ".join(f"{name}.flags" for name in experiment.flags)
    comment = f"Written by scripts/hydra_configs.py; edit {files}\n\n{experiment.comment}"
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    sections = [yaml.safe_dump({name: values}, sort_keys=False) for name, values in _sections(experiment).items()]
    return "\n".join([*lines, "", *sections])


def _sections(experiment: Experiment) -> dict[str, dict]:
    """The values of each section: those of the options that are given, and those that every call sets."""
    words = ["--task", TASK]
    for name in experiment.flags:
        words += (CONFIGS / f"{name}.flags").read_text(encoding="utf-8").split()
    words += experiment.more
    args = options.parse_args_and_arch(options.get_training_parser(), ["???", *words])
    sections = {section: {} for section in (*NAMES.values(), "optimization", "dataset", "checkpoint", "common")}
    for word in words:
        name = word.removeprefix("--").replace("-", "_")
        if name in NAMES:
            sections[NAMES[name]]["_name"] = getattr(args, name)
        elif word.startswith("--"):
            sections[_section(name, args)][name] = getattr(args, name)
    for left_open in (OPEN, OPEN_IN_FINE_TUNING if experiment.fine_tuning else {}):
        for section, values in left_open.items():
            sections[section] |= values
    return sections


def _section(option: str, args: Namespace) -> str:
    """The section that an option is in; what no other has is the model's."""
    sections = {"optimization": OptimizationConfig, "dataset": DatasetConfig, "checkpoint": CheckpointConfig}
    sections["task"] = TASK_DATACLASS_REGISTRY[args.task]
    for section in ("criterion", "optimizer", "lr_scheduler"):
        sections[section] = REGISTRIES[section]["dataclass_registry"][getattr(args, section)]
    found = (section for section, known in sections.items() if option in {field.name for field in fields(known)})
    return next(found, "model")


def main() -> None:
    for name, experiment in EXPERIMENTS.items():
        (CONFIGS / f"{name}.yaml").write_text(text(experiment), encoding="utf-8")


fairseq_bertloss.register()

if __name__ == "__main__":
    main()
