"""--cross-entropy-weight: which sentences of a batch are learned from, and what their loss is divided by."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fairseq_bertloss.language_model.vocabulary import SpecialIds
from fairseq_bertloss.loss.cross_entropy import TokenStatistics, token_statistics
from fairseq_bertloss.training.config import BERTScoreCriterionConfig
from fairseq_bertloss.training.decoder_output import DecoderOutput, decoder_output
from fairseq_bertloss.training.objective import Objective, Scored, sentences


class Learned(NamedTuple):
    """What a batch is learned from; gradients flow as in Scored."""

    scored: Scored
    references: Tensor  # (sentences, length), of the sentences learned from
    unit: Tensor | float  # what the cross-entropy of a sentence is multiplied by
    size: int  # what fairseq divides the loss by


class Mixture:
    """(1 - w) * objective + w * cross-entropy, w < 1, learned from the sentences that the objective scores.

    The cross-entropy is per token of the batch.

    Args:
        objective: what is minimised beside cross-entropy.
        specials: of the target's symbols.
    """

    def __init__(self, objective: Objective, specials: SpecialIds):
        self._objective = objective
        self._specials = specials

    def __call__(self, model: nn.Module, sample: dict, chosen: Tensor) -> Learned:
        """Scores a batch.

        Args:
            model: a fairseq encoder-decoder, as it comes or wrapped for distributed training.
            sample: a batch of the translation task.
            chosen: indices of the sentences that the objective scores, perhaps none.
        """
        scored = self._objective(model, sample, chosen) if len(chosen) else self._nothing(model, sample)
        references = sentences(sample["target"], chosen)
        unit = len(references) / references.ne(self._specials.pad).sum()
        return Learned(scored, references, unit, len(references))

    def _nothing(self, model: nn.Module, sample: dict) -> Scored:
        """A sum over nothing, which still belongs to the graph, and whose gradient is exactly zero."""
        features, projection = decoder_output(model, sample["net_input"])
        learned = [tensor for tensor in (features, *(projection or ())) if tensor is not None]
        nothing = sum(tensor[:0].sum() for tensor in learned).expand(0)
        tokens = TokenStatistics(nothing, nothing, nothing.bool(), nothing.detach())
        return Scored(nothing, tokens, _zeros(self._objective.sums, features))


class CrossEntropyAlone:
    """w = 1, what label_smoothed_cross_entropy learns: from every reference, also if too long for the language model.

    The objective is for the log alone. The model's pass that learns comes first, and what the objective draws leaves
    torch's generators as they were: dropout is that of fairseq's criterion.

    Args:
        objective: whose sums are logged.
        specials: of the target's symbols.
        cfg: the criterion's options.
    """

    def __init__(self, objective: Objective, specials: SpecialIds, cfg: BERTScoreCriterionConfig):
        self._objective = objective
        self._specials = specials
        self._with_uniform = cfg.label_smoothing > 0
        self._sentence_average = cfg.sentence_avg
        self._chunk_tokens = cfg.chunk_tokens

    def __call__(self, model: nn.Module, sample: dict, chosen: Tensor) -> Learned:
        """As Mixture, but learned from all of the batch's sentences."""
        forced = decoder_output(model, sample["net_input"])
        target = sample["target"]
        tokens = self._statistics(forced, target)
        sums = (
            self._logged_sums(model, sample, chosen, forced)
            if len(chosen)
            else _zeros(self._objective.sums, forced.features)
        )
        scored = Scored(tokens.nll.new_zeros(len(target)), tokens, sums)
        return Learned(scored, target, 1.0, len(target) if self._sentence_average else sample["ntokens"])

    def _statistics(self, forced: DecoderOutput, target: Tensor) -> TokenStatistics:
        """Statistics of the references' real tokens."""
        real = target.ne(self._specials.pad)
        return token_statistics(
            forced.features[real],
            target[real],
            forced.projection,
            eos=self._specials.eos,
            with_uniform=self._with_uniform,
            chunk_tokens=self._chunk_tokens,
        )

    @torch.no_grad()
    def _logged_sums(self, model: nn.Module, sample: dict, chosen: Tensor, forced: DecoderOutput) -> dict[str, Tensor]:
        device = forced.features.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            return self._objective.logged_sums(model, sample, chosen, forced)


def _zeros(names: Sequence[str], features: Tensor) -> dict[str, Tensor]:
    """Sums over no sentence: tensors, as those of others, since workers add up their logs by device and name."""
    return dict.fromkeys(names, features.new_zeros(()))
