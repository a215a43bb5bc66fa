"""What a training learns from, in one line of its log, so that it need not be put together from the options."""

from fairseq_bertloss.evaluation.plain_text import listed
from fairseq_bertloss.language_model.pretrained import short_name
from fairseq_bertloss.loss.bertscore_loss import BERTScoreLoss
from fairseq_bertloss.loss.soft_predictions import DEFAULT_TEMPERATURE
from fairseq_bertloss.loss.text_reward import TextReward
from fairseq_bertloss.training.config import BERTScoreCriterionConfig
from fairseq_bertloss.training.reward_weights import BERTSCORE, MOVERSCORE, reward_weights


def first_line(cfg: BERTScoreCriterionConfig, bertscore: BERTScoreLoss | TextReward | None) -> str:
    """The objective, what is maximised, the share of cross-entropy, and the language model.

    Args:
        cfg: the criterion's options, checked.
        bertscore: what the options made; None where BERTScore is no reward.
    """
    parts = [_risk(cfg) if str(cfg.objective) == "risk" else _soft(cfg)]
    smoothing = f" (label smoothing {cfg.label_smoothing:g})" if cfg.label_smoothing else ""
    if cfg.cross_entropy_weight == 1:
        parts = [f"cross-entropy alone{smoothing}; in the log beside it", *parts]
    elif cfg.cross_entropy_weight:
        parts.append(f"{cfg.cross_entropy_weight:g} cross-entropy{smoothing}")
    if bertscore is not None:
        parts.append(_language_model(cfg, bertscore))
    elif MOVERSCORE in reward_weights(cfg.reward):
        parts.append(f"language model {short_name(cfg.bert_model)}")
    return "; ".join(parts)


def _risk(cfg: BERTScoreCriterionConfig) -> str:
    weights = reward_weights(cfg.reward)
    several = len(weights) > 1
    rewards = [
        (f"{weight:g} " if several else "") + (_score(cfg) if name == BERTSCORE else name)
        for name, weight in weights.items()
    ]
    kinds = [f"{cfg.candidates} candidates"]
    kinds += [f"{cfg.sampled_candidates} sampled"] if cfg.sampled_candidates else []
    kinds += ["the reference"] if cfg.reference_among_candidates else []
    what = "cross-entropy of the best" if cfg.best_candidate else "minimum risk"
    kinds[0] += "" if cfg.risk_alpha == 1 else f" (alpha {cfg.risk_alpha:g})"
    scale = "" if str(cfg.reward_scale) == "none" else f", scaled by {cfg.reward_scale}"
    return f"{what} of {listed(kinds)}; reward: {listed(rewards)}{scale}"


def _soft(cfg: BERTScoreCriterionConfig) -> str:
    kind = str(cfg.soft_prediction or "gumbel_softmax")
    along = "the model's own translation" if cfg.free_running else "the reference"
    temperature = cfg.soft_temperature or f"{DEFAULT_TEMPERATURE[kind]:g}"
    kind += ", hard" if cfg.gumbel_hard else ""
    return f"soft predictions ({kind}, temperature {temperature}) along {along}; maximised: {_score(cfg)}"


def _score(cfg: BERTScoreCriterionConfig) -> str:
    idf = " with idf" if cfg.bert_idf else ""
    rescaled = ", rescaled" if cfg.rescale_with_baseline else ""
    return f"BERTScore's {cfg.score}{idf} by {cfg.reward_matching} matching{rescaled}"


def _language_model(cfg: BERTScoreCriterionConfig, bertscore: BERTScoreLoss | TextReward) -> str:
    lm = bertscore.language_model
    half = "bfloat16" if cfg.bf16 else "float16" if cfg.fp16 else "the training's precision" if cfg.amp else "float32"
    reads = "text" if isinstance(bertscore, TextReward) else str(cfg.symbols_as)
    return f"language model {short_name(lm.name)}, layer {lm.layer}, in {lm.dtype or half}, reads {reads}"
