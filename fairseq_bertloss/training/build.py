"""From options to the objects that they describe."""

from fairseq_bertloss.loss.bertscore_loss import BERTScoreLoss
from fairseq_bertloss.training.candidates import (
    Generations,
    Translator,
    candidate_generations,
    free_running_generations,
)
from fairseq_bertloss.training.config import BERTScoreCriterionConfig
from fairseq_bertloss.training.objective import Objective
from fairseq_bertloss.training.risk import Risk
from fairseq_bertloss.training.soft import FreeRunning, TeacherForcing
from fairseq_bertloss.training.suitable import target_language


def build_generations(cfg: BERTScoreCriterionConfig, task) -> Generations | None:
    """How the objective has the model translate; None where it does not.

    Raises:
        ValueError: --candidate-generation-args has an option that cannot be.
    """
    if str(cfg.objective) == "risk":
        return candidate_generations(cfg, task)
    return free_running_generations(cfg, task) if cfg.free_running else None


def build_bertscore(cfg: BERTScoreCriterionConfig, task) -> BERTScoreLoss:
    """BERTScore of the task's target symbols, through the language model of --bert-model.

    Raises:
        ValueError: the language model cannot be loaded or used, or symbols are not in its vocabulary.
    """
    return BERTScoreLoss.from_pretrained(
        cfg.bert_model,
        task.target_dictionary,
        cfg.bert_layer,
        idf_references=cfg.bert_idf,
        rescale_with_baseline=cfg.rescale_with_baseline,
        baseline_path=cfg.baseline_path,
        lang=target_language(task),
        soft_prediction=str(cfg.soft_prediction or "gumbel_softmax"),
        gumbel_hard=cfg.gumbel_hard,
        score=str(cfg.score),
        matching=str(cfg.reward_matching),
        end_of_sentence=str(cfg.end_of_sentence),
        chunk_tokens=cfg.chunk_tokens,
        lm_dtype=None if cfg.lm_dtype is None else str(cfg.lm_dtype),
    )


def build_objective(
    cfg: BERTScoreCriterionConfig, task, bertscore: BERTScoreLoss, generations: Generations | None
) -> Objective:
    """The objective that the options ask for.

    Args:
        cfg: the criterion's options, checked.
        task: fairseq's, which builds generators.
        bertscore: what predictions and candidates are scored with.
        generations: what build_generations makes of the options.

    Raises:
        ValueError: translations would be too long for the language model.
    """
    if generations is None:
        return TeacherForcing(cfg, bertscore)
    translator = Translator(task, bertscore, generations)
    return Risk(cfg, bertscore, translator) if str(cfg.objective) == "risk" else FreeRunning(cfg, bertscore, translator)
