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
from fairseq_bertloss.loss.matching import BERTScore, Comparison, Scores, greedy_match
from fairseq_bertloss.loss.one_to_one import one_to_one_match

MATCHINGS = ("greedy", "one-to-one")
"""What an objective may be computed by."""


class Side(NamedTuple):
    """One side of a match: arguments of Comparison.of."""

    embeddings: Tensor  # contextual, (batch, width, dim)
    weights: Tensor  # (batch, width)
    mask: Tensor  # (batch, width) bool


class Sentences(NamedTuple):
    """At each place of the layout stands a row of `embeddings` and of `weights`."""

    embeddings: Tensor  # (2 + tokens, size), the two sentence markers first
    weights: Tensor  # (2 + tokens,)
    layout: SentenceLayout

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
            ids: of each, the language model's, markers included.
            cache: of this language model.
        """
        contextual = cache.read(ids)
        missing = [i for i, embeddings in enumerate(contextual) if embeddings is None]
        for group in batches([sentences.layout.lengths[i] for i in missing], cost_of_a_batch(sentences.embeddings)):
            group = [missing[i] for i in group]
            embeddings = F.normalize(sentences.read_by(language_model, group).embeddings.float(), dim=-1)
            for i, rows in zip(group, embeddings.half().cpu().numpy()):
                contextual[i] = rows[: len(ids[i])]
        cache.write([ids[i] for i in missing], [contextual[i] for i in missing])
        return cls(contextual, sentences.weights, sentences.layout)

    def read_by(self, language_model: FrozenLanguageModel, group: Sequence[int]) -> Side:
        """As Sentences.read_by, in float32; the language model has done its work."""
        part = self.layout.part(group)
        padded = np.zeros((*part.mask.shape, self.contextual[0].shape[1]), self.contextual[0].dtype)
        for row, i in zip(padded, group):
            row[: len(self.contextual[i])] = self.contextual[i]
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
        lengths, contextual = sentences.layout.lengths, None
        for group in batches(lengths, cost_of_a_batch(sentences.weights)):
            embeddings = sentences.read_by(language_model, group).embeddings
            if contextual is None:
                contextual = embeddings.new_zeros(len(lengths), 1 + max(lengths), embeddings.size(2))
            contextual[group, : embeddings.size(1)] = embeddings
        return cls(contextual, sentences.weights, sentences.layout)

    def read_by(self, language_model: FrozenLanguageModel, group: Sequence[int]) -> Side:
        """As Sentences.read_by; the language model has done its work."""
        part = self.layout.part(group)
        rows = torch.tensor(group).to(part.mask.device, non_blocking=True)
        return Side(self.contextual[rows, : part.mask.size(1)], self.weights[part.places], part.mask)


def matched(
    predicted: Sentences,
    reference: Sentences | CachedSentences | ReadSentences,
    of: Sequence[int],
    language_model: FrozenLanguageModel,
    matching: str,
) -> Scores:
    """Reads and scores sentences, batch by batch of like lengths; gradients flow to the predicted ones.

    Args:
        of: which reference each predicted sentence is scored against.
        matching: the objective's, one of MATCHINGS.

    Raises:
        ValueError: `of` is not as long as there are predicted sentences.
    """
    if len(of) != len(predicted.layout.lengths):
        raise ValueError(f"{len(predicted.layout.lengths)} sentences cannot be scored against {len(of)} references")
    lengths = [max(length, reference.layout.lengths[i]) for length, i in zip(predicted.layout.lengths, of)]
    groups, scores = batches(lengths, cost_of_a_batch(predicted.weights)), []
    for group in groups:
        with torch.no_grad():
            references = reference.read_by(language_model, [of[i] for i in group])
        predictions = predicted.read_by(language_model, group)
        pairs = Comparison.of(*(part for pair in zip(predictions, references) for part in pair))
        reported = greedy_match(pairs)
        scores.append(Scores(reported, one_to_one_match(pairs) if matching == "one-to-one" else reported))
    back = (
        torch.tensor([i for group in groups for i in group]).argsort().to(predicted.weights.device, non_blocking=True)
    )
    return Scores(*(BERTScore(*(torch.cat(parts)[back] for parts in zip(*each))) for each in zip(*scores)))


class ReferenceCaches:
    """A cache for each precision that the language model runs in: training may have another than validation."""

    def __init__(self, language_model: FrozenLanguageModel, folder: str, limit: int):
        """Arguments as for ReferenceCache, whose limit counts for each."""
        self._language_model = language_model
        self._folder = folder
        self._limit = limit
        self._caches = {}

    def current(self) -> ReferenceCache:
        """That of the present precision.

        Raises:
            ValueError: the folder cannot be written to.
        """
        model = self._language_model
        present = model.precision, model.changes
        if present not in self._caches:
            self._caches[present] = ReferenceCache(self._folder, model.fingerprint(), model.hidden_size, self._limit)
        return self._caches[present]

    def read(self, sentences: Sentences, ids: list[tuple[int, ...]]) -> CachedSentences:
        """From the present one, arguments as of CachedSentences.of."""
        return CachedSentences.of(sentences, ids, self.current(), self._language_model)
