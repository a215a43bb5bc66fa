"""The objective `risk`: the model's own candidates and what they earn, by BERTScore or another reward.

    fairseq-train DIR --user-dir fairseq_bertloss --criterion bertscore_loss --bert-model NAME --objective risk \
        --dropout 0 ...

Candidates are drawn from the model in evaluation mode; training makes those more probable that score better than
the others (Shen et al., 2016; Edunov et al., 2018).
"""

import torch
from torch import Tensor, nn

from fairseq_bertloss.loss.cross_entropy import token_statistics
from fairseq_bertloss.training.candidates import Translator
from fairseq_bertloss.training.config import BERTScoreCriterionConfig
from fairseq_bertloss.training.objective import Objective, Scored
from fairseq_bertloss.training.reading import Reader, Reading
from fairseq_bertloss.training.rewards import Rewards, scaled, without_unfinished
from fairseq_bertloss.training.sums import F_SUMS


class Risk(Objective):
    """The risk of each sentence: sum_k Q_k (1 - R_k) over its candidates, Q = softmax_k(alpha * log p(k) / length(k)).

    The reward R is what `rewards` gives, on the scale that --reward-scale says; it has no gradient. The log has greedy
    matching's F. The encoder reads a source once to draw its candidates and once for their gradients.

    Args:
        cfg: the criterion's options.
        rewards: what candidates earn.
        translator: draws the candidates.
        reader: has the model decode them.
    """

    def __init__(self, cfg: BERTScoreCriterionConfig, rewards: Rewards, translator: Translator, reader: Reader):
        self.sums = (*rewards.sums, "candidates", "unfinished")
        self.translator = translator
        self._rewards = rewards
        self._reader = reader
        self._with_reference = cfg.reference_among_candidates
        self._alpha = cfg.risk_alpha
        self._scale = str(cfg.reward_scale)
        self._treatment = str(cfg.unfinished_candidates)
        self._best = cfg.best_candidate
        self._with_uniform = cfg.label_smoothing > 0
        self._chunk_tokens = cfg.chunk_tokens

    def __call__(self, model: nn.Module, sample: dict, chosen: Tensor) -> Scored:
        drawn = self.translator.draw(model, sample)
        reading = self._reader(model, sample, chosen, drawn, self._with_reference)
        earned = self._rewards(reading, sample, chosen)
        log_p = reading.sides.table(log_probabilities(reading, self._chunk_tokens), -torch.inf)
        longest = self.translator.longest(model, sample, chosen)
        unfinished = reading.sides.longer_than(longest).to(log_p.device)
        risk = self._risk(log_p, earned.reward, unfinished)
        references = self._reader.statistics_of_references(reading, self._with_uniform)
        return Scored(risk, references, earned.sums | risk_sums(log_p, earned.f, unfinished, self._alpha))

    def _risk(self, log_p: Tensor, reward: Tensor, unfinished: Tensor) -> Tensor:
        """What is minimised of each sentence, (sentences,), from (sentences, candidates) each."""
        log_p, reward = without_unfinished(log_p, reward, unfinished, self._treatment)
        reward = scaled(reward, log_p.detach() > -torch.inf, self._scale)
        if self._best:
            return cross_entropy_of_best(log_p, reward)
        return risk_of(log_p, reward, self._alpha)


def log_probabilities(reading: Reading, chunk_tokens: int | None) -> Tensor:
    """The log-probability of each candidate, divided by its length, (candidates,).

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
    lengths = torch.tensor([sides.lengths[side] for side in sides.candidates])
    candidate_index = torch.arange(len(lengths)).repeat_interleave(lengths)
    ascending = beginnings.beginning_index.argsort(stable=True)
    nll = token_statistics(
        reading.features[beginnings.first_token.to(device)],
        symbols[ascending].to(device),
        reading.projection,
        token_index=beginnings.beginning_index[ascending],
        chunk_tokens=chunk_tokens,
    ).nll
    summed = nll.new_zeros(len(lengths)).index_add(0, candidate_index[ascending].to(device), nll)
    return -summed / lengths.to(device)


def risk_of(log_p: Tensor, reward: Tensor, alpha: float) -> Tensor:
    """The risk sum_k Q_k (1 - reward_k) of each sentence, Q = softmax_k(alpha * log_p), (sentences,).

    Args:
        log_p: log-probability per symbol of each candidate, (sentences, candidates), -inf where there is none.
            Gradients flow.
        reward: what each is worth in training, the same shape; anything finite where there is none.
        alpha: > 0, sharpness.
    """
    return 1 - (torch.softmax(alpha * log_p, dim=-1) * reward).sum(dim=-1)


def cross_entropy_of_best(log_p: Tensor, reward: Tensor) -> Tensor:
    """Minus the log-probability per symbol of the candidate with the highest reward, (sentences,); as risk_of."""
    best = reward.masked_fill(log_p.detach() == -torch.inf, -torch.inf).argmax(dim=1, keepdim=True)
    return -log_p.gather(1, best).squeeze(1)


def risk_sums(log_p: Tensor, f: Tensor | None, unfinished: Tensor, alpha: float) -> dict[str, Tensor]:
    """Sums over the sentences for the log: RISK_SUMS.

    Args:
        log_p: as for risk_of.
        f: F_BERT of each candidate, (sentences, candidates); None: without F_SUMS.
        unfinished: the candidates that were cut, (sentences, candidates) bool.
        alpha: as for risk_of.
    """
    log_p = log_p.detach()
    drawn = log_p > -torch.inf
    sums = {"candidates": drawn.sum(), "unfinished": (unfinished & drawn).sum()}
    if f is None:
        return sums
    of_f = (
        (torch.softmax(alpha * log_p, dim=-1) * f).sum(),
        f[:, 0].sum(),
        f.masked_fill(~drawn, -torch.inf).amax(dim=-1).sum(),
    )
    return sums | dict(zip(F_SUMS, of_f, strict=True))
