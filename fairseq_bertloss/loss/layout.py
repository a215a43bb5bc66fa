"""Sentences of different lengths -> what the language model reads: real tokens only, in batches of like lengths.

Padding may stand on either side. Which token goes where is worked out on the CPU, from one copy of the ids, so that
a GPU is waited for once.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

START, END, FIRST_TOKEN = 0, 1, 2
"""What a place may hold: a sentence marker, or 2 + the index of a token."""

COST_OF_A_BATCH = {"cpu": 64, "cuda": 512}
"""What one more batch costs the language model, in tokens."""


class SentenceLayout(NamedTuple):
    """Where the real tokens of padded ids (batch, length) are, and where they go.

    A sentence is read as its start marker and its tokens, </s> the last, with padding on the right:
    (batch, width), width = 1 + the longest sentence.
    """

    tokens: Tensor  # (tokens,), indices of the real tokens in ids.flatten(), row by row
    places: Tensor  # (batch, width), START, then tokens; END at padding
    mask: Tensor  # (batch, width) bool, False at padding
    lengths: list[int]  # tokens of each sentence, </s> included

    @classmethod
    def of(cls, ids: Tensor, pad: int, eos: int) -> "SentenceLayout":
        """Reads ids (batch, length) on any device; the layout is on the same.

        Raises:
            ValueError: there is no sentence, one does not end with </s>, or has padding in its middle.
        """
        if len(ids) == 0:
            raise ValueError("a batch without sentences has no score")
        device = ids.device
        ids = ids.cpu()
        real = ids != pad
        _check_ends(ids, real, eos)
        lengths = real.sum(dim=1)
        columns = torch.arange(int(lengths.max()))
        mask = columns < lengths.unsqueeze(1)
        first = lengths.cumsum(dim=0) - lengths
        places = (FIRST_TOKEN + first.unsqueeze(1) + columns).masked_fill_(~mask, END)
        start = torch.full((len(ids), 1), START)
        return cls(
            tokens=real.flatten().nonzero().squeeze(1).to(device, non_blocking=True),
            places=torch.cat([start, places], dim=1).to(device, non_blocking=True),
            mask=torch.cat([start == START, mask], dim=1).to(device, non_blocking=True),
            lengths=lengths.tolist(),
        )

    def packed(self, padded: Tensor) -> Tensor:
        """What a tensor (batch, length, ...), laid out like the ids, holds at the real tokens, (tokens, ...)."""
        return padded.flatten(0, 1)[self.tokens]

    def with_marker_at_end(self) -> "SentenceLayout":
        """The same with the end marker in place of every sentence's last token."""
        last = torch.tensor(self.lengths, device=self.places.device).unsqueeze(1)
        return self._replace(places=self.places.scatter(1, last, END))

    def part(self, sentences: Sequence[int]) -> "SentenceLayout":
        """Some of the sentences, without the padding that none of them needs; `tokens` stays whole."""
        lengths = [self.lengths[i] for i in sentences]
        width = 1 + max(lengths)
        chosen = torch.tensor(sentences).to(self.places.device, non_blocking=True)
        return self._replace(places=self.places[chosen, :width], mask=self.mask[chosen, :width], lengths=lengths)


def _check_ends(ids: Tensor, real: Tensor, eos: int) -> None:
    """Raises ValueError unless the real ids of every sentence stand together and end with </s>."""
    last = real & ~torch.nn.functional.pad(real, (0, 1))[:, 1:]  # followed by padding or by nothing
    in_one_piece = last.sum(dim=1) == 1
    ended = ((ids == eos) & last).any(dim=1)
    if not (in_one_piece & ended).all():
        raise ValueError("every sentence must end with </s>, with padding only before or only after it")


def cost_of_a_batch(tensor: Tensor) -> int:
    """What one more batch costs the language model on the tensor's device, in tokens."""
    return COST_OF_A_BATCH.get(tensor.device.type, COST_OF_A_BATCH["cuda"])


def batches(lengths: Sequence[int], cost: int) -> list[list[int]]:
    """Groups of sentences of like lengths: the cheapest way to cut the sorted sentences into batches.

    Args:
        lengths: of each sentence, in tokens.
        cost: what a batch costs besides its tokens, padding included, in tokens.

    Returns:
        Indices of the sentences, each in one group.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    starts = [i for i in range(len(order)) if i == 0 or lengths[order[i]] > lengths[order[i - 1]]]
    ends = [*starts[1:], len(order)]
    cheapest = {len(order): 0}  # what reading all sentences from a start on costs at least
    best_end = {}  # where the first batch from a start on ends then, the earliest of equals
    for start in reversed(starts):
        costs = {
            end: cost + (1 + lengths[order[end - 1]]) * (end - start) + cheapest[end] for end in ends if end > start
        }
        best_end[start] = min(costs, key=costs.__getitem__)
        cheapest[start] = costs[best_end[start]]

    groups = []
    start = 0
    while start < len(order):
        groups.append(order[start : best_end[start]])
        start = best_end[start]
    return groups
