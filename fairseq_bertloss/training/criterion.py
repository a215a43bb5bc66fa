"""The fairseq criterion `bertscore_loss`: minus BERTScore through a frozen language model, or the risk by BERTScore.

    fairseq-train DIR --user-dir fairseq_bertloss --criterion bertscore_loss \
        --bert-model bert-base-uncased --finetune-from-model checkpoint_best.pt ...
"""

import logging

import numpy as np
import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.logging import metrics
from torch import Tensor

from fairseq_bertloss.loss.bertscore_loss import BERTScoreLoss
from fairseq_bertloss.loss.cross_entropy import TokenStatistics
from fairseq_bertloss.loss.expected_embeddings import TokenPredictions
from fairseq_bertloss.loss.matching import Scores
from fairseq_bertloss.loss.soft_predictions import DEFAULT_TEMPERATURE, TemperatureSchedule
from fairseq_bertloss.training.config import BERTScoreCriterionConfig, check_options_of_objectives
from fairseq_bertloss.training.decoder_output import decoder_output
from fairseq_bertloss.training.free_running import FreeRunning, free_running_generation
from fairseq_bertloss.training.learning import CrossEntropyAlone, Mixture, of_another_pass, part
from fairseq_bertloss.training.log import OBJECTIVE_SUMS, SOFT_SUMS, log_means, sums_of
from fairseq_bertloss.training.objective import Scored
from fairseq_bertloss.training.risk import MinimumRisk, candidate_generation
from fairseq_bertloss.training.sampling import Drawing
from fairseq_bertloss.training.suitable import check_model, check_task, target_language
from fairseq_bertloss.training.validation import TranslationMetrics

logger = logging.getLogger(__name__)


@register_criterion("bertscore_loss", dataclass=BERTScoreCriterionConfig)
class BERTScoreCriterion(FairseqCriterion):
    """Sum of -F, or of the risk, over the sentences of a batch; sample_size is the number of sentences scored.

    With a cross-entropy weight w between 0 and 1, each part is a mean in its own unit. fairseq divides gradients by one
    sample_size, so the mean per token is that of a batch, and batches that make up one update (of several
    workers or --update-freq) weigh by their sentences; the logged loss has both means exact. With w = 1 the loss and
    sample_size are those of label_smoothed_cross_entropy.

    Targets longer than the language model's positions are left out of the loss, unless w = 1, and of every statistic of
    what it cannot score, and counted as `skipped`.
    """

    def __init__(self, cfg: BERTScoreCriterionConfig, task):
        super().__init__(task)
        check_task(task)
        if not cfg.bert_model:
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
        check_options_of_objectives(cfg)
        risk = str(cfg.objective) == "risk"
        draws = candidate_generation if risk else free_running_generation if cfg.free_running else None
        generation = draws(cfg, task) if draws else None
        self.cross_entropy_weight = cfg.cross_entropy_weight
        self.label_smoothing = cfg.label_smoothing
        kind = str(cfg.soft_prediction or "gumbel_softmax")
        self.temperature = TemperatureSchedule.parse(cfg.soft_temperature or str(DEFAULT_TEMPERATURE[kind]))
        self.bertscore = BERTScoreLoss.from_pretrained(
            cfg.bert_model,
            task.target_dictionary,
            cfg.bert_layer,
            idf_references=cfg.bert_idf,
            rescale_with_baseline=cfg.rescale_with_baseline,
            baseline_path=cfg.baseline_path,
            lang=target_language(task),
            soft_prediction=kind,
            gumbel_hard=cfg.gumbel_hard,
            score=str(cfg.score),
            matching=str(cfg.reward_matching),
            end_of_sentence=str(cfg.end_of_sentence),
            chunk_tokens=cfg.chunk_tokens,
            lm_dtype=None if cfg.lm_dtype is None else str(cfg.lm_dtype),
        )
        self._objective, self._predicted = self._soft, self._teacher_forced
        if generation is not None:
            drawing = Drawing(task, self.bertscore, learns_references=cfg.cross_entropy_weight > 0, **generation)
            if risk:
                self._objective = MinimumRisk(cfg, drawing, self.bertscore)
            else:
                self._predicted = FreeRunning(drawing, self.bertscore, cfg.label_smoothing > 0)
        names = OBJECTIVE_SUMS[str(cfg.objective)]
        if cfg.cross_entropy_weight == 1:
            figures = self._of_features if generation is None else of_another_pass(self._objective)
            smooth = cfg.label_smoothing > 0
            self._learning = CrossEntropyAlone(figures, self.bertscore, names, smooth, cfg.sentence_avg)
        else:
            self._learning = Mixture(self._objective, self.bertscore.specials, names)
        self._sums = sums_of(str(cfg.objective))
        self._cache = cfg.cache_references, int(cfg.cache_references_limit * 1e9)
        self.translation_metrics = TranslationMetrics(cfg, task) if cfg.eval_f_bert or cfg.eval_moverscore else None
        self._warned_of_skipping = False

    @classmethod
    def build_criterion(cls, cfg: BERTScoreCriterionConfig, task):
        return cls(cfg, task)

    def forward(self, model, sample, reduce=True):
        """The loss of a batch.

        Returns:
            The summed loss (with reduce=False: of each sentence that is learned from, (sentences,)), what fairseq
            divides it by, and sums for the log.
        """
        check_model(model)
        if self.translation_metrics:
            self.translation_metrics.check(model)
        loss, sample_size, logging_output = self._scored(model, sample, reduce)
        if self.translation_metrics and not self.training:
            logging_output |= self.translation_metrics.sums(model, sample)
        return loss, sample_size, logging_output

    def _scored(self, model, sample, reduce: bool) -> tuple[Tensor, int, dict]:
        chosen = self._fitting(sample["target"])
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
        logging_output = {name: sums[name].detach() for name in self._sums} | {
            "ntokens": sample["ntokens"],
            "nsentences": len(sample["target"]),
            "nsentences_scored": len(chosen),
            "skipped": len(sample["target"]) - len(chosen),
            "sample_size": size,
        }
        return loss.sum() if reduce else loss, size, logging_output

    def _soft(self, model, sample, chosen: Tensor) -> Scored:
        """The objective `soft`: BERTScore of soft predictions."""
        self.bertscore.temperature = self._temperature()
        scores, predicted, tokens = self._predicted(model, sample, chosen)
        return Scored(self.bertscore.objective(scores.rewarded), tokens, _soft_sums(scores, predicted))

    def _teacher_forced(self, model, sample, chosen: Tensor) -> tuple[Scores, TokenPredictions, TokenStatistics]:
        """Scores, predictions and the references' statistics, as FreeRunning has them."""
        features, projection = decoder_output(model, sample["net_input"])
        scores, predicted = self.bertscore.score_features(
            part(features, chosen), part(sample["target"], chosen), projection, with_uniform=self.label_smoothing > 0
        )
        statistics = TokenStatistics(predicted.nll, predicted.uniform, predicted.correct, predicted.p_eos)
        return scores, predicted, statistics

    def _of_features(self, _, sample, chosen: Tensor, features: Tensor, projection) -> dict[str, Tensor]:
        """Sums of the objective `soft` in teacher forcing, from features that there are already."""
        self.bertscore.temperature = self._temperature()
        given = part(features, chosen), part(sample["target"], chosen), projection
        return _soft_sums(*self.bertscore.score_features(*given))

    def _fitting(self, target: Tensor) -> Tensor:
        """Indices of the sentences that the language model has positions for."""
        fits = target.ne(self.padding_idx).sum(dim=1) <= self.bertscore.max_target_length
        if not self._warned_of_skipping and not fits.all():
            self._warned_of_skipping = True
            logger.warning(
                "skipping targets of more than %d symbols, which the language model has no positions for; "
                "'skipped' in the log counts them (said once)",
                self.bertscore.max_target_length,
            )
        return fits.nonzero().squeeze(1)

    def _prepare_cache(self, device: torch.device) -> None:
        """Opens the cache of references, once the data are loaded and the language model has device and precision."""
        folder, limit = self._cache
        if folder is None or self.bertscore.reference_caches is not None:
            return
        self.bertscore.to(device)
        cache = self.bertscore.cache_references(folder, limit).current()
        counted = [
            sizes for data in self.task.datasets.values() if (sizes := getattr(data, "tgt_sizes", None)) is not None
        ]
        lengths = np.concatenate([np.empty(0, int), *counted])
        lengths = 1 + lengths[lengths <= self.bertscore.max_target_length]  # with the start marker
        if len(lengths):
            cache.reserve(len(lengths), int(lengths.sum()))
        else:
            logger.warning("--cache-references: the data do not tell their lengths, so nobody knows what it will take")

    def _temperature(self) -> float:
        """The schedule's value in training, its end in validation, whose figures must stay comparable."""
        if not self.training:
            return self.temperature.end
        # fairseq's trainer logs its number of updates, also when it resumes: to the default aggregator, which comes first.
        # `metrics.get_meter` would read another of that name then, the checkpoint's.
        updates = metrics.get_active_aggregators()[0].get("num_updates")
        return self.temperature.at(0 if updates is None or updates.val is None else updates.val)

    def _cross_entropy(self, tokens: TokenStatistics) -> Tensor:
        """Label-smoothed cross-entropy of each token, (tokens,), in nats."""
        if self.label_smoothing == 0:
            return tokens.nll
        # A symbol that the model rules out takes no part in the smoothing, which it would make infinite.
        share = self.label_smoothing / (len(self.bertscore.embedding_table) - 1)
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


def _soft_sums(scores: Scores, predicted: TokenPredictions) -> dict[str, Tensor]:
    """What the objective `soft` logs of its own."""
    score = scores.reported
    parts = (score.f1, score.precision, score.recall, predicted.entropy, predicted.support)
    sums = (*(part.sum() for part in parts), score.f1.new_tensor(len(predicted.entropy)))
    return dict(zip(SOFT_SUMS, sums, strict=True))
