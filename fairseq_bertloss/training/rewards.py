"""What candidates earn: BERTScore and functions of text, alone or together."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from fairseq_bertloss.loss.bertscore_loss import BERTScoreLoss
from fairseq_bertloss.loss.minimum_risk import scaled, without_unfinished
from fairseq_bertloss.loss.text_reward import TextReward
from fairseq_bertloss.training.judges import PieceJudge, TextJudge
from fairseq_bertloss.training.reading import Reading
from fairseq_bertloss.training.reward_functions import RewardFunction, scores_of
from fairseq_bertloss.training.reward_weights import BERTSCORE, label
from fairseq_bertloss.training.sums import REWARD
from fairseq_bertloss.training.target_sides import TargetSides
from fairseq_bertloss.training.texts import TextReader


class Values(NamedTuple):
    """What each reward gives each candidate, (candidates,) each."""

    rewards: dict[str, Tensor]  # by name
    f: Tensor | None  # F_BERT by greedy matching (or precision or recall); None where BERTScore is no reward


class Earned(NamedTuple):
    """What candidates earn, (sentences, candidates) each."""

    reward: Tensor  # what trains
    counted: Tensor  # bool, the candidates that it is of
    f: Tensor | None  # as in Values
    sums: dict[str, Tensor]  # over all candidates, for the log: each reward by its name


class Rewards(nn.Module):
    """What candidates earn: one reward as it is, or the weighted mean of several, each brought to one scale.

    Args:
        weights: of the rewards, by their names.
        judge: gives BERTScore; None where that is none of them.
        functions: give the others.
        texts: makes the text that they read; None where nothing does.
        treatment: of unfinished candidates, one of choices.UNFINISHED.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        judge: PieceJudge | TextJudge | None,
        functions: Mapping[str, RewardFunction],
        texts: TextReader | None,
        treatment: str,
    ):
        super().__init__()
        self.judge = judge
        self.texts = texts
        self._weights = weights
        self._functions = functions
        self._treatment = treatment

    @property
    def bertscore(self) -> BERTScoreLoss | TextReward | None:
        """What gives BERTScore; None where that is no reward."""
        return None if self.judge is None else self.judge.bertscore

    @property
    def sums(self) -> tuple[str, ...]:
        """The names of what is logged of them."""
        return tuple(REWARD + label(name) for name in self._weights)

    def forward(self, reading: Reading, sample: dict, chosen: Tensor) -> Values:
        """What each reward gives the candidates of some of a batch's sentences.

        Args:
            reading: the candidates.
            sample: the batch.
            chosen: indices of the sentences.

        Raises:
            ValueError: a reward fails.
        """
        texts = None if self.texts is None else self.texts(reading, sample, chosen, self.training)
        scores = None if self.judge is None else self.judge(reading, texts)
        device = reading.features.device
        rewards = {name: scores_of(name, function, texts).to(device) for name, function in self._functions.items()}
        if scores is None:
            return Values(rewards, None)
        rewards[BERTSCORE] = self.bertscore.maximised(scores.rewarded)
        return Values(rewards, self.bertscore.maximised(scores.reported))

    def earned(self, values: Values, sides: TargetSides, mask: Tensor, unfinished: Tensor) -> Earned:
        """What candidates earn by all rewards together.

        Args:
            values: what a call has given.
            sides: the candidates.
            mask: where there is a candidate, (sentences, candidates) bool.
            unfinished: the candidates that were cut, the same shape.
        """
        rewards = {name: sides.table(own, 0.0) for name, own in values.rewards.items()}
        counted, reward = combined(rewards, self._weights, mask, unfinished, self._treatment)
        f = None if values.f is None else sides.table(values.f, 0.0)
        return Earned(reward, counted, f, {REWARD + label(name): own.sum() for name, own in values.rewards.items()})


def combined(
    rewards: Mapping[str, Tensor], weights: Mapping[str, float], drawn: Tensor, unfinished: Tensor, treatment: str
) -> tuple[Tensor, Tensor]:
    """Which candidates count, and one reward as it is; of several the weighted mean of what "min-max" makes of each.

    Args:
        rewards: (sentences, candidates) each, by name.
        weights: > 0, by name.
        drawn: where there is a candidate, (sentences, candidates) bool.
        unfinished, treatment: as for without_unfinished; a candidate that does not count is on no scale either.
    """
    treated = {name: without_unfinished(drawn, own, unfinished, treatment) for name, own in rewards.items()}
    counted = next(iter(treated.values())).mask
    if len(treated) == 1:
        return counted, next(iter(treated.values())).rewards
    weighted = (weights[name] * scaled(own.rewards, counted, "min-max") for name, own in treated.items())
    return counted, sum(weighted) / sum(weights.values())
