"""A batch of target symbols against references, by the language model: what is read, what is kept, what is scored."""

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from fairseq_bertloss.choices import MATCHING_NAMES, SCORE_NAMES, check_choice
from fairseq_bertloss.language_model.frozen import FrozenLanguageModel
from fairseq_bertloss.language_model.symbol_pieces import SymbolPieces
from fairseq_bertloss.language_model.vocabulary import SpecialIds
from fairseq_bertloss.loss.layout import SentenceLayout
from fairseq_bertloss.loss.matching import BERTScore, Scores
from fairseq_bertloss.loss.sentences import CachedSentences, ReadSentences, ReferenceCaches, Sentences, matched


class ReferenceScorer(nn.Module):
    """Scores symbols of a target vocabulary, or what stands in their place, against references.

    The language model is frozen and no submodule: this module has no parameters and an empty state_dict, and hands
    changes of device and precision on.
    """

    embedding_table: Tensor  # (vocabulary, embedding size), what the language model reads at each symbol

    def __init__(
        self,
        language_model: FrozenLanguageModel,
        pieces: SymbolPieces | None,
        specials: SpecialIds,
        *,
        score: str,
        matching: str,
        end_of_sentence: str,
        idf: Tensor | None,
        baseline: tuple[float, float, float] | None,
    ):
        """Arguments as BERTScoreLoss has them; without pieces the symbols are the language model's own ids.

        Raises:
            ValueError: a score or a matching that is not among the choices.
        """
        check_choice("score", score, SCORE_NAMES)
        check_choice("matching", matching, MATCHING_NAMES)
        super().__init__()
        self.language_model = language_model
        self.specials = specials
        self.score = score
        self.matching = matching
        self.end_of_sentence = end_of_sentence
        self._pieces = pieces
        self.embedding_table = self._table()  # no buffer: what follows the language model need not be moved itself
        self.idf = idf  # no buffer: half precision would round it
        self.baseline = baseline
        self.reference_caches: ReferenceCaches | None = None

    @property
    def max_target_length(self) -> int:
        """The longest target that the language model has positions for, </s> included."""
        return self.language_model.max_length - 1

    def maximised(self, score: BERTScore) -> Tensor:
        """What training maximises: F1, precision or recall of each sentence, (batch,)."""
        return getattr(score, self.score)

    def score_ids(self, hypothesis: Tensor, target: Tensor, reference_index: Sequence[int] | None = None) -> BERTScore:
        """The scores of score_candidates by the objective's matching alone."""
        return self.score_candidates(hypothesis, target, reference_index).rewarded

    @torch.no_grad()
    def score_candidates(
        self, hypothesis: Tensor, target: Tensor, reference_index: Sequence[int] | None = None
    ) -> Scores:
        """Scores of hard predictions, (hypotheses,) each, without gradient.

        Args:
            hypothesis: (hypotheses, k) symbol indices; every row ends with </s>, padding on either side.
            target: (batch, l), the same.
            reference_index: which row of target each hypothesis is scored against; None: each its own.

        Raises:
            ValueError: a row does not end with </s>, or exceeds max_target_length; reference_index has another length.
        """
        predicted = self._sentences_of_ids(hypothesis, self._layout(hypothesis))
        return self._score(predicted, target, self._layout(target), reference_index)

    def cache_references(self, folder: str, limit: int) -> ReferenceCaches:
        """Keeps the references' contextual embeddings, normalised, in float16, from now on.

        Args:
            folder: where caches are kept; any number of processes may share it.
            limit: bytes that this language model's may take there, in each precision.

        Raises:
            ValueError: a symbol is several pieces, so that the pieces of a sentence do not say what was read.
        """
        if self._pieces is not None and not self._pieces.are_symbols:
            raise ValueError(
                "a cache of references needs a dictionary of the language model's own pieces: leave out "
                "--cache-references"
            )
        self.reference_caches = ReferenceCaches(self.language_model, folder, limit)
        return self.reference_caches

    def _layout(self, ids: Tensor) -> SentenceLayout:
        """The layout of ids (batch, length), to whose device this module moves.

        Raises:
            ValueError: as in BERTScoreLoss.forward.
        """
        layout = SentenceLayout.of(ids, self.specials.pad, self.specials.eos)
        if max(layout.lengths) > self.max_target_length:
            raise ValueError(
                f"a sentence of {max(layout.lengths)} symbols is longer than the {self.max_target_length} that "
                f"the language model {self.language_model.name!r} has positions for"
            )
        if self.embedding_table.device != ids.device:
            self.to(ids.device)  # fairseq does not move criteria that have no parameters when distributed
        return layout

    def _sentences(self, embeddings: Tensor, weights: Tensor | None, ids: Tensor, layout: SentenceLayout) -> Sentences:
        """What the language model reads, from embeddings (tokens, size) and weights (tokens,) of the real tokens."""
        markers = torch.stack([self.embedding_table[self.specials.bos], self.embedding_table[self.specials.eos]])
        is_eos = layout.packed(ids) == self.specials.eos
        return Sentences.of_tokens(
            embeddings, weights, layout, markers=markers, is_eos=is_eos, end_of_sentence=self.end_of_sentence
        )

    def _sentences_of_ids(self, ids: Tensor, layout: SentenceLayout) -> Sentences:
        real = layout.packed(ids)
        return self._sentences(self.embedding_table[real], None if self.idf is None else self.idf[real], ids, layout)

    def _score(
        self,
        predicted: Sentences,
        target: Tensor,
        layout: SentenceLayout,
        reference_index: Sequence[int] | None = None,
    ) -> Scores:
        """Scores against references, each its own or those that reference_index names."""
        reference = self._references(target, layout)
        if reference_index is None:
            scores = matched(predicted, reference, range(len(target)), self.language_model, self.matching)
        else:
            # It may name a reference again and again.
            read = ReadSentences.of(reference, self.language_model)
            scores = matched(predicted, read, reference_index, self.language_model, self.matching)
        return scores if self.baseline is None else scores.rescaled(self.baseline)

    def _references(self, target: Tensor, layout: SentenceLayout) -> Sentences | CachedSentences:
        """The references, from the cache where there is one."""
        sentences = self._sentences_of_ids(target, layout)
        if self.reference_caches is None:
            return sentences
        return self.reference_caches.read(sentences, self._language_model_ids(target, layout))

    def _language_model_ids(self, ids: Tensor, layout: SentenceLayout) -> list[tuple[int, ...]]:
        """The language model's ids of each sentence, start marker included."""
        tokens = layout.packed(ids).cpu()
        start = self.specials.bos
        if self._pieces is not None:
            tokens = self._pieces.ids[tokens]
            start = int(self._pieces.ids[start])
        return [(start, *sentence.tolist()) for sentence in tokens.split(layout.lengths)]

    def _table(self) -> Tensor:
        """The embeddings of the symbols, in their order; the language model's table, no copy, where they are its ids.

        As exact as the language model, which may keep its precision.
        """
        table = self.language_model.embedding_table.detach()
        return table if self._pieces is None else self._pieces.mean(table)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self.language_model.apply(fn)
        super()._apply(fn, recurse)
        self.embedding_table = self._table()
        if self.idf is not None:
            self.idf = self.idf.to(self.embedding_table.device)
        return self
