"""What the criterion's objectives hand over."""

from typing import NamedTuple

from torch import Tensor

from fairseq_bertloss.loss.cross_entropy import TokenStatistics


class Scored(NamedTuple):
    """What an objective makes of the sentences that it scores; gradients flow through `objective`, and
    through `tokens` where cross-entropy has a weight."""

    objective: Tensor  # (sentences,), what training minimises of each
    tokens: TokenStatistics  # of the references' real tokens, in teacher forcing
    sums: dict[str, Tensor]  # over the sentences or their tokens, for the log
