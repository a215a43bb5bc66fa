"""The objective `risk`: the model's own candidates and what they earn, by BERTScore or another reward.

    fairseq-train DIR --user-dir fairseq_bertloss --criterion bertscore_loss --bert-model NAME --objective risk \
        --dropout 0 ...

Candidates are drawn from the model in evaluation mode; training makes those more probable that score better than
the others (Shen et al., 2016; Edunov et al., 2018).
"""

import torch
from torch import Tensor, nn

from fairseq_bertloss.loss.cross_entropy import token_statistics
from fairseq_bertloss.loss.minimum_risk import (
    candidate_weights,
    cross_entropy_of_best,
    minimum_risk,
)
from fairseq_bertloss.training.config import BERTScoreCriterionConfig
from fairseq_bertloss.training.drawing import Drawing
from fairseq_bertloss.training.objective import Objective, Scored
from fairseq_bertloss.training.reading import Reading
from fairseq_bertloss.training.sums import CANDIDATE_SUMS, F_SUMS, RISK_SUMS


class Risk(Objective):
    """The risk of each sentence over its candidates, as loss.minimum_risk has it.

    The reward R is what `rewards` gives, on the scale that --reward-scale says; it has no gradient. The log has greedy
    matching's F. The encoder reads a source once to draw its candidates and once for their gradients.

    Args:
        cfg: the criterion's options.
        drawing: draws the candidates, has the model decode them, and rewards them.
    """

    def __init__(self, cfg: BERTScoreCriterionConfig, drawing: Drawing):
        self.sums = (*(RISK_SUMS if drawing.rewards.bertscore else CANDIDATE_SUMS), *drawing.rewards.sums)
        self.drawing = drawing
        self.translator = drawing.translator
        self._alpha = cfg.risk_alpha
        self._scale = str(cfg.reward_scale)
        self._best = cfg.best_candidate
        self._with_uniform = cfg.label_smoothing > 0
        self._chunk_tokens = cfg.chunk_tokens

    def __call__(self, model: nn.Module, sample: dict, chosen: Tensor) -> Scored:
        reading, values = self.drawing(model, sample, chosen)
        sides = reading.sides
        longest = self.translator.longest(model, sample, chosen)
        unfinished = sides.longer_than(longest).to(reading.features.device)
        lengths = sides.table(sides.candidate_lengths, 0).to(reading.features.device)
        mask = lengths > 0
        earned = self.drawing.rewards.earned(values, sides, mask, unfinished)
        log_p = sides.table(log_probabilities(reading, self._chunk_tokens), 0.0)
        risk = self._risk(log_p, lengths, earned.counted, earned.reward)
        references = self.drawing.reader.statistics_of_references(reading, self._with_uniform)
        weights = candidate_weights(log_p.detach(), lengths, mask, self._alpha)
        return Scored(risk, references, earned.sums | risk_sums(weights, earned.f, mask, unfinished))

    def _risk(self, log_p: Tensor, lengths: Tensor, mask: Tensor, reward: Tensor) -> Tensor:
        """What is minimised of each sentence, (sentences,), from (sentences, candidates) each."""
        if self._best:
            return cross_entropy_of_best(log_p, lengths, reward, mask)
        return minimum_risk(log_p, lengths, reward, mask, alpha=self._alpha, scale=self._scale)


def log_probabilities(reading: Reading, chunk_tokens: int | None) -> Tensor:
    """The log-probability of each candidate, the sum over its symbols, (candidates,).

    Candidates that begin alike share the distributions up to where they part; in training mode, where dropout makes
    each candidate's differ, those of the first.

    Args:
        reading: whose candidates.
        chunk_tokens: as for token_statistics.
    """
    sides = reading.sides
    device = reading.features.device
    beginnings = sides.shared_beginnings()
    symbols = torch.tensor([symbol for side in sides.candidates for symbol in sides.distinct[side].symbols])
    candidate_index = torch.arange(len(sides.candidates)).repeat_interleave(sides.candidate_lengths)
    ascending = beginnings.beginning_index.argsort(stable=True)
    nll = token_statistics(
        reading.features[beginnings.first_token.to(device)],
        symbols[ascending].to(device),
        reading.projection,
        token_index=beginnings.beginning_index[ascending],
        chunk_tokens=chunk_tokens,
    ).nll
    return -nll.new_zeros(len(sides.candidates)).index_add(0, candidate_index[ascending].to(device), nll)


def risk_sums(weights: Tensor, f: Tensor | None, mask: Tensor, unfinished: Tensor) -> dict[str, Tensor]:
    """Sums over the sentences for the log: RISK_SUMS.

    Args:
        weights: of each candidate, (sentences, candidates), as from candidate_weights.
        f: F_BERT of each candidate, (sentences, candidates); None: without F_SUMS.
        mask: where there is a candidate, (sentences, candidates) bool.
        unfinished: the candidates that were cut, (sentences, candidates) bool.
    """
    sums = dict(zip(CANDIDATE_SUMS, (mask.sum(), (unfinished & mask).sum()), strict=True))
    if f is None:
        return sums
    of_f = (
        (weights * f).sum(),
        f[:, 0].sum(),
        f.masked_fill(~mask, -torch.inf).amax(dim=-1).sum(),
    )
    return sums | dict(zip(F_SUMS, of_f, strict=True))
