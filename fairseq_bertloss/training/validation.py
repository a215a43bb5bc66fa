"""F_BERT and MoverScore of translations in fairseq-train's validation: training can stop on what is reported.

    fairseq-train DIR --user-dir fairseq_bertloss --criterion bertscore_loss --bert-model NAME --eval-f-bert \
        --best-checkpoint-metric f_bert --maximize-best-checkpoint-metric --patience 3 ...
"""

import logging
import math

import torch
from fairseq import utils
from fairseq.logging import metrics

from fairseq_bertloss.evaluation.f_bert import FBertScorer
from fairseq_bertloss.evaluation.moverscore import MoverScorer
from fairseq_bertloss.language_model.pretrained import encoder_config, scoring_layer
from fairseq_bertloss.language_model.vocabulary import load_tokenizer
from fairseq_bertloss.training.config import BERTScoreCriterionConfig
from fairseq_bertloss.training.detokenizer import target_detokenizer
from fairseq_bertloss.training.generation import check_generation, check_positions, generation_config, translations

logger = logging.getLogger(__name__)

OPTION = "--eval-generation-args"
PREFIX = "translated_"
SENTENCES = f"{PREFIX}sentences"

PERCENT_DIGITS = 2
"""Those of the tables. fairseq chooses the best checkpoint, and stops, by what is rounded to them."""


class TranslationMetrics:
    """Translates validation batches and sums their scores.

    All sentences count, also those too long for the loss. Text comes from the symbols of both sides, as that of
    candidates does (`target_detokenizer`). <unk> becomes tokenization.UNKNOWN, which the scoring model reads
    as its unknown token: references that the dictionary cannot spell (it may hold no more than the pieces seen in
    training) score otherwise than their raw text. F_BERT is without idf and rescaling, MoverScore is its version v2,
    without idf.

    The scoring models are loaded at the first validation, to the batch's device; one that has no room for a sentence is
    refused then.

    Args:
        cfg: the criterion's options.
        task: fairseq's, which builds the generator.

    Raises:
        ValueError: an option cannot be, or there is no such language model or layer.
    """

    def __init__(self, cfg: BERTScoreCriterionConfig, task):
        self._task = task
        self._generation = generation_config(OPTION, cfg.eval_generation_args)
        check_generation(OPTION, self._generation, task)
        self._text = target_detokenizer(cfg, task)
        self._wants_f_bert = cfg.eval_f_bert
        self._wants_moverscore = cfg.eval_moverscore
        self._lm, self._layer = _scoring_model(cfg)
        self._f_bert_scorer: FBertScorer | None = None
        self._mover_scorer: MoverScorer | None = None

    def check(self, model) -> None:
        """Raises ValueError unless the model has positions for a translation; call it before the model is trained."""
        check_positions(OPTION, self._generation, model)

    def sums(self, model, sample) -> dict[str, float]:
        """Translates a batch.

        Returns:
            Sums over its sentences under names that begin with PREFIX (of fractions), and their number: plain
            numbers, the same names for every batch, so that workers can add them up.

        Raises:
            ValueError: a sentence has no translation.
        """
        translations, references = self._translate(model, sample)
        self._load(sample["target"].device)
        scores = {}
        if self._f_bert_scorer:
            scores |= self._f_bert_scorer.score(translations, references)._asdict()
        if self._mover_scorer:
            scores["moverscore"] = self._mover_scorer.score(translations, references)
        sums = {f"{PREFIX}{name}": math.fsum(values) for name, values in scores.items()}
        return sums | {SENTENCES: len(references)}

    def _translate(self, model, sample) -> tuple[list[str], list[str]]:
        found = translations(self._task, model, sample, self._generation)
        if without := found.count([]):
            # fairseq's own validation fails here too: no translation is not an empty one, which would count as F = 0.
            raise ValueError(
                f"{OPTION}: {without} of a batch's {len(found)} sentences have no translation: the model or an option "
                "rules </s> out, or the model has NaN among its parameters"
            )
        references = (utils.strip_pad(target, self._task.target_dictionary.pad()) for target in sample["target"])
        hypotheses = [self._text(own[0]["tokens"].tolist()) for own in found]
        return hypotheses, [self._text(reference.tolist()) for reference in references]

    def _load(self, device: torch.device) -> None:
        if self._wants_f_bert and not self._f_bert_scorer:
            self._f_bert_scorer = FBertScorer(self._lm, self._layer, str(device))
            logger.info("validation: f_bert by beam search is %s", self._f_bert_scorer.signature)
        if self._wants_moverscore and not self._mover_scorer:
            self._mover_scorer = MoverScorer(self._lm, device=str(device))
            logger.info("validation: moverscore by beam search is %s", self._mover_scorer.signature)


def _scoring_model(cfg: BERTScoreCriterionConfig) -> tuple[str, int | None]:
    """The language model that scores translations, and its layer for F_BERT.

    A tokenizer or configuration that cannot be is found here, not after the first epoch.
    """
    lm = cfg.eval_bert_model or cfg.bert_model
    load_tokenizer(lm)
    config = encoder_config(lm)
    if not cfg.eval_f_bert:
        return lm, None
    layer = cfg.bert_layer if cfg.eval_bert_layer is None and lm == cfg.bert_model else cfg.eval_bert_layer
    return lm, scoring_layer(lm, layer, config)


def log_translation_scores(logging_outputs) -> set[str]:
    """Logs the means over sentences of the sums that TranslationMetrics made, in percent.

    Returns:
        The names logged; none in training, or where validation does not translate.
    """
    keys = [key for key in (logging_outputs[0] if logging_outputs else ()) if key.startswith(PREFIX)]
    total = {key: utils.item(sum(log[key] for log in logging_outputs)) for key in keys}
    sentences = total.pop(SENTENCES, 0)
    for key, value in total.items():
        mean = 100 * value / sentences if sentences else 0.0
        metrics.log_scalar(key.removeprefix(PREFIX), mean, sentences, round=PERCENT_DIGITS)
    return {key.removeprefix(PREFIX) for key in total}
