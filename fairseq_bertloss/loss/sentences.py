"""What the language model reads of a batch, and the contextual embeddings it makes of them, or made of them before."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fairseq_bertloss.language_model.frozen import FrozenLanguageModel
from fairseq_bertloss.language_model.reference_cache import ReferenceCache
from fairseq_bertloss.loss.layout import SentenceLayout, batches, cost_of_a_batch
from fairseq_bertloss.loss.matching import BERTScore, Comparison, Scores, Side, greedy_match
from fairseq_bertloss.loss.one_to_one import MATCHINGS


class Sentences(NamedTuple):
    """At each place of the layout stands a row of `embeddings` and of `weights`."""

    embeddings: Tensor  # (2 + tokens, size), the two sentence markers first
    weights: Tensor  # (2 + tokens,)
    layout: SentenceLayout

    @classmethod
    def of_tokens(
        cls,
        embeddings: Tensor,
        weights: Tensor | None,
        layout: SentenceLayout,
        *,
        markers: Tensor,
        is_eos: Tensor,
        end_of_sentence: str,
    ) -> "Sentences":
        """Real tokens, in the order of layout.tokens, between their markers.

        Args:
            embeddings: (tokens, size); gradients flow.
            weights: (tokens,); None weighs all alike. Gradients flow.
            layout: of the sentences.
            markers: embeddings of the two sentence markers, (2, size).
            is_eos: (tokens,) bool, which tokens are </s>.
            end_of_sentence: what stands there, one of choices.END_OF_SENTENCE.
        """
        weights = embeddings.new_ones(len(embeddings), dtype=torch.float32) if weights is None else weights.float()
        if end_of_sentence != "scored":
            weights = weights.masked_fill(is_eos, 0.0)
        if end_of_sentence == "gold":
            layout = layout.with_marker_at_end()
        return cls(torch.cat([markers, embeddings]), torch.cat([weights.new_zeros(2), weights]), layout)

    def read_by(self, language_model: FrozenLanguageModel, group: Sequence[int]) -> Side:
        """Some of the sentences, as the language model understands them."""
        part = self.layout.part(group)
        embeddings = F.embedding(part.places, self.embeddings)
        return Side(language_model(embeddings, part.mask), self.weights[part.places], part.mask)


class CachedSentences(NamedTuple):
    """Sentences that need not be read again."""

    contextual: list[np.ndarray]  # of each sentence, (1 + its length, dim)
    weights: Tensor
    layout: SentenceLayout

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        sentences: Sentences,
        ids: list[tuple[int, ...]],
        cache: ReferenceCache,
        language_model: FrozenLanguageModel,
    ) -> "CachedSentences":
        """Reads what the cache lacks, and adds it there.

        What is new goes through float16 as well: an epoch is like the next, and like that of a resumed run.

        Args:
            sentences: the references.
            ids: the language model's ids of each, start marker included.
            cache: this language model's.
            language_model: reads what the cache lacks.
        """
        found = cache.read(ids)
        missing = [i for i, embeddings in enumerate(found) if embeddings is None]
        computed = _normalised(sentences, missing, language_model)
        cache.write([ids[i] for i in missing], [computed[i] for i in missing])
        contextual = [computed[i] if embeddings is None else embeddings for i, embeddings in enumerate(found)]
        return cls(contextual, sentences.weights, sentences.layout)

    def read_by(self, language_model: FrozenLanguageModel, group: Sequence[int]) -> Side:
        """The same as Sentences.read_by, in float32; the language model has done its work."""
        part = self.layout.part(group)
        padded = np.zeros((*part.mask.shape, self.contextual[0].shape[1]), self.contextual[0].dtype)
        for sentence, i in zip(padded, group, strict=True):
            sentence[: len(self.contextual[i])] = self.contextual[i]
        embeddings = torch.from_numpy(padded).to(part.mask.device, non_blocking=True).float()
        return Side(embeddings, self.weights[part.places], part.mask)


class ReadSentences(NamedTuple):
    """Sentences that the language model has read already, for whoever wants one several times."""

    contextual: Tensor  # (batch, width, dim)
    weights: Tensor
    layout: SentenceLayout

    @classmethod
    def of(cls, sentences: Sentences | CachedSentences, language_model: FrozenLanguageModel) -> "ReadSentences":
        """Reads them all."""
        lengths = sentences.layout.lengths
        groups = batches(lengths, cost_of_a_batch(sentences.weights))
        parts = []
        for group in groups:
            embeddings = sentences.read_by(language_model, group).embeddings
            parts.append(F.pad(embeddings, (0, 0, 0, 1 + max(lengths) - embeddings.size(1))))
        contextual = torch.cat(parts)[_back_in_order(groups, sentences.weights.device)]
        return cls(contextual, sentences.weights, sentences.layout)

    def read_by(self, language_model: FrozenLanguageModel, group: Sequence[int]) -> Side:
        """The same as Sentences.read_by; the language model has done its work."""
        part = self.layout.part(group)
        chosen = torch.tensor(group).to(part.mask.device, non_blocking=True)
        return Side(self.contextual[chosen, : part.mask.size(1)], self.weights[part.places], part.mask)


def matched(
    predicted: Sentences,
    reference: Sentences | CachedSentences | ReadSentences,
    reference_index: Sequence[int],
    language_model: FrozenLanguageModel,
    matching: str,
) -> Scores:
    """Reads and scores sentences, batch by batch of like lengths; gradients flow to the predicted ones.

    Args:
        predicted: the sentences to score.
        reference: the references.
        reference_index: which reference each predicted sentence is scored against.
        language_model: reads them.
        matching: the objective's, one of MATCHINGS.

    Raises:
        ValueError: reference_index is not as long as there are predicted sentences.
    """
    lengths = predicted.layout.lengths
    if len(reference_index) != len(lengths):
        raise ValueError(f"{len(lengths)} sentences cannot be scored against {len(reference_index)} references")
    longer = [max(length, reference.layout.lengths[i]) for length, i in zip(lengths, reference_index, strict=True)]
    groups = batches(longer, cost_of_a_batch(predicted.weights))
    match = MATCHINGS[matching]
    scores = []
    for group in groups:
        with torch.no_grad():
            references = reference.read_by(language_model, [reference_index[i] for i in group])
        pairs = Comparison.of(predicted.read_by(language_model, group), references)
        reported = greedy_match(pairs)
        scores.append(Scores(reported, reported if match is greedy_match else match(pairs)))
    order = _back_in_order(groups, predicted.weights.device)
    return Scores(
        BERTScore.joined([score.reported for score in scores], order),
        BERTScore.joined([score.rewarded for score in scores], order),
    )


def _normalised(
    sentences: Sentences, chosen: Sequence[int], language_model: FrozenLanguageModel
) -> dict[int, np.ndarray]:
    """Contextual embeddings of some sentences, normalised, in float16: of each, (1 + its length, dim)."""
    lengths = [sentences.layout.lengths[i] for i in chosen]
    computed = {}
    for group in batches(lengths, cost_of_a_batch(sentences.embeddings)):
        numbers = [chosen[i] for i in group]
        contextual = sentences.read_by(language_model, numbers).embeddings
        padded = F.normalize(contextual.float(), dim=-1).half().cpu().numpy()
        for i, embeddings in zip(numbers, padded, strict=True):
            computed[i] = embeddings[: 1 + sentences.layout.lengths[i]]
    return computed


def _back_in_order(groups: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Where each sentence stands among those of all groups, one group after the other."""
    return torch.tensor([i for group in groups for i in group]).argsort().to(device, non_blocking=True)


class ReferenceCaches:
    """A cache for each precision that the language model runs in: training may have another than validation."""

    def __init__(self, language_model: FrozenLanguageModel, folder: str, limit: int):
        """Arguments as for ReferenceCache, whose limit counts for each."""
        self._language_model = language_model
        self._folder = folder
        self._limit = limit
        self._caches: dict[tuple[str, int], ReferenceCache] = {}

    def current(self) -> ReferenceCache:
        """The cache of the present precision.

        Raises:
            ValueError: the folder cannot be written to.
        """
        model = self._language_model
        present = (model.precision, model.changes)
        if present not in self._caches:
            self._caches[present] = ReferenceCache(self._folder, model.fingerprint(), model.hidden_size, self._limit)
        return self._caches[present]

    def read(self, sentences: Sentences, ids: list[tuple[int, ...]]) -> CachedSentences:
        """Through the present cache; arguments as of CachedSentences.of."""
        return CachedSentences.of(sentences, ids, self.current(), self._language_model)
