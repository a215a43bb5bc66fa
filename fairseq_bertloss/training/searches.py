"""How fairseq's generator chooses the next symbols: samples, samples beside a beam search, each of its own length.

A generator has as many slots for each sentence as its beam has places, and asks a search at every step what follows in
them. Places of the search's answer are (sentences, places); a place has a symbol, a score, and the slot that it goes on
from. </s> in one of the first places, as many as there are slots, ends a translation, unless its score is -inf; the
first places without such an </s>, as many again, are the slots of the next step.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from fairseq.search import BeamSearch, Sampling, Search
from torch import Tensor


class OwnLengths(Search):
    """A search that has nothing but </s> for a sentence from its own longest length on."""

    def __init__(self, search: Search, dictionary, eos: int, longest: Sequence[int], sources: Tensor):
        """Wraps another search.

        Args:
            search: chooses among what is left.
            dictionary: of the target.
            eos: the symbol </s>, of which a task may have one of its own.
            longest: the longest length of each sentence of the batch, without </s>.
            sources: the length of each one's source, (sentences,).
        """
        super().__init__(dictionary)
        self.eos = eos
        self.stop_on_max_len = True  # a model that rules </s> out leaves translations that cannot end
        self._search = search
        self._sources = sources
        self._longest = torch.tensor(longest, device=sources.device)
        self._first_end = min(longest)

    def step(self, step: int, lprobs: Tensor, scores: Tensor, prev_output_tokens=None, original_batch_idxs=None):
        if step >= self._first_end:
            ends = step >= self._longest[original_batch_idxs]
            going_on = torch.arange(lprobs.size(-1), device=lprobs.device) != self.eos
            lprobs = lprobs.masked_fill(ends[:, None, None] & going_on, -torch.inf)
        # Of the sentences that are left: fairseq tells its search once, of all.
        self._search.set_src_lengths(self._sources[original_batch_idxs])
        return self._search.step(step, lprobs, scores, prev_output_tokens, original_batch_idxs)


class Samples(Sampling):
    """A sample in each slot, as fairseq's sampling has it: of all symbols, the top k, or the top p.

    fairseq rules symbols out (</s> at the start, all but </s> at the end) and leaves the others' probabilities as they
    are. If the model is certain of a symbol that is ruled out, those of all others may be 0 in float32, and nothing
    would be left to draw from: here they are brought back to a sum of 1.
    """

    def step(self, step: int, lprobs: Tensor, scores: Tensor, prev_output_tokens=None, original_batch_idxs=None):
        sentences, slots, _ = lprobs.shape
        probabilities, symbols = self._probabilities(lprobs.log_softmax(dim=-1))
        place = drawn(probabilities)
        probability = _at(probabilities, place)
        score = probability.log()
        if step > 0:
            score = score + scores[:, :, step - 1]
        chosen = place if symbols is None else _at(symbols, place)
        is_stuck = probability.isnan()
        score, chosen = score.masked_fill(is_stuck, -torch.inf), chosen.masked_fill(is_stuck, self.eos)
        return score, chosen, torch.arange(slots, device=lprobs.device).expand(sentences, slots)

    def _probabilities(self, log_probabilities: Tensor) -> tuple[Tensor, Tensor | None]:
        """What is drawn from, and of which symbols; None: of all, in their order."""
        if self.sampling_topp > 0:
            return self._sample_topp(log_probabilities)
        if self.sampling_topk > 0:
            top = log_probabilities.topk(self.sampling_topk)
            return top.values.exp(), top.indices
        return log_probabilities.exp(), None


def _at(values: Tensor, place: Tensor) -> Tensor:
    """Values (sentences, slots, n) at one place of each slot, (sentences, slots)."""
    return values.gather(-1, place.unsqueeze(-1)).squeeze(-1)


def drawn(probabilities: Tensor) -> Tensor:
    """An index along the last dimension, drawn with the given probabilities, which need not sum to 1.

    One uniform number each, in the place of torch.multinomial's one a symbol. Sums in float32 would lose symbols below
    1e-7, of which the tail of a vocabulary has many. Where all symbols are ruled out, all are NaN, and so is the one
    at the index: what got there has no end, and is no translation.
    """
    cumulative = probabilities.cumsum(dim=-1, dtype=torch.float64)
    total = cumulative[..., -1:]
    uniform = torch.rand_like(total)
    index = torch.searchsorted(cumulative, uniform * total, right=True)  # past symbols of probability 0
    return index.squeeze(-1).clamp(max=probabilities.size(-1) - 1)  # beyond it, where all are NaN


class _Places(NamedTuple):
    """Places of a search's answer, (sentences, places) each."""

    score: Tensor
    symbol: Tensor
    slot: Tensor

    @classmethod
    def of(cls, like: Self, score: float, symbol: int) -> Self:
        """As many places as others have, of one score and one symbol."""
        return cls(torch.full_like(like.score, score), torch.full_like(like.symbol, symbol), like.slot)

    def where(self, condition: Tensor, other: Self) -> Self:
        """These places where the condition holds, the other's elsewhere."""
        return _Places(*(torch.where(condition, own, its) for own, its in zip(self, other, strict=True)))

    def gather(self, index: Tensor) -> Self:
        return _Places(*(own.gather(1, index) for own in self))

    def beside(self, other: Self) -> Self:
        return _Places(*(torch.cat(both, dim=1) for both in zip(self, other, strict=True)))


class BeamAndSamples(Search):
    """A beam search in a generator's first slots, and in each of the others a sample of the model's own distribution.

    Both find what they would find alone, in one reading of the sources and one pass of the decoder a step. A sample has
    the score inf, so that the generator puts it before the beam search's translations.

    The slots stay what they are: a step's answer has first what ends, then what goes on, slot by slot. A slot whose
    work is done goes on with </s> of score -inf, which ends nothing; places that are left over have an </s> so far back
    that it ends nothing either.
    """

    def __init__(self, dictionary, eos: int, beam: int, samples: int, sources: Tensor):
        """A search of one batch, whose sentences the generator numbers from 0.

        Args:
            dictionary: of the target.
            eos: the symbol </s>, of which a task may have one of its own.
            beam: places of the beam search.
            samples: slots of the generator after these.
            sources: one of each sentence, (sentences, ...).
        """
        super().__init__(dictionary)
        self.eos = eos
        self._beam = beam
        self._search = BeamSearch(dictionary)
        # How many translations the beam search has found, and which samples have ended.
        self._ended = sources.new_zeros(len(sources), dtype=torch.long)
        self._sampled = sources.new_zeros(len(sources), samples, dtype=torch.bool)

    def step(self, step: int, lprobs: Tensor, scores: Tensor, prev_output_tokens=None, original_batch_idxs=None):
        searched = self._searched(step, lprobs[:, : self._beam], scores[:, : self._beam], original_batch_idxs)
        sampled = self._sample(lprobs[:, self._beam :], original_batch_idxs)
        ending, going_on = (of_beam.beside(of_samples) for of_beam, of_samples in zip(searched, sampled, strict=True))
        ends = ending.score != -torch.inf
        last = 2 * torch.ones_like(ends, dtype=torch.long)
        order = torch.cat([last.masked_fill(ends, 0), torch.ones_like(last)], dim=1).argsort(dim=1, stable=True)
        unused = _Places.of(ending, 0.0, self.eos)
        return tuple(ending.where(ends, unused).beside(going_on).gather(order))

    def _searched(self, step: int, lprobs: Tensor, scores: Tensor, sentences: Tensor) -> tuple[_Places, _Places]:
        """What ends and what goes on of the beam search, (sentences, beam) each; what does not end has score -inf."""
        found = _Places(*self._search.step(step, lprobs, scores))
        is_end = (found.symbol == self.eos) & (found.score != -torch.inf)
        going_on = found.gather(is_end.long().argsort(dim=1, stable=True)[:, : self._beam])
        first = _Places(*(own[:, : self._beam] for own in found))
        nothing = _Places.of(first, -torch.inf, self.eos)
        room = self._beam - self._ended[sentences]
        ends = is_end[:, : self._beam]
        ends = ends & (ends.cumsum(dim=1) <= room[:, None])
        self._ended[sentences] += ends.sum(dim=1)
        is_done = self._ended[sentences] >= self._beam
        return first.where(ends, nothing), nothing.where(is_done[:, None], going_on)

    def _sample(self, lprobs: Tensor, sentences: Tensor) -> tuple[_Places, _Places]:
        """What ends and what goes on of the samples, (sentences, samples) each; what does not end has score -inf."""
        probabilities = lprobs.softmax(dim=-1)
        symbol = drawn(probabilities)
        slot = torch.arange(symbol.size(1), device=symbol.device).expand_as(symbol) + self._beam
        going_on = _Places(torch.zeros_like(lprobs[..., 0]), symbol, slot)
        nothing = _Places.of(going_on, -torch.inf, self.eos)
        was_done = self._sampled[sentences] | _at(probabilities, symbol).isnan()
        ends = (symbol == self.eos) & ~was_done
        is_done = was_done | ends
        self._sampled[sentences] = is_done
        return _Places.of(going_on, torch.inf, self.eos).where(ends, nothing), nothing.where(is_done, going_on)
