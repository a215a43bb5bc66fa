"""The fairseq criterion `bertscore_loss`: minus BERTScore through a frozen language model, or the risk by BERTScore.

    fairseq-train DIR --user-dir fairseq_bertloss --criterion bertscore_loss \
        --bert-model bert-base-uncased --finetune-from-model checkpoint_best.pt ...
"""

import logging

import numpy as np
import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from torch import Tensor

from fairseq_bertloss.loss.cross_entropy import TokenStatistics
from fairseq_bertloss.loss.text_reward import TextReward
from fairseq_bertloss.one_line import in_one_line
from fairseq_bertloss.training.build import (
    build_bertscore,
    build_fitting,
    build_generations,
    build_objective,
    build_rewards,
    target_specials,
)
from fairseq_bertloss.training.candidate_settings import check_places
from fairseq_bertloss.training.config import BERTScoreCriterionConfig
from fairseq_bertloss.training.first_line import first_line
from fairseq_bertloss.training.first_validation import FirstValidation
from fairseq_bertloss.training.learning import CrossEntropyAlone, Mixture
from fairseq_bertloss.training.log import log_means
from fairseq_bertloss.training.option_checks import check
from fairseq_bertloss.training.suitable import check_model, check_task
from fairseq_bertloss.training.sums import COMMON_SUMS
from fairseq_bertloss.training.validation import TranslationMetrics

logger = logging.getLogger(__name__)


@register_criterion("bertscore_loss", dataclass=BERTScoreCriterionConfig)
class BERTScoreCriterion(FairseqCriterion):
    """Sum of -F, or of the risk, over the sentences of a batch; sample_size is the number of sentences scored.

    With a cross-entropy weight w between 0 and 1, each part is a mean in its own unit. fairseq divides gradients by one
    sample_size, so the mean per token is that of a batch, and batches that make up one update (of several
    workers or --update-freq) weigh by their sentences; the logged loss has both means exact. With w = 1 the loss and
    sample_size are those of label_smoothed_cross_entropy.

    Targets that cannot be scored, as those that the language model has no positions for, are counted as `skipped`. They
    are left out of the objective and, unless w = 1, of the cross-entropy and the statistics of tokens.
    """

    def __init__(self, cfg: BERTScoreCriterionConfig, task):
        super().__init__(task)
        check_task(task)
        check(cfg)
        self.cross_entropy_weight = cfg.cross_entropy_weight
        self.label_smoothing = cfg.label_smoothing
        generations = build_generations(cfg, task)  # a mistake in options must not cost the language model's loading
        check_places(cfg)
        self.rewards = build_rewards(cfg, task)
        self.bertscore = self.rewards.bertscore if self.rewards else build_bertscore(cfg, task, by_text=False)
        self.objective = build_objective(cfg, task, self.bertscore, self.rewards, generations)
        self._fitting = build_fitting(task, self.bertscore, self.rewards)
        self._learning = (
            CrossEntropyAlone(self.objective, target_specials(task), cfg)
            if cfg.cross_entropy_weight == 1
            else Mixture(self.objective, target_specials(task))
        )
        self._cache_folder = None if self.bertscore is None else cfg.cache_references
        self._cache_limit = int(cfg.cache_references_limit * 1e9)
        self.translation_metrics = TranslationMetrics(cfg, task) if cfg.eval_f_bert or cfg.eval_moverscore else None
        self._first_validation = FirstValidation(cfg, task) if self.translation_metrics else None
        logger.info(first_line(cfg, self.bertscore))

    @classmethod
    @in_one_line()
    def build_criterion(cls, cfg: BERTScoreCriterionConfig, task):
        return cls(cfg, task)

    def forward(self, model, sample, reduce=True):
        """The loss of a batch.

        Returns:
            The summed loss (with reduce=False: of each sentence that is learned from, (sentences,)), what fairseq
            divides it by, and sums for the log.
        """
        with in_one_line():
            check_model(model)
            if self.translation_metrics:
                self.translation_metrics.check(model)
            if self._first_validation and self.training:
                self._first_validation(self, model)
        loss, sample_size, logging_output = self._scored(model, sample, reduce)
        if self.translation_metrics and not self.training:
            logging_output |= self.translation_metrics.sums(model, sample)
        return loss, sample_size, logging_output

    def _scored(self, model, sample, reduce: bool) -> tuple[Tensor, int, dict]:
        chosen = self._fitting(sample, self.training)
        self._prepare_cache(sample["target"].device)
        scored, references, unit, size = self._learning(model, sample, chosen)
        real = references.ne(self.padding_idx)
        cross_entropy = _at(real, self._cross_entropy(scored.tokens)).sum(dim=1)
        loss = self._mixed(scored.objective, unit * cross_entropy)
        sums = {
            "_objective": (1 - self.cross_entropy_weight) * scored.objective.sum(),
            "_cross_entropy": self.cross_entropy_weight * cross_entropy.sum(),
            "nll_loss": scored.tokens.nll.sum(),
            "ce_loss": cross_entropy.sum(),
            **self._token_statistics(scored.tokens, references, real),
            **scored.sums,
        }
        logging_output = {name: sums[name].detach() for name in (*COMMON_SUMS, *self.objective.sums)} | {
            "ntokens": sample["ntokens"],
            "nsentences": len(sample["target"]),
            "nsentences_scored": len(chosen),
            "skipped": len(sample["target"]) - len(chosen),
            "sample_size": size,
        }
        return loss.sum() if reduce else loss, size, logging_output

    def _prepare_cache(self, device: torch.device) -> None:
        """Opens the cache of references, once data are loaded and the language model has its device and precision."""
        if self._cache_folder is None or self.bertscore.reference_caches is not None:
            return
        self.bertscore.to(device)
        cache = self.bertscore.cache_references(self._cache_folder, self._cache_limit).current()
        if isinstance(self.bertscore, TextReward):
            return  # how long a text is for the language model is known when it is read
        counted = [
            sizes for data in self.task.datasets.values() if (sizes := getattr(data, "tgt_sizes", None)) is not None
        ]
        lengths = np.concatenate([np.empty(0, int), *counted])
        lengths = 1 + lengths[lengths <= self.bertscore.max_target_length]  # with the start marker
        if len(lengths):
            cache.reserve(len(lengths), int(lengths.sum()))
        else:
            logger.warning(
                "--cache-references: the data do not tell the lengths of their targets, so the size of the cache "
                "cannot be told beforehand"
            )

    def _cross_entropy(self, tokens: TokenStatistics) -> Tensor:
        """Label-smoothed cross-entropy of each token, (tokens,), in nats."""
        if self.label_smoothing == 0:
            return tokens.nll
        # A symbol that the model rules out takes no part in the smoothing, which it would make infinite.
        share = self.label_smoothing / (len(self.task.target_dictionary) - 1)
        return (1 - self.label_smoothing - share) * tokens.nll + share * tokens.uniform

    def _mixed(self, objective: Tensor, cross_entropy: Tensor) -> Tensor:
        """(1 - w) * objective + w * cross-entropy, (sentences,)."""
        weight = self.cross_entropy_weight
        # Nothing times what may be infinite is not nothing.
        return objective if weight == 0 else (1 - weight) * objective + weight * cross_entropy

    def _token_statistics(self, tokens: TokenStatistics, target: Tensor, real: Tensor) -> dict[str, Tensor]:
        """Sums over real positions; `p_eos_*` are the model's own probabilities of </s>, without Gumbel noise."""
        end = target.eq(self.task.target_dictionary.eos())
        before_end = real & ~end
        p_eos = _at(real, tokens.p_eos)
        return {
            "accuracy": tokens.correct.sum(),
            "p_eos_end": (p_eos * end).sum(),
            "p_eos_before": (p_eos * before_end).sum(),
            "ntokens_scored": real.sum(),
            "ntokens_before_end": before_end.sum(),
            "ntokens_end": (real & end).sum(),
        }

    @classmethod
    def reduce_metrics(cls, logging_outputs) -> None:
        """Logs the means over workers, accumulated batches and validation batches."""
        log_means(logging_outputs)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """Everything logged is a sum."""
        return True


def _at(places: Tensor, values: Tensor) -> Tensor:
    """Values at the places of a mask (sentences, length), in its rows' order, and 0 elsewhere."""
    return values.new_zeros(places.shape).masked_scatter(places, values)
