"""--cross-entropy-weight: which sentences of a batch are learned from, and what their loss is divided by."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fairseq_bertloss.loss.bertscore_loss import BERTScoreLoss
from fairseq_bertloss.loss.cross_entropy import TokenStatistics, token_statistics
from fairseq_bertloss.loss.output_layer import Projection
from fairseq_bertloss.training.decoder_output import decoder_output, unwrapped
from fairseq_bertloss.training.objective import Scored


class Learned(NamedTuple):
    """What a batch is learned from; gradients flow as in Scored."""

    scored: Scored
    references: Tensor  # (sentences, length), of the sentences learned from
    unit: Tensor | float  # what the cross-entropy of a sentence is multiplied by
    size: int  # what fairseq divides the loss by


class Mixture:
    """(1 - w) * objective + w * cross-entropy per token of the batch, w < 1: of the sentences that the objective scores.

    Args:
        objective: of the criterion.
        specials: the target's symbols.
        names: of the objective's sums.
    """

    def __init__(self, objective: Callable[..., Scored], specials, names: Sequence[str]):
        self._objective, self._specials, self._names = objective, specials, names

    def __call__(self, model: nn.Module, sample: dict, chosen: Tensor) -> Learned:
        """Of a batch.

        Args:
            model: a fairseq encoder-decoder, as it comes or wrapped for distributed training.
            sample: of the translation task.
            chosen: indices of the sentences that the objective scores, perhaps none.
        """
        scored = self._objective(model, sample, chosen) if len(chosen) else self._nothing(model, sample)
        references = part(sample["target"], chosen)
        unit = len(references) / references.ne(self._specials.pad).sum()
        return Learned(scored, references, unit, len(references))

    def _nothing(self, model: nn.Module, sample: dict) -> Scored:
        """A sum over nothing, which still belongs to the graph, and whose gradient is exactly zero."""
        features, projection = decoder_output(model, sample["net_input"])
        nothing = sum(part[:0].sum() for part in (features, *(projection or ())) if part is not None).expand(0)
        tokens = TokenStatistics(nothing, nothing, nothing.bool(), nothing.detach())
        return Scored(nothing, tokens, _zeros(self._names, features))


class CrossEntropyAlone:
    """w = 1, what label_smoothed_cross_entropy learns: from every reference, those too long for the language model too.

    The objective is for the log alone. The model's pass that learns comes first, and what the objective draws leaves
    torch's generators as they were: dropout is that of fairseq's criterion.

    Args:
        figures: makes the objective's sums of a model, a sample, indices of the sentences, and the features and the
            projection of the pass that learned.
        bertscore: whose symbols count.
        names: of the objective's sums.
        with_uniform: whether TokenStatistics.uniform is wanted, for label smoothing.
        sentence_average: whether fairseq divides by the sentences, not by the tokens.
    """

    def __init__(
        self,
        figures: Callable[..., dict[str, Tensor]],
        bertscore: BERTScoreLoss,
        names: Sequence[str],
        with_uniform: bool,
        sentence_average: bool,
    ):
        self._figures, self._bertscore, self._names = figures, bertscore, names
        self._with_uniform, self._sentence_average = with_uniform, sentence_average

    def __call__(self, model: nn.Module, sample: dict, chosen: Tensor) -> Learned:
        """As Mixture, but of all of the batch's sentences."""
        features, projection = decoder_output(model, sample["net_input"])
        target, specials = sample["target"], self._bertscore.specials
        real = target.ne(specials.pad)
        tokens = token_statistics(
            features[real],
            target[real],
            projection,
            eos=specials.eos,
            with_uniform=self._with_uniform,
            chunk_tokens=self._bertscore.chunk_tokens,
        )
        sums = (
            self._logged(model, sample, chosen, features, projection) if len(chosen) else _zeros(self._names, features)
        )
        scored = Scored(tokens.nll.new_zeros(len(target)), tokens, sums)
        return Learned(scored, target, 1.0, len(target) if self._sentence_average else sample["ntokens"])

    @torch.no_grad()
    def _logged(
        self, model: nn.Module, sample: dict, chosen: Tensor, features: Tensor, projection: Projection | None
    ) -> dict[str, Tensor]:
        device = features.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            return self._figures(model, sample, chosen, features, projection)


def of_another_pass(objective: Callable[..., Scored]) -> Callable[..., dict[str, Tensor]]:
    """`figures` for CrossEntropyAlone of an objective whose translations are not the references.

    They come from the model itself: a wrapper may wait for other workers at each pass.
    """
    return lambda model, sample, chosen, *_: objective(unwrapped(model)[0], sample, chosen).sums


def part(rows: Tensor, chosen: Tensor) -> Tensor:
    """Some rows; a copy only where they are not all."""
    return rows if len(chosen) == len(rows) else rows[chosen]


def _zeros(names: Sequence[str], features: Tensor) -> dict[str, Tensor]:
    """Sums over no sentence: tensors, as those of others, since workers add up their logs by device and name."""
    return dict.fromkeys(names, features.new_zeros(()))
