"""Candidates and references decoded by the model, so that gradients flow from what it makes of their symbols."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from fairseq.data.data_utils import collate_tokens
from torch import Tensor, nn

from fairseq_bertloss.loss.bertscore_loss import BERTScoreLoss
from fairseq_bertloss.loss.cross_entropy import TokenStatistics, token_statistics
from fairseq_bertloss.loss.layout import batches, cost_of_a_batch
from fairseq_bertloss.loss.output_layer import Projection
from fairseq_bertloss.training.candidates import Rows
from fairseq_bertloss.training.decoder_output import TargetSides, decoder_outputs, one_pass_an_update


class Decoded(NamedTuple):
    """Candidates and references of some sentences, with the decoder's features of their tokens.

    Gradients flow from the candidates' features, and from the references' where Decoding learns from them.
    """

    rows: Rows
    references: Tensor  # (sentences, length)
    candidates: Tensor  # (candidates, length), symbols of rows.candidates
    features: Tensor  # (tokens of all rows, dim), or logits where there is no projection
    projection: Projection | None

    def features_of(self, rows: Sequence[int]) -> Tensor:
        """Features of the tokens of some rows, one row after the other, (tokens, dim)."""
        return self.features[self.rows.tokens_of(rows).to(self.features.device)]


class Group(NamedTuple):
    """Rows that are decoded together."""

    rows: Sequence[int]
    learns: bool  # whether gradients flow from them


class Decoding:
    """Has a model decode candidates as if they were references, and the references beside them.

    Args:
        bertscore: whose symbols count.
        learns_references: whether anything learns from the references' probabilities, as cross-entropy does.
    """

    def __init__(self, bertscore: BERTScoreLoss, learns_references: bool):
        self._bertscore = bertscore
        self._specials = bertscore.specials
        self._learns_references = learns_references

    def __call__(
        self,
        model: nn.Module,
        sample: dict,
        chosen: Tensor,
        drawn: Sequence[Sequence[Sequence[int]]],
        with_references: bool = False,
    ) -> Decoded:
        """Decodes candidates and references of some of a batch's sentences.

        Args:
            model: a fairseq encoder-decoder, as it comes or wrapped for distributed training.
            sample: a batch of the translation task.
            chosen: indices of the sentences, one at least.
            drawn: the symbols of each candidate of each sentence of the batch, </s> included.
            with_references: whether a reference is a candidate too.
        """
        references = sample["target"][chosen]
        rows = Rows.of([drawn[i] for i in chosen.tolist()], references, self._specials.pad, with_references)
        candidates = self._padded(rows, rows.candidates).to(references.device)
        features, projection = self._features(model, sample["net_input"], chosen, rows)
        return Decoded(rows, references, candidates, features, projection)

    def statistics_of_references(self, decoded: Decoded, with_uniform: bool) -> TokenStatistics:
        """Statistics of the references' real tokens, in teacher forcing; with_uniform as for token_statistics."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._learns_references):
            return token_statistics(
                decoded.features_of(decoded.rows.references),
                decoded.references[decoded.references != self._specials.pad],
                decoded.projection,
                eos=self._specials.eos,
                with_uniform=with_uniform,
                chunk_tokens=self._bertscore.chunk_tokens,
            )

    def _features(
        self, model: nn.Module, net_input: dict, source_index: Tensor, rows: Rows
    ) -> tuple[Tensor, Projection | None]:
        """Decoder features (tokens, dim) of the rows' tokens, one row after the other, and the projection.

        Args:
            model: as for a call.
            net_input: the model's arguments.
            source_index: which of the sources each sentence of the rows has, (sentences,).
            rows: of which the encoder reads each source once.
        """
        groups = self._groups(model, source_index, rows)
        sides = [self._target_sides(group, source_index, rows) for group in groups]
        outputs = decoder_outputs(model, net_input, sides)
        packed = torch.cat([
            output.features[side.prev_output_tokens.ne(self._specials.pad)]
            for output, side in zip(outputs, sides, strict=True)
        ])  # fmt: skip
        decoded_order = rows.tokens_of([row for group in groups for row in group.rows])
        return packed[decoded_order.argsort().to(packed.device)], outputs[0].projection

    def _groups(self, model: nn.Module, source_index: Tensor, rows: Rows) -> list[Group]:
        """Rows of like lengths together, as far as the model's wrapper allows for several passes.

        In training the rows that nothing learns from have groups of their own.
        """
        everything = range(len(rows.distinct))
        if one_pass_an_update(model):
            return [Group(everything, learns=True)]
        unlearned = set()
        if torch.is_grad_enabled() and not self._learns_references:
            unlearned = set(everything).difference(rows.candidates)
        learned = sorted(set(everything).difference(unlearned))
        cost = cost_of_a_batch(source_index)
        return [
            *(Group(own, learns=True) for own in _of_like_lengths(learned, rows, cost)),
            *(Group(own, learns=False) for own in _of_like_lengths(sorted(unlearned), rows, cost)),
        ]

    def _target_sides(self, group: Group, source_index: Tensor, rows: Rows) -> TargetSides:
        device = source_index.device
        sentence = torch.tensor([rows.distinct[row].sentence for row in group.rows])
        prev_output_tokens = self._padded(rows, group.rows, move_eos_to_beginning=True)
        return TargetSides(prev_output_tokens.to(device), source_index[sentence.to(device)], group.learns)

    def _padded(self, rows: Rows, some: Sequence[int], **options) -> Tensor:
        """Symbols of some rows, (rows, length), padded on the right; on the CPU."""
        symbols = [torch.tensor(rows.distinct[row].symbols) for row in some]
        return collate_tokens(symbols, self._specials.pad, self._specials.eos, **options)


def _of_like_lengths(some: Sequence[int], rows: Rows, cost: int) -> list[list[int]]:
    """Some of the rows in groups to decode together; `cost` as for batches."""
    return [[some[i] for i in batch] for batch in batches([rows.lengths[row] for row in some], cost)]
