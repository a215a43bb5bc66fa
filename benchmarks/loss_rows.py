"""The rows of benchmarks/loss.py: each a forward and backward pass from decoder features to the gradients of features
and output projection.

    for row in Workload(lm, layer, batch).rows("cpu", torch.float32, ["softmax"]):
        row.update()
"""

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from loss_inputs import PAD, Batch
from torch import Tensor

from fairseq_bertloss.loss.bertscore_loss import BERTScoreLoss
from fairseq_bertloss.loss.expected_embeddings import Projection
from fairseq_bertloss.loss.soft_predictions import DEFAULT_TEMPERATURE, at_least_float32, soft_prediction

CROSS_ENTROPY = "cross-entropy"
REAL_TOKENS = "cross-entropy, real tokens"
LANGUAGE_MODEL = "language model"
FLOOR = "floor"
PRODUCTS = "dense products + language model"
OURS, CACHED, PLAIN, PUBLISHED = WAYS = ("ours", "ours, cached references", "plain", "published")

CACHE_LIMIT = 10**10
"""Bytes that the references' contextual embeddings may take on disk."""


@dataclass(frozen=True)
class Row:
    """What is measured: `update` leaves gradients in the leaves of `batch` and returns the loss, without gradient."""

    way: str
    kind: str | None
    batch: Batch
    update: Callable[[], Tensor]

    @property
    def name(self) -> str:
        return self.way if self.kind is None else f"{self.kind}, {self.way}"


@dataclass(frozen=True)
class Workload:
    """Everything that the rows are made from, so that another process can make them again.

    In `cache` the references' contextual embeddings are kept; None: there is no row that looks there.
    """

    lm: str
    layer: int | None
    batch: Batch
    cache: str | None = None

    def rows(self, device: str, dtype: torch.dtype, kinds: Sequence[str]) -> list[Row]:
        """The rows that every kind of soft prediction is compared with, and those of each kind.

        Raises:
            ValueError: the language model cannot be loaded, or lacks the layer, the symbols or the positions.
        """
        bertscore = _bertscore(self.lm, self.layer, tuple(self.batch.symbols), device, dtype)
        if self.batch.target.size(1) > bertscore.max_target_length:
            raise ValueError(
                f"{self.lm} has positions for {bertscore.max_target_length} symbols, the longest sentence has "
                f"{self.batch.target.size(1)}"
            )
        batch = self.batch.as_leaves(device, dtype)
        rows = _common_rows(bertscore, batch)
        for kind in kinds:
            rows += _rows(bertscore, batch, kind, self.cache)
        return rows


@functools.lru_cache(maxsize=1)
def _bertscore(lm: str, layer: int | None, symbols: tuple[str, ...], device: str, dtype: torch.dtype) -> BERTScoreLoss:
    """Read once for all workloads with that language model, which differ in their batches.

    Raises:
        ValueError: as of Workload.rows.
    """
    return BERTScoreLoss.from_pretrained(lm, symbols, layer).to(device, dtype).train()


def _common_rows(bertscore: BERTScoreLoss, batch: Batch) -> list[Row]:
    passes = _language_model(bertscore, batch)

    def floor() -> Tensor:
        return _cross_entropy(batch) + passes()

    def products() -> Tensor:
        _dense_products(batch, bertscore.embedding_table)
        return passes()

    return [
        Row(CROSS_ENTROPY, None, batch, lambda: _cross_entropy(batch)),
        Row(REAL_TOKENS, None, batch, lambda: _cross_entropy(batch, without_padding=True)),
        Row(LANGUAGE_MODEL, None, batch, passes),
        Row(FLOOR, None, batch, floor),
        Row(PRODUCTS, None, batch, products),
    ]


def _rows(bertscore: BERTScoreLoss, batch: Batch, kind: str, cache: str | None) -> list[Row]:
    loss = copy.copy(bertscore)  # the language model and the table are shared
    loss.soft_prediction = kind
    loss.temperature = DEFAULT_TEMPERATURE[kind]
    updates = {OURS: partial(_ours, loss, batch)}
    if cache is not None:
        updates[CACHED] = partial(_ours, _with_cache(loss, batch, cache), batch)
    updates[PLAIN] = partial(_plain, loss, batch)
    if kind in PUBLISHED_KINDS:
        updates[PUBLISHED] = partial(_published, loss, batch)
    return [Row(way, kind, batch, update) for way, update in updates.items()]


def _with_cache(bertscore: BERTScoreLoss, batch: Batch, folder: str) -> BERTScoreLoss:
    """The loss as in the second epoch: every reference of the batch is in the cache."""
    cached = copy.copy(bertscore)
    cached.cache_references(folder, CACHE_LIMIT)
    cached.score_ids(batch.target, batch.target)
    return cached


def _finish(loss: Tensor, *leaves: Tensor | None) -> Tensor:
    """The backward pass, with no gradient left of an earlier one, as after zero_grad."""
    for leaf in leaves:
        if leaf is not None:
            leaf.grad = None
    loss.backward()
    return loss.detach()


def _cross_entropy(batch: Batch, without_padding: bool = False) -> Tensor:
    """fairseq's way: logits at every position, their log-softmax in float32, the padding ignored at the end."""
    features, target = batch.features, batch.target
    if without_padding:
        real = target.ne(PAD)
        features, target = features[real], target[real]
    lprobs = F.log_softmax(F.linear(features, batch.weight, batch.bias), dim=-1, dtype=torch.float32)
    loss = F.nll_loss(lprobs.view(-1, lprobs.size(-1)), target.reshape(-1), ignore_index=PAD, reduction="sum")
    return _finish(loss, batch.features, batch.weight, batch.bias)


def _language_model(bertscore: BERTScoreLoss, batch: Batch) -> Callable[[], Tensor]:
    """The passes of the language model: references without gradient, then as inputs that want one."""
    table = bertscore.embedding_table
    encode = bertscore.language_model
    start = table[bertscore.specials.bos].expand(len(batch.target), 1, -1)
    inputs = torch.cat([start, table[batch.target]], dim=1).requires_grad_()
    mask = F.pad(batch.target.ne(PAD), (1, 0), value=True)
    # Any direction serves that is not the same for all features: that one layer normalisation takes out again.
    direction = torch.randn(*inputs.shape[:2], encode(inputs[:1].detach(), mask[:1]).size(-1)).to(inputs)

    def passes() -> Tensor:
        with torch.no_grad():
            encode(inputs, mask)
        return _finish((encode(inputs, mask) * direction).sum(), inputs)

    return passes


@torch.no_grad()
def _dense_products(batch: Batch, table: Tensor) -> None:
    """The five products that a prediction without zeros cannot avoid: logits, expected embeddings, three gradients."""
    features = batch.features[batch.target.ne(PAD)]
    logits = features @ batch.weight.T
    embeddings = logits @ table
    gradient = embeddings @ table.T  # of the probabilities; any numbers take as long
    gradient @ batch.weight
    gradient.T @ features


def _ours(bertscore: BERTScoreLoss, batch: Batch) -> Tensor:
    scores, _ = bertscore.score_features(batch.features, batch.target, Projection(batch.weight, batch.bias))
    return _finish(bertscore.objective(scores.rewarded).sum(), batch.features, batch.weight, batch.bias)


def _plain(bertscore: BERTScoreLoss, batch: Batch) -> Tensor:
    """Every tensor over the vocabulary is kept, for the backward pass and for what the log needs."""
    logits = F.linear(batch.features, batch.weight, batch.bias)
    probabilities = soft_prediction(logits, bertscore.soft_prediction, bertscore.temperature)
    f1 = _dense_f1(bertscore, probabilities, batch.target)
    lprobs = torch.log_softmax(at_least_float32(logits.detach()), dim=-1)
    _statistics(lprobs, logits, batch.target)
    del lprobs
    _statistics_of_soft_predictions(probabilities, batch.target)
    return _finish(-f1.float().sum(), batch.features, batch.weight, batch.bias)


def _published(bertscore: BERTScoreLoss, batch: Batch) -> Tensor:
    """The authors' way, from its description: log-probabilities first, everything dense, padding among it."""
    lprobs = F.log_softmax(F.linear(batch.features, batch.weight, batch.bias), dim=-1, dtype=torch.float32)
    probabilities = PUBLISHED_KINDS[bertscore.soft_prediction](lprobs)
    _statistics(lprobs, probabilities, batch.target)
    f1 = _dense_f1(bertscore, probabilities, batch.target, padding=True)
    return _finish(-f1.float().sum(), batch.features, batch.weight, batch.bias)


def _dense_f1(bertscore: BERTScoreLoss, probabilities: Tensor, target: Tensor, padding: bool = False) -> Tensor:
    """F of each sentence by one product with the whole table; on request padding counts, as positions of cosine 0."""
    from differences import Deviations, PublishedLoss  # brings fairseq along

    published = PublishedLoss(bertscore, bertscore.specials.eos)  # which marks no end here
    return published.f1(probabilities.to(bertscore.embedding_table.dtype), target, Deviations(padding=padding))


@torch.no_grad()
def _statistics(lprobs: Tensor, chosen_from: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """What the log shows of the model: the sums of -log p(target) and of right choices."""
    real = target.ne(PAD)
    nll = -lprobs.gather(-1, target.unsqueeze(-1)).squeeze(-1)[real].sum()
    return nll, (chosen_from.argmax(dim=-1).eq(target) & real).sum()


@torch.no_grad()
def _statistics_of_soft_predictions(probabilities: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The sums of their entropies and supports."""
    real = target.ne(PAD)
    return torch.special.entr(probabilities).sum(dim=-1)[real].sum(), (probabilities > 0).sum(dim=-1)[real].sum()


def sorting_sparsemax(scores: Tensor) -> Tensor:
    """Sparsemax by sorting all scores (Martins and Astudillo, 2016, Algorithm 1), (..., vocabulary)."""
    ordered = scores.sort(dim=-1, descending=True).values
    sums = ordered.cumsum(dim=-1)
    rank = torch.arange(1, scores.size(-1) + 1, device=scores.device, dtype=scores.dtype)
    support = (1 + rank * ordered > sums).sum(dim=-1, keepdim=True)
    threshold = (sums.gather(-1, support - 1) - 1) / support
    return (scores - threshold).relu()


PUBLISHED_KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": torch.exp,
    "sparsemax": sorting_sparsemax,
    "gumbel_softmax": partial(F.gumbel_softmax, tau=DEFAULT_TEMPERATURE["gumbel_softmax"]),
}
"""Soft predictions of log-probabilities; the authors have no entmax15."""
