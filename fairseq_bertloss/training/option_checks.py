"""Which options of the criterion cannot be, alone or together."""

import logging
import math
from collections.abc import Iterable
from dataclasses import fields

from fairseq_bertloss.loss.temperature import TemperatureSchedule
from fairseq_bertloss.training.config import BERTScoreCriterionConfig
from fairseq_bertloss.training.reward_weights import BERTSCORE, MOVERSCORE, label, reward_weights
from fairseq_bertloss.training.sums import F_SUMS, REWARD, not_logged

logger = logging.getLogger(__name__)

OPTIONS_OF = {
    "soft": ("soft_prediction", "soft_temperature", "gumbel_hard", "free_running", "symbols_as"),
    "risk": (
        "candidates",
        "sampled_candidates",
        "reference_among_candidates",
        "risk_alpha",
        "reward",
        "reward_scale",
        "candidates_as",
        "raw_references",
        "unfinished_candidates",
        "best_candidate",
        "cache_candidates",
    ),
}
"""The objectives, and the options that have an effect with one of them alone."""

OPTIONS_OF_BERTSCORE = (
    "score",
    "reward_matching",
    "bert_idf",
    "rescale_with_baseline",
    "baseline_path",
    "lm_dtype",
    "cache_references",
    "candidates_as",
)
"""Options that have no effect where BERTScore is no reward."""


def check(cfg: BERTScoreCriterionConfig) -> None:
    """Raises ValueError for options that cannot be, or that have no effect beside the others.

    A recipe goes with any reward: BERTScore's options that have none are logged.
    """
    _check_values(cfg)
    _check_effects(cfg)
    _check_best_checkpoint_metric(cfg)
    _check_candidates(cfg)
    if cfg.soft_temperature:
        TemperatureSchedule.parse(cfg.soft_temperature)  # raises for what it cannot read
    _say_idle(cfg)


def _check_values(cfg: BERTScoreCriterionConfig) -> None:
    if not cfg.bert_model and needs_bert_model(cfg):
        raise ValueError("--criterion bertscore_loss needs --bert-model: a hub name or a folder")
    if not 0 <= cfg.cross_entropy_weight <= 1:
        raise ValueError(f"--cross-entropy-weight must lie between 0 and 1, not {cfg.cross_entropy_weight}")
    if not 0 <= cfg.label_smoothing < 1:
        raise ValueError(f"--label-smoothing must lie between 0 and 1, not {cfg.label_smoothing}")
    if cfg.chunk_tokens is not None and cfg.chunk_tokens < 1:
        raise ValueError(f"--chunk-tokens must be at least 1, not {cfg.chunk_tokens}")
    if str(cfg.ddp_backend) == "fully_sharded":
        raise ValueError(
            "--ddp-backend fully_sharded is not supported: the loss reads the output layer, of which each worker would "
            "hold a part; take legacy_ddp or c10d"
        )


def needs_bert_model(cfg: BERTScoreCriterionConfig) -> bool:
    """Whether something reads --bert-model: not where all rewards are others, and validation has its own."""
    rewarded = str(cfg.objective) == "soft" or not {BERTSCORE, MOVERSCORE}.isdisjoint(reward_weights(cfg.reward))
    return rewarded or ((cfg.eval_f_bert or cfg.eval_moverscore) and not cfg.eval_bert_model)


def _check_effects(cfg: BERTScoreCriterionConfig) -> None:
    """Raises ValueError for an option of another objective that is not at its default."""
    chosen = str(cfg.objective)
    without_effect = {
        name: f"--objective {objective}"
        for objective, names in OPTIONS_OF.items()
        if objective != chosen
        for name in names
    }
    if chosen == "soft" and not cfg.free_running:
        without_effect["candidate_generation_args"] = "--objective risk or --free-running"
    for name, option in _given(cfg, without_effect).items():
        raise ValueError(
            f"{option} does nothing with --objective {chosen}: leave it out, or add {without_effect[name]}"
        )


def _say_idle(cfg: BERTScoreCriterionConfig) -> None:
    """Logs the options of BERTScore where that is no reward."""
    idle = {} if BERTSCORE in reward_weights(cfg.reward) else _given(cfg, OPTIONS_OF_BERTSCORE)
    if idle:
        logger.info(f"without effect, as BERTScore is no part of --reward {cfg.reward}: {', '.join(idle.values())}")


def _given(cfg: BERTScoreCriterionConfig, names: Iterable[str]) -> dict[str, str]:
    """Those of some options that are not at their defaults: name -> as the command line has it."""
    options = {option.name: option for option in fields(BERTScoreCriterionConfig)}
    return {
        name: options[name].metadata.get("argparse_alias", f"--{name.replace('_', '-')}")
        for name in names
        if getattr(cfg, name) != options[name].default
    }


def _maximised(cfg: BERTScoreCriterionConfig) -> str:
    """The options that say what is maximised."""
    reward = "" if BERTSCORE in reward_weights(cfg.reward) else f" --reward {cfg.reward}"
    return f"--objective {cfg.objective}{reward}"


def _check_best_checkpoint_metric(cfg: BERTScoreCriterionConfig) -> None:
    """Raises ValueError for a metric that only another objective or reward logs."""
    chosen = str(cfg.objective)
    metric = cfg.best_checkpoint_metric
    translated = ("f_bert", "p_bert", "r_bert") if cfg.eval_f_bert else ()
    without_bertscore = () if BERTSCORE in reward_weights(cfg.reward) else F_SUMS
    if metric in not_logged(chosen).union(without_bertscore).difference(translated) or _is_of_another_reward(cfg):
        raise ValueError(
            f"--best-checkpoint-metric {metric} is not logged with {_maximised(cfg)}: add --eval-f-bert and take "
            "f_bert, or take another metric of the log"
        )


def _is_of_another_reward(cfg: BERTScoreCriterionConfig) -> bool:
    """Whether the best checkpoint is to be chosen by a reward that is none of those that are given."""
    logged = [REWARD + label(name) for name in reward_weights(cfg.reward)] if str(cfg.objective) == "risk" else []
    return cfg.best_checkpoint_metric.startswith(REWARD) and cfg.best_checkpoint_metric not in logged


def _check_candidates(cfg: BERTScoreCriterionConfig) -> None:
    if cfg.candidates < 2:
        raise ValueError(f"--candidates must be at least 2, to compare, not {cfg.candidates}")
    if cfg.sampled_candidates < 0:
        raise ValueError(f"--sampled-candidates must not be negative, as {cfg.sampled_candidates} is")
    if cfg.cache_candidates and not cfg.finetune_from_model:
        raise ValueError(
            "--cache-candidates needs --finetune-from-model: the model that a training begins from names the file of "
            "its candidates"
        )
    if not 0 < cfg.risk_alpha < math.inf:
        raise ValueError(f"--risk-alpha must be positive and finite, not {cfg.risk_alpha}")
