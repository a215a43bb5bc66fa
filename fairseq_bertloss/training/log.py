"""The criterion's log: sums over sentences and tokens, which become means over workers and batches.

Scores are in percent there, as in every table: F_BERT 81.23, chrF 55.67. The loss keeps the unit that it is computed
in, fractions: -0.8123.
"""

import math
from typing import NamedTuple

from fairseq import utils
from fairseq.logging import metrics

from fairseq_bertloss.training.reward_weights import BUILT_IN
from fairseq_bertloss.training.sums import REWARD
from fairseq_bertloss.training.validation import PERCENT_DIGITS, log_translation_scores


class Mean(NamedTuple):
    """How a logged sum becomes a mean: what it is divided by, and the factor that gives its unit."""

    denominator: str
    factor: float = 1.0
    digits: int = 4


def percent(denominator: str) -> Mean:
    """Of scores that are summed up as fractions."""
    return Mean(denominator, 100.0, PERCENT_DIGITS)


MEANS = {
    "_objective": Mean("nsentences_scored"),  # the two parts of the loss
    "_cross_entropy": Mean("ntokens_scored"),
    "f_bert": percent("nsentences_scored"),
    "p_bert": percent("nsentences_scored"),
    "r_bert": percent("nsentences_scored"),
    "f_expected": percent("nsentences_scored"),
    "f_first": percent("nsentences_scored"),
    "f_best": percent("nsentences_scored"),
    "candidates": Mean("nsentences_scored", digits=2),
    "unfinished": Mean("nsentences_scored"),
    "nll_loss": Mean("ntokens_scored", 1 / math.log(2), 3),  # bits, as in fairseq's own criteria
    "ce_loss": Mean("ntokens_scored", 1 / math.log(2), 3),
    "accuracy": Mean("ntokens_scored", 100.0, 3),
    "entropy": Mean("ntokens_predicted"),
    "support": Mean("ntokens_predicted", digits=2),
    "p_eos_end": Mean("ntokens_end"),
    "p_eos_before": Mean("ntokens_before_end", digits=6),
}

BUILT_IN_REWARDS = {REWARD + name: percent("candidates") for name in BUILT_IN}
"""A user's function has a unit of its own, which the log keeps."""

SUMS = (*MEANS, "ntokens_scored", "ntokens_before_end", "ntokens_end", "ntokens_predicted")
COUNTS = ("nsentences_scored", "skipped")


def log_means(logging_outputs: list[dict]) -> None:
    """Logs the means over workers, accumulated batches and validation batches."""
    known = {key for log in logging_outputs for key in log}
    rewards = sorted(name for name in known if name.startswith(REWARD))
    means = MEANS | {name: BUILT_IN_REWARDS.get(name, Mean("candidates")) for name in rewards}
    total = {key: utils.item(sum(log.get(key, 0) for log in logging_outputs)) for key in {*SUMS, *COUNTS, *means}}
    translated = log_translation_scores(logging_outputs)
    for name, mean in means.items():
        if name not in known:
            continue  # of another objective
        denominator = total[mean.denominator]
        value = mean.factor * total[name] / denominator if denominator else 0.0
        metrics.log_scalar(f"{name}_forced" if name in translated else name, value, denominator, round=mean.digits)
    metrics.log_derived("loss", _loss, priority=0)
    metrics.log_scalar_sum("skipped", total["skipped"])
    metrics.log_derived("ppl", lambda meters: utils.get_perplexity(meters["nll_loss"].avg))


def updates_so_far() -> int:
    """The number of updates so far, which fairseq's trainer logs, also when it resumes."""
    # It logs to the default aggregator, which comes first. After resuming, `metrics.get_meter` would read another meter
    # of that name, the checkpoint's.
    updates = metrics.get_active_aggregators()[0].get("num_updates")
    return 0 if updates is None or updates.val is None else updates.val


def _loss(meters) -> float:
    """The loss from the means of its two parts, in their own unit."""
    return round(float(meters["_objective"].avg + meters["_cross_entropy"].avg), 4)
