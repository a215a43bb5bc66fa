"""The interface of the objectives: what the criterion asks of them, and what they return."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from fairseq_bertloss.loss.cross_entropy import TokenStatistics
from fairseq_bertloss.training.decoder_output import DecoderOutput, unwrapped


class Scored(NamedTuple):
    """What an objective makes of the sentences that it scores.

    Gradients flow through `objective`, and through `tokens` where cross-entropy has a weight.
    """

    objective: Tensor  # (sentences,), what training minimises of each
    tokens: TokenStatistics  # of the references' real tokens, in teacher forcing
    sums: dict[str, Tensor]  # over the sentences or their tokens, for the log


class Objective(ABC):
    """What training minimises of each sentence, beside the cross-entropy of its reference."""

    sums: tuple[str, ...]
    """The names in Scored.sums, the same for every batch."""

    @abstractmethod
    def __call__(self, model: nn.Module, sample: dict, chosen: Tensor) -> Scored:
        """Scores some of a batch's sentences.

        Args:
            model: a fairseq encoder-decoder, as it comes or wrapped for distributed training.
            sample: a batch of the translation task.
            chosen: indices of the sentences, one at least.
        """

    def logged_sums(self, model: nn.Module, sample: dict, chosen: Tensor, forced: DecoderOutput) -> dict[str, Tensor]:
        """Scored.sums of a batch from which this objective learns nothing.

        Args:
            model: as for a call.
            sample: as for a call.
            chosen: as for a call.
            forced: what the decoder has made of the batch's references already.
        """
        # From the model itself: its wrapper may wait for other workers at each pass.
        return self(unwrapped(model)[0], sample, chosen).sums


def sentences(values: Tensor, chosen: Tensor) -> Tensor:
    """The chosen sentences of a batch (sentences, ...); a copy only where they are not all."""
    return values if len(chosen) == len(values) else values[chosen]
