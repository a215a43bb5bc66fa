"""The options of the criterion `bertscore_loss`."""

from dataclasses import dataclass, field, fields
from typing import Optional  # fairseq's argument parser cannot read `str | None`

from fairseq.dataclass import ChoiceEnum
from omegaconf import II

from fairseq_bertloss.language_model.frozen import DTYPES
from fairseq_bertloss.loss.bertscore_loss import END_OF_SENTENCE
from fairseq_bertloss.loss.matching import BERTScore
from fairseq_bertloss.loss.sentences import MATCHINGS
from fairseq_bertloss.loss.soft_predictions import SOFT_PREDICTIONS
from fairseq_bertloss.training.log import not_logged
from fairseq_bertloss.training.risk import RiskConfig
from fairseq_bertloss.training.validation import TranslationMetricsConfig

OPTIONS_OF = {
    "soft": ("soft_prediction", "soft_temperature", "gumbel_hard", "free_running"),
    "risk": (
        "candidates",
        "sampled_candidates",
        "reference_among_candidates",
        "risk_alpha",
        "reward_scale",
        "unfinished_candidates",
        "best_candidate",
    ),
}
"""The objectives, and the options that do something in one of them alone."""


@dataclass
class BERTScoreCriterionConfig(RiskConfig, TranslationMetricsConfig):
    bert_model: Optional[str] = field(
        default=None, metadata={"help": "language model that scores: Hugging Face hub name or folder (required)"}
    )
    bert_layer: Optional[int] = field(
        default=None, metadata={"help": "layer whose embeddings are matched (default: bert-score's for a known name)"}
    )
    objective: ChoiceEnum(tuple(OPTIONS_OF)) = field(
        default="soft",
        metadata={
            "help": "what learns from BERTScore: 'soft', soft predictions of the reference, the paper's, or 'risk', the "
            "probabilities of the model's own candidates (minimum risk)"
        },
    )
    soft_prediction: Optional[ChoiceEnum(SOFT_PREDICTIONS)] = field(
        default=None,
        metadata={
            "help": "--objective soft: how logits become a point on the vocabulary simplex (default: gumbel_softmax)"
        },
    )
    # fairseq fills its groups from one set of names, and `generation` has a `temperature`, a number.
    soft_temperature: Optional[str] = field(
        default=None,
        metadata={
            "argparse_alias": "--temperature",
            "help": "--objective soft: of the prediction, a number, or START:END@UPDATES to move linearly, such as 1.0:0.1@2000; "
            "validation uses END (default: 0.1 for gumbel_softmax, 1.0 for the others)",
        },
    )
    gumbel_hard: bool = field(
        default=False,
        metadata={"help": "--objective soft: one-hot Gumbel samples with the gradient of soft ones (straight-through)"},
    )
    score: ChoiceEnum(BERTScore._fields) = field(default="f1", metadata={"help": "which part of BERTScore to maximise"})
    reward_matching: ChoiceEnum(MATCHINGS) = field(
        default="greedy",
        metadata={
            "help": "matching of what is maximised: 'greedy' pays for a word as often as it is said, so that a model "
            "learns to repeat it, 'one-to-one' only once; what is logged and reported stays bert-score's, greedy"
        },
    )
    bert_idf: Optional[str] = field(
        default=None, metadata={"help": "file of references (text, one a line) to compute idf weights from"}
    )
    rescale_with_baseline: bool = field(
        default=False, metadata={"help": "rescale with bert-score's baseline for the target language"}
    )
    baseline_path: Optional[str] = field(
        default=None, metadata={"help": "baseline file for --rescale-with-baseline, in bert-score's format"}
    )
    free_running: bool = field(
        default=False,
        metadata={
            "help": "--objective soft: predictions follow a translation sampled from the model "
            "(--candidate-generation-args), not the reference"
        },
    )
    cross_entropy_weight: float = field(
        default=0.0, metadata={"help": "w in loss = (1 - w) * objective + w * cross-entropy, from 0 to 1"}
    )
    label_smoothing: float = field(
        default=0.0, metadata={"help": "epsilon for label smoothing in the cross-entropy, 0 means none"}
    )
    end_of_sentence: ChoiceEnum(END_OF_SENTENCE) = field(
        default="scored",
        metadata={
            "help": "at </s>: 'scored' feeds the soft prediction and counts it, 'context' feeds it with weight 0, 'gold' "
            "feeds [SEP] with weight 0; with --objective risk it is always [SEP], and only 'scored' counts it"
        },
    )
    chunk_tokens: Optional[int] = field(
        default=None,
        metadata={
            "help": "tokens whose logits exist at a time (default: as many as suit the device and the vocabulary)"
        },
    )
    lm_dtype: Optional[ChoiceEnum(DTYPES)] = field(
        default=None,
        metadata={"help": "precision of the language model alone (default: float32, or the training's half precision)"},
    )
    cache_references: Optional[str] = field(
        default=None,
        metadata={"help": "folder to keep the references' contextual embeddings in, so that each is computed once"},
    )
    cache_references_limit: float = field(
        default=50.0, metadata={"help": "GB that --cache-references may take for one language model"}
    )
    sentence_avg: bool = II("optimization.sentence_avg")
    ddp_backend: str = II("distributed_training.ddp_backend")
    best_checkpoint_metric: str = II("checkpoint.best_checkpoint_metric")


def check_options_of_objectives(cfg: BERTScoreCriterionConfig) -> None:
    """An option of another objective, not at its default, is a mistake, and so is a metric that is not logged.

    Raises:
        ValueError: there is one.
    """
    options = {option.name: option for option in fields(BERTScoreCriterionConfig)}
    chosen = str(cfg.objective)
    without_effect = {name: f"--objective {of}" for of, names in OPTIONS_OF.items() if of != chosen for name in names}
    if chosen == "soft" and not cfg.free_running:
        without_effect["candidate_generation_args"] = "--objective risk or --free-running"
    for name, others in without_effect.items():
        if getattr(cfg, name) != options[name].default:
            option = options[name].metadata.get("argparse_alias", f"--{name.replace('_', '-')}")
            raise ValueError(f"{option} does nothing with --objective {chosen}: leave it out, or add {others}")
    translated = ("f_bert", "p_bert", "r_bert") if cfg.eval_f_bert else ()
    if cfg.best_checkpoint_metric in not_logged(chosen).difference(translated):
        raise ValueError(
            f"--best-checkpoint-metric {cfg.best_checkpoint_metric} is not logged with --objective {chosen}: add "
            "--eval-f-bert and take f_bert, or take another metric of the log"
        )
