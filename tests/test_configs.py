"""configs/: the flags of fairseq-train and the Hydra files say the same, and what they say is the paper's model."""

import json
from pathlib import Path

import torch
from fairseq import options, tasks
from fairseq.data import Dictionary
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import OmegaConf
from training import PACKAGE, fairseq

import fairseq_bertloss.training.criterion  # noqa: F401, registers bertscore_loss
from fairseq_bertloss.checkpoints.loading import allow_fairseq_classes

CONFIGS = PACKAGE.parent / "configs"
SECTIONS = [
    "common", "task", "criterion", "optimizer", "lr_scheduler", "optimization", "dataset", "checkpoint",
    "distributed_training",
]  # fmt: skip
"""All that fairseq-train goes by but the model's, which are options of every kind in one and its own in the other."""

TINY = dict(layers=1, embed_dim=16, ffn_embed_dim=16, attention_heads=2)


def flags(*names: str) -> list[str]:
    """The options in files of configs/, in their order."""
    return [word for name in names for word in (CONFIGS / f"{name}.flags").read_text().split()]


def train_by_flags(files: list[str], data: Path, save_dir: Path, lm: str, *more: str) -> dict:
    """What fairseq-train left in its last checkpoint."""
    tiny = [word for side in ("encoder", "decoder") for key, value in TINY.items()
            for word in (f"--{side}-{key.replace('_', '-')}", str(value))]  # fmt: skip
    command = "--cpu --num-workers 0 --max-update 2 --disable-validation --seed 3".split()
    detok = ["--eval-bleu-detok-args", json.dumps({"word_pieces_lm": lm})]
    fairseq("train", data, "--save-dir", save_dir, *flags(*files), *tiny, *command, *detok, *more)
    return load(save_dir)


def train_by_hydra(name: str, data: Path, save_dir: Path, lm: str, *more: str) -> dict:
    """What fairseq-hydra-train left in its last checkpoint."""
    tiny = [f"++model.{side}_{key}={value}" for side in ("encoder", "decoder") for key, value in TINY.items()]
    command = (
        f"common.user_dir={PACKAGE} task.data={data} checkpoint.save_dir={save_dir} hydra.run.dir={save_dir}".split()
    )
    command += ["++common.cpu=true", "++common.seed=3", "++dataset.num_workers=0", "++dataset.disable_validation=true"]
    detok = "task.eval_bleu_detok_args=" + json.dumps(json.dumps({"word_pieces_lm": lm}))
    fairseq("hydra_train", "--config-dir", CONFIGS, "--config-name", name, *command, "++optimization.max_update=2",
            *tiny, detok, *more)  # fmt: skip
    return load(save_dir)


def load(save_dir: Path) -> dict:
    """A training's last checkpoint."""
    allow_fairseq_classes()
    return torch.load(save_dir / "checkpoint_last.pt")


def check_same(one: dict, other: dict):
    """The same configuration, section by section, and the same parameters to the last bit."""
    for state in (one, other):
        state["cfg"]["checkpoint"].pop("save_dir")
        state["cfg"]["criterion"].pop("save_dir", None)  # bertscore_loss reads it too
    for section in SECTIONS:
        assert other["cfg"][section] == one["cfg"][section], section
    assert one["model"].keys() == other["model"].keys()
    assert all(torch.equal(one["model"][key], other["model"][key]) for key in one["model"])


def test_flags_and_hydra_are_the_same_training(corpus, tiny_lm, tmp_path):
    lm = tiny_lm("bert")
    by_flags = train_by_flags(["training", "pairs", "cross_entropy", "baseline"], corpus, tmp_path / "flags", lm)
    check_same(by_flags, train_by_hydra("baseline", corpus, tmp_path / "hydra", lm))

    start = str(tmp_path / "flags" / "checkpoint_last.pt")
    more = ["--bert-model", lm, "--bert-layer", "2", "--finetune-from-model", start]
    theirs = [f"criterion.bert_model={lm}", "criterion.bert_layer=2", f"checkpoint.finetune_from_model={start}"]
    files = ["training", "pairs", "finetuning", "bertscore", "recipe"]
    by_flags = train_by_flags(files, corpus, tmp_path / "flags-2", lm, *more)
    check_same(by_flags, train_by_hydra("recipe", corpus, tmp_path / "hydra-2", lm, *theirs))
    papers = ["--soft-prediction", "gumbel_softmax"]
    by_flags = train_by_flags(
        ["training", "pairs", "paper", "bertscore"], corpus, tmp_path / "flags-3", lm, *papers, *more
    )
    check_same(by_flags, train_by_hydra("paper", corpus, tmp_path / "hydra-3", lm, *theirs))


def test_the_recipe_says_all_that_it_is_made_of():
    """Also what is a default today: another default is no other recipe."""
    line = ["data", "--arch", "transformer", "--criterion", "bertscore_loss", *flags("recipe")]
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), line))
    assert str(cfg.criterion.objective) == "risk" and cfg.model.dropout == 0
    hydra = OmegaConf.load(CONFIGS / "recipe.yaml")
    named = {option.removeprefix("--").replace("-", "_") for option in flags("recipe") if option.startswith("--")}
    assert named == hydra.criterion.keys() - {"_name", "bert_model", "bert_layer"} | {"dropout"}
    for name in named - {"dropout"}:
        assert str(cfg.criterion[name]) == str(hydra.criterion[name]), name


def test_the_model_is_the_papers(tmp_path):
    """79 million parameters with BERT's whole vocabulary (30,522) and 32,000 source subwords, nothing tied."""
    for language, size in (("de", 32000), ("en", 30522)):
        dictionary = Dictionary()
        for i in range(size - len(dictionary)):
            dictionary.add_symbol(f"s{i}")
        dictionary.save(str(tmp_path / f"dict.{language}.txt"))
    args = options.parse_args_and_arch(
        options.get_training_parser(),
        [
            str(tmp_path),
            "-s",
            "de",
            "-t",
            "en",
            *flags("training", "pairs", "cross_entropy", "baseline"),
            "--eval-bleu-detok-args",
            "{}",
        ],
    )
    args.eval_bleu = False
    model = tasks.setup_task(args).build_model(args)
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6) == 79
    assert model.decoder.embed_tokens.weight is not model.decoder.output_projection.weight
