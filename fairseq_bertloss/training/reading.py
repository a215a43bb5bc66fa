"""Candidates and references read by the decoder, in teacher forcing: gradients flow from what it makes of them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from fairseq.data.data_utils import collate_tokens
from torch import Tensor, nn

from fairseq_bertloss.language_model.vocabulary import SpecialIds
from fairseq_bertloss.loss.cross_entropy import TokenStatistics, token_statistics
from fairseq_bertloss.loss.layout import batches, cost_of_a_batch
from fairseq_bertloss.loss.output_layer import Projection
from fairseq_bertloss.training.decoder_output import TargetBatch, decoder_outputs, one_pass_an_update
from fairseq_bertloss.training.target_sides import TargetSides, first_symbols


class Reading(NamedTuple):
    """Candidates and references of some sentences, with the decoder's features of their tokens.

    Gradients flow from the candidates' features, and from the references' where Reader learns from them.
    """

    sides: TargetSides
    references: Tensor  # (sentences, length)
    candidates: Tensor  # (candidates, length), symbols of sides.candidates
    features: Tensor  # (tokens of all target sides, dim), or logits where there is no projection
    projection: Projection | None

    def features_of(self, some: Sequence[int]) -> Tensor:
        """Features of the tokens of some target sides, one side after the other, (tokens, dim)."""
        return self.features[self.sides.tokens_of(some).to(self.features.device)]


class Group(NamedTuple):
    """Target sides that are decoded together."""

    members: Sequence[int]
    learns: bool  # whether gradients flow from them


class Reader:
    """Has a model decode candidates as if they were references, and the references beside them.

    Args:
        specials: of the target's symbols.
        learns_references: whether anything learns from the references' probabilities, as cross-entropy does.
        chunk_tokens: as for token_statistics.
    """

    def __init__(self, specials: SpecialIds, learns_references: bool, chunk_tokens: int | None = None):
        self._specials = specials
        self._learns_references = learns_references
        self._chunk_tokens = chunk_tokens

    def __call__(
        self,
        model: nn.Module,
        sample: dict,
        chosen: Tensor,
        drawn: Sequence[Sequence[Sequence[int]]],
        with_references: bool = False,
    ) -> Reading:
        """Decodes candidates and references of some of a batch's sentences.

        Args:
            model: a fairseq encoder-decoder, as it comes or wrapped for distributed training.
            sample: a batch of the translation task.
            chosen: indices of the sentences, one at least.
            drawn: the symbols of each candidate of each sentence of the batch, </s> included.
            with_references: whether a reference is a candidate too.
        """
        references = sample["target"][chosen]
        sides = TargetSides.of([drawn[i] for i in chosen.tolist()], references, self._specials.pad, with_references)
        candidates = self._padded(sides, sides.candidates).to(references.device)
        features, projection = self._features(model, sample["net_input"], chosen, sides)
        return Reading(sides, references, candidates, features, projection)

    def statistics_of_references(self, reading: Reading, with_uniform: bool) -> TokenStatistics:
        """Statistics of the references' real tokens, in teacher forcing; with_uniform as for token_statistics."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._learns_references):
            return token_statistics(
                reading.features_of(reading.sides.references),
                reading.references[reading.references != self._specials.pad],
                reading.projection,
                eos=self._specials.eos,
                with_uniform=with_uniform,
                chunk_tokens=self._chunk_tokens,
            )

    def _features(
        self, model: nn.Module, net_input: dict, source_index: Tensor, sides: TargetSides
    ) -> tuple[Tensor, Projection | None]:
        """Decoder features (tokens, dim) of the target sides' tokens, one side after the other, and the projection.

        Args:
            model: as for a call.
            net_input: the model's arguments.
            source_index: which of the sources each sentence has, (sentences,).
            sides: of whose sentences the encoder reads each source once.
        """
        groups = self._groups(model, source_index, sides)
        starts = first_symbols(net_input["prev_output_tokens"], self._specials.pad)[source_index].tolist()
        read = [self._batch(group, source_index, sides, starts) for group in groups]
        outputs = decoder_outputs(model, net_input, read)
        packed = torch.cat([
            output.features[batch.prev_output_tokens.ne(self._specials.pad)]
            for output, batch in zip(outputs, read, strict=True)
        ])  # fmt: skip
        decoded_order = sides.tokens_of([side for group in groups for side in group.members])
        return packed[decoded_order.argsort().to(packed.device)], outputs[0].projection

    def _groups(self, model: nn.Module, source_index: Tensor, sides: TargetSides) -> list[Group]:
        """Target sides of like lengths together, as far as the model's wrapper allows for several passes.

        In training the sides that nothing learns from have groups of their own.
        """
        everything = range(len(sides.distinct))
        if one_pass_an_update(model):
            return [Group(everything, learns=True)]
        unlearned = set()
        if torch.is_grad_enabled() and not self._learns_references:
            unlearned = set(everything).difference(sides.candidates)
        learned = sorted(set(everything).difference(unlearned))
        cost = cost_of_a_batch(source_index)
        return [
            *(Group(own, learns=True) for own in _of_like_lengths(learned, sides, cost)),
            *(Group(own, learns=False) for own in _of_like_lengths(sorted(unlearned), sides, cost)),
        ]

    def _batch(self, group: Group, source_index: Tensor, sides: TargetSides, starts: Sequence[int]) -> TargetBatch:
        """What the decoder reads: the symbols without the last, after the one that the sentence starts with."""
        device = source_index.device
        distinct = [sides.distinct[side] for side in group.members]
        read = [torch.tensor((starts[side.sentence], *side.symbols[:-1])) for side in distinct]
        sentence = torch.tensor([side.sentence for side in distinct]).to(device)
        return TargetBatch(collate_tokens(read, self._specials.pad).to(device), source_index[sentence], group.learns)

    def _padded(self, sides: TargetSides, some: Sequence[int]) -> Tensor:
        """Symbols of some target sides, (sides, length), padded on the right; on the CPU."""
        return collate_tokens([torch.tensor(sides.distinct[side].symbols) for side in some], self._specials.pad)


def _of_like_lengths(some: Sequence[int], sides: TargetSides, cost: int) -> list[list[int]]:
    """Some of the target sides in groups to decode together; `cost` as for batches."""
    return [[some[i] for i in batch] for batch in batches([sides.lengths[side] for side in some], cost)]
