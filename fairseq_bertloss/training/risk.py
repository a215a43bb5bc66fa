"""Minimum risk: the model's own candidates and how BERTScore judges them, instead of soft predictions.

    fairseq-train DIR --user-dir fairseq_bertloss --criterion bertscore_loss --bert-model NAME \
        --dropout 0 ...

Candidates are drawn from the model in evaluation mode; training makes those more probable that score better than
the others (Shen et al., 2016; Edunov et al., 2018).
"""

import math
from dataclasses import dataclass, field

import torch
from fairseq.dataclass import ChoiceEnum
from omegaconf import DictConfig
from torch import Tensor, nn

from fairseq_bertloss.loss.bertscore_loss import BERTScoreLoss
from fairseq_bertloss.loss.cross_entropy import token_statistics
from fairseq_bertloss.loss.matching import Scores
from fairseq_bertloss.training.candidates import (
    SCALES,
    UNFINISHED,
    cross_entropy_of_best,
    risk_of,
    risk_sums,
    scaled,
    without_unfinished,
)
from fairseq_bertloss.training.objective import Scored
from fairseq_bertloss.training.sampling import Decoded, Drawing, DrawingConfig, ancestral, deterministic, generation


@dataclass
class RiskConfig(DrawingConfig):
    """The options of --objective risk."""

    candidates: int = field(
        default=4,
        metadata={
            "help": "--objective risk: translations of each sentence that are compared, by beam search unless "
            "--candidate-generation-args samples"
        },
    )
    sampled_candidates: int = field(
        default=1,
        metadata={
            "help": "--objective risk: further ones, drawn from the model's own distribution as Gumbel-Softmax draws, "
            "in training alone"
        },
    )
    reference_among_candidates: bool = field(
        default=False, metadata={"help": "--objective risk: the reference is a candidate too"}
    )
    risk_alpha: float = field(
        default=1.0, metadata={"help": "--objective risk: candidates weigh softmax(alpha * log-probability / length)"}
    )
    reward_scale: ChoiceEnum(SCALES) = field(
        default="none",
        metadata={
            "help": "--objective risk: brings the rewards of a sentence's candidates to one scale, so that every sentence "
            "counts and --cross-entropy-weight has something to weigh: 'min-max' to the range from 0 to 1, 'std' to mean 0 "
            "and standard deviation 1"
        },
    )
    unfinished_candidates: ChoiceEnum(UNFINISHED) = field(
        default="scored",
        metadata={
            "help": "--objective risk: a candidate that was cut at its longest length is 'scored' as if it had ended there, "
            "'left-out', or gets the 'lowest' reward of its sentence"
        },
    )
    best_candidate: bool = field(
        default=False,
        metadata={
            "help": "--objective risk: cross-entropy of the candidate with the highest reward, instead of the risk"
        },
    )


def candidate_generation(cfg: RiskConfig, task) -> dict[str, list[DictConfig]]:
    """How candidates are drawn, arguments of Drawing: validation takes beam search, the same every time.

    Raises:
        ValueError: an option of RiskConfig that cannot be.
    """
    if cfg.candidates < 2:
        raise ValueError(f"--candidates must be at least 2, to compare, not {cfg.candidates}")
    if cfg.sampled_candidates < 0:
        raise ValueError(f"--sampled-candidates must not be negative, as {cfg.sampled_candidates} is")
    if not 0 < cfg.risk_alpha < math.inf:
        raise ValueError(f"--risk-alpha must be positive and finite, not {cfg.risk_alpha}")
    given = generation(cfg, task, cfg.candidates, "--candidates says how many there are")
    sampled = [ancestral(given, cfg.sampled_candidates)] if cfg.sampled_candidates else []
    return {"training": [given, *sampled], "validation": [deterministic(given)]}


class MinimumRisk:
    """The risk of each sentence: sum_k Q_k (1 - R_k) over its candidates, Q = softmax_k(alpha * log p(k) / length(k)).

    The reward R is F by the matching that `bertscore` rewards, on the scale that --reward-scale says; it has no gradient.
    The log has greedy matching's F. The encoder reads a source once to draw its candidates and once for their gradients.

    Args:
        cfg: the criterion's options.
        drawing: of the candidates.
        bertscore: what candidates are scored with; its `score` takes the place of F.
    """

    def __init__(self, cfg, drawing: Drawing, bertscore: BERTScoreLoss):
        self._drawing = drawing
        self._bertscore = bertscore
        self._with_reference = cfg.reference_among_candidates
        self._alpha = cfg.risk_alpha
        self._scale = str(cfg.reward_scale)
        self._treatment = str(cfg.unfinished_candidates)
        self._best = cfg.best_candidate
        self._with_uniform = cfg.label_smoothing > 0

    def __call__(self, model: nn.Module, sample: dict, chosen: Tensor) -> Scored:
        """The risk of some of a batch's sentences.

        Args:
            model: a fairseq encoder-decoder, as it comes or wrapped for distributed training.
            sample: of the translation task.
            chosen: indices of the sentences, one at least.
        """
        decoded = self._drawing(model, sample, chosen, self._with_reference)
        rows, scores = decoded.rows, self._scores(decoded)
        log_p = rows.table(self._log_probabilities(decoded), -torch.inf)
        reward, f = (rows.table(-self._bertscore.objective(score), 0.0) for score in (scores.rewarded, scores.reported))
        unfinished = rows.longer_than(self._drawing.longest(model, sample, chosen)).to(f.device)
        risk = self._risk(log_p, reward, unfinished)
        sums = risk_sums(log_p, f, unfinished, self._alpha)
        return Scored(risk, self._drawing.of_references(decoded, self._with_uniform), sums)

    def _risk(self, log_p: Tensor, reward: Tensor, unfinished: Tensor) -> Tensor:
        """Of each sentence, (sentences,), from (sentences, candidates) each."""
        log_p, reward = without_unfinished(log_p, reward, unfinished, self._treatment)
        reward = scaled(reward, log_p.detach() > -torch.inf, self._scale)
        if self._best:
            return cross_entropy_of_best(log_p, reward)
        return risk_of(log_p, reward, self._alpha)

    def _log_probabilities(self, decoded: Decoded) -> Tensor:
        """Of each candidate, (candidates,), divided by its length.

        Candidates that begin alike share the distributions up to where they part; in training mode, where dropout
        makes each row's differ, those of the first.
        """
        rows, features = decoded.rows, decoded.features
        first, following = rows.shared_beginnings()
        target = torch.tensor([symbol for row in rows.candidates for symbol in rows.symbols[row]])
        lengths = torch.tensor([len(rows.symbols[row]) for row in rows.candidates])
        candidate = torch.arange(len(lengths)).repeat_interleave(lengths)
        order = following.argsort(stable=True)
        moved = (part.to(features.device) for part in (first, target[order], candidate[order], lengths))
        first, target, candidate, lengths = moved
        of, chunk_tokens = following[order], self._bertscore.chunk_tokens
        nll = token_statistics(features[first], target, decoded.projection, token_index=of, chunk_tokens=chunk_tokens).nll
        return -nll.new_zeros(len(lengths)).index_add(0, candidate, nll) / lengths

    def _scores(self, decoded: Decoded) -> Scores:
        """Of each candidate, (candidates,), against its sentence's reference."""
        of = [decoded.rows.sentence[row] for row in decoded.rows.candidates]
        return self._bertscore.score_candidates(decoded.translations, decoded.references, of)
