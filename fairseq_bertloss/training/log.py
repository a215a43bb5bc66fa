"""The criterion's log: sums over sentences and tokens, which become means over workers and batches."""

import math
from typing import NamedTuple

from fairseq import utils
from fairseq.logging import metrics

from fairseq_bertloss.training.sums import REWARD
from fairseq_bertloss.training.validation import log_translation_scores


class Mean(NamedTuple):
    """How a logged sum becomes a mean: what it is divided by, and the factor that gives its unit."""

    denominator: str
    factor: float = 1.0
    digits: int = 4


MEANS = {
    "_objective": Mean("nsentences_scored"),  # the two parts of the loss
    "_cross_entropy": Mean("ntokens_scored"),
    "f_bert": Mean("nsentences_scored"),
    "p_bert": Mean("nsentences_scored"),
    "r_bert": Mean("nsentences_scored"),
    "f_expected": Mean("nsentences_scored"),
    "f_first": Mean("nsentences_scored"),
    "f_best": Mean("nsentences_scored"),
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

SUMS = (*MEANS, "ntokens_scored", "ntokens_before_end", "ntokens_end", "ntokens_predicted")
COUNTS = ("nsentences_scored", "skipped")


def log_means(logging_outputs: list[dict]) -> None:
    """Logs the means over workers, accumulated batches and validation batches."""
    known = {key for log in logging_outputs for key in log}
    means = MEANS | {name: Mean("candidates") for name in sorted(known) if name.startswith(REWARD)}
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


def _loss(meters) -> float:
    """The loss from the means of its two parts."""
    return round(float(meters["_objective"].avg + meters["_cross_entropy"].avg), 4)
