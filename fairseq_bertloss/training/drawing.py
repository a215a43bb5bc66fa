"""The candidates of a batch: drawn from the model, read by its decoder, and rewarded; or taken from what was kept."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor, nn

from fairseq_bertloss.one_line import in_one_line
from fairseq_bertloss.training.candidate_cache import CandidateCache, Kept, digest, keys
from fairseq_bertloss.training.candidates import Translator
from fairseq_bertloss.training.log import updates_so_far
from fairseq_bertloss.training.reading import Reader, Reading
from fairseq_bertloss.training.rewards import Rewards, Values

T = TypeVar("T")


class Drawing:
    """Draws the candidates of each batch anew.

    Args:
        translator: draws them.
        reader: has the model decode them.
        rewards: what they earn.
        with_reference: whether a reference is a candidate too.
    """

    def __init__(self, translator: Translator, reader: Reader, rewards: Rewards, with_reference: bool):
        self.translator = translator
        self.reader = reader
        self.rewards = rewards
        self._with_reference = with_reference

    def __call__(self, model: nn.Module, sample: dict, chosen: Tensor) -> tuple[Reading, Values]:
        """Candidates of some of a batch's sentences, and what each reward gives them.

        Args:
            model: a fairseq encoder-decoder, as it comes or wrapped for distributed training.
            sample: a batch of the translation task.
            chosen: indices of the sentences, one at least.

        Raises:
            ValueError: a reward fails, or the model has no positions for candidates.
        """
        reading = self._read(model, sample, chosen, self.translator.draw(model, sample))
        return reading, self.rewards(reading, sample, chosen)

    def _read(
        self, model: nn.Module, sample: dict, chosen: Tensor, drawn: Sequence[Sequence[Sequence[int]]]
    ) -> Reading:
        return self.reader(model, sample, chosen, drawn, self._with_reference)


class CachedDrawing(Drawing):
    """Draws, in training, the candidates of a sentence once: they and their rewards are kept.

    Args:
        translator, reader, rewards, with_reference: as of Drawing.
        pad: symbol.
        open_cache: opens where they are kept, once the language model has its precision; given the batch's device.
    """

    def __init__(
        self,
        translator: Translator,
        reader: Reader,
        rewards: Rewards,
        with_reference: bool,
        pad: int,
        open_cache: Callable[[torch.device], CandidateCache],
    ):
        super().__init__(translator, reader, rewards, with_reference)
        self._pad = pad
        self._open_cache = open_cache
        self._cache: CandidateCache | None = None

    def __call__(self, model: nn.Module, sample: dict, chosen: Tensor) -> tuple[Reading, Values]:
        """As of Drawing; raises ValueError for a cache that cannot be read or written as well."""
        if not self.rewards.training:
            return super().__call__(model, sample, chosen)
        device = sample["target"].device
        sentences = keys(sample, self._pad)
        own = [sentences[i] for i in chosen.tolist()]
        with in_one_line():
            if self._cache is None:
                self._cache = self._open_cache(device)
            kept = self._cache.read(own)
        drawn = self._drawn(model, sample, sentences) if None in kept else [[] for _ in sentences]
        for i, one in zip(chosen.tolist(), kept, strict=True):
            if one is not None:
                drawn[i] = one.candidates
        reading = self._read(model, sample, chosen, drawn)
        if None in kept:
            new = _first(own, self._new(reading, sample, chosen))
            # A model with NaN in it has drawn nothing.
            found = [own[i] for i, sentence in enumerate(chosen.tolist()) if kept[i] is None and drawn[sentence]]
            with in_one_line():
                self._cache.write(found, [new[sentence] for sentence in found])
            kept = [new[sentence] if one is None else one for sentence, one in zip(own, kept, strict=True)]
        return reading, _values(kept, reading.features.device)

    def _drawn(self, model: nn.Module, sample: dict, sentences: Sequence[bytes]) -> list[list[list[int]]]:
        """Candidates of each sentence of the batch; one that stands there twice has the same, as when it is kept."""
        with _own_random_numbers(sentences, sample["target"].device):
            drawn = self.translator.draw(model, sample)
        first = _first(sentences, drawn)
        return [first[sentence] for sentence in sentences]

    def _new(self, reading: Reading, sample: dict, chosen: Tensor) -> list[Kept]:
        """Of each sentence its candidates and what they are given."""
        rewards, f = self.rewards(reading, sample, chosen)
        sides = reading.sides
        counts = torch.tensor(sides.sentence_of_candidate).bincount(minlength=len(sides.references)).tolist()
        values = {name: iter(own.tolist()) for name, own in rewards.items()}
        values_of_f = None if f is None else iter(f.tolist())
        candidates = iter(sides.candidates)
        return [
            Kept(
                int(updates_so_far()),
                [list(sides.distinct[side].symbols) for side in islice(candidates, count)],
                {name: list(islice(own, count)) for name, own in values.items()},
                None if values_of_f is None else list(islice(values_of_f, count)),
            )
            for count in counts
        ]


def _first(sentences: Sequence[bytes], values: Sequence[T]) -> dict[bytes, T]:
    """Of each sentence the value where it stands first."""
    return dict(reversed(list(zip(sentences, values, strict=True))))


@contextmanager
def _own_random_numbers(sentences: Sequence[bytes], device: torch.device) -> Iterator[None]:
    """Draws by random numbers of the update and the batch, so that others are the same whether it draws or not."""
    number = int.from_bytes(digest(*map(list, sentences))[:7], "little")
    seed = (torch.initial_seed() + number) % 2**63
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _values(kept: Sequence[Kept], device: torch.device) -> Values:
    """What the candidates of some sentences are given, sentence by sentence."""

    def joined(lists: Sequence[list[float]]) -> Tensor:
        return torch.tensor([value for own in lists for value in own]).to(device)

    rewards = {name: joined([own.rewards[name] for own in kept]) for name in kept[0].rewards}
    return Values(rewards, None if kept[0].f is None else joined([own.f for own in kept]))
