"""BERTScore of translations by the bert-score package: its figures, with clear errors and a short signature.

FBertScorer("bert-base-uncased").score(hypotheses, references).f_bert
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fairseq_bertloss.language_model.pretrained import (
    encoder_config,
    load_encoder,
    longest_text,
    scoring_layer,
    short_name,
)
from fairseq_bertloss.language_model.tokenization import encode
from fairseq_bertloss.language_model.vocabulary import load_tokenizer
from fairseq_bertloss.progress import progress

BATCH = 64
"""Sentences that the language model reads at once, bert-score's choice."""
PAIRS_AT_ONCE = 2000
"""Pairs whose embeddings are in memory together."""

Ids = tuple[int, ...]
"""What the language model reads of a sentence, markers included."""
Pair = tuple[Ids, Ids]
"""A hypothesis and its reference."""


class BERTScores(NamedTuple):
    """Precision, recall and F1 of every pair, fractions."""

    p_bert: list[float]
    r_bert: list[float]
    f_bert: list[float]


class FBertScorer:
    """BERTScore (Zhang et al., 2020) without idf and rescaling.

    Language model and tokenizer are loaded here, by config.json; bert-score itself would choose them by letters of the
    name. It computes everything from the token ids on. A pair's figures are those that bert-score has for the pair by
    itself: in a batch, the padding of the others may beat a negative cosine there.

    Args:
        lm: hub name or folder of an encoder.
        layer: the scoring layer; None: bert-score's choice for a known name.
        device: where the language model goes; None: a GPU if there is one.
        batch_size: sentences that the language model reads at once; None: BATCH.

    Raises:
        ValueError: there is no such language model or layer, or it has no room for a sentence.
    """

    def __init__(self, lm: str, layer: int | None = None, device: str | None = None, batch_size: int | None = None):
        self._tokenizer = load_tokenizer(lm)
        config = encoder_config(lm)
        self.lm = lm
        self.layer = scoring_layer(lm, layer, config)
        config.num_hidden_layers = self.layer
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._batch_size = batch_size or BATCH
        self._encoder = load_encoder(lm, config).to(self._device)
        self._max_length = longest_text(self._encoder, lm, self._tokenizer)

    @property
    def signature(self) -> str:
        """bert-score's hash, the model by its short name."""
        from bert_score.utils import get_hash

        return get_hash(
            short_name(self.lm),
            self.layer,
            idf=False,
            rescale_with_baseline=False,
            use_custom_baseline=False,
            use_fast_tokenizer=False,
        )

    def score(self, hypotheses: Sequence[str], references: Sequence[str]) -> BERTScores:
        """Scores pairs, as fractions; a pair with nothing on one side scores 0.

        Pairs that the language model cannot tell apart are scored once, and so have one score: give all systems that
        are compared in one call, the references repeated.

        Args:
            hypotheses: one a pair.
            references: one a pair.

        Raises:
            ValueError: there are not as many hypotheses as references, or the language model gives no finite numbers.
        """
        if len(hypotheses) != len(references):
            raise ValueError(f"there are {len(hypotheses)} hypotheses and {len(references)} references")
        ids = self._read([*hypotheses, *references])
        pairs = [
            (ids[hypothesis], ids[reference]) for hypothesis, reference in zip(hypotheses, references, strict=True)
        ]
        texts = dict(zip(pairs, hypotheses, strict=True))
        scores = {pair: (0.0, 0.0, 0.0) for pair in texts if _is_empty(pair)}
        for pair, score in self._scored([pair for pair in texts if pair not in scores]):
            if not all(map(math.isfinite, score)):
                raise ValueError(
                    f"BERTScore of {texts[pair]!r} is {score}: the language model {self.lm!r} gives no finite "
                    "embeddings; are its weights damaged?"
                )
            scores[pair] = score
        return BERTScores(*([scores[pair][i] for pair in pairs] for i in range(len(BERTScores._fields))))

    def _read(self, lines: Sequence[str]) -> dict[str, Ids]:
        distinct = list(dict.fromkeys(lines))
        return dict(zip(distinct, map(tuple, encode(self._tokenizer, distinct, self._max_length)), strict=True))

    def _scored(self, pairs: Sequence[Pair]) -> Iterator[tuple[Pair, tuple[float, ...]]]:
        """Each distinct pair with its precision, recall and F1."""
        ordered = sorted(pairs, key=lambda pair: (len(pair[1]), pair[1]))  # those of one reference together
        with progress(what="BERTScore", unit=" pairs", total=len(ordered)) as bar:
            for start in range(0, len(ordered), PAIRS_AT_ONCE):
                part = ordered[start : start + PAIRS_AT_ONCE]
                embeddings = self._encode({ids for pair in part for ids in pair})
                for pair in part:
                    yield pair, match(*(embeddings[ids] for ids in pair))
                    bar.update()

    def _encode(self, sentences: set[Ids]) -> dict[Ids, Tensor]:
        """Contextual embeddings of each sentence, (tokens, dim) on the CPU."""
        ordered = sorted(sentences, key=lambda ids: (len(ids), ids))
        embeddings = {}
        for start in range(0, len(ordered), self._batch_size):
            batch = ordered[start : start + self._batch_size]
            for ids, padded in zip(batch, self._encode_batch(batch), strict=True):
                embeddings[ids] = padded[: len(ids)]
        return embeddings

    def _encode_batch(self, batch: Sequence[Ids]) -> Tensor:
        """Contextual embeddings of sentences, (sentences, longest, dim), padded."""
        from bert_score.utils import bert_encode

        sentences = [torch.tensor(ids) for ids in batch]
        padded = pad_sequence(sentences, batch_first=True, padding_value=self._tokenizer.pad_token_id)
        mask = pad_sequence([torch.ones_like(ids) for ids in sentences], batch_first=True)
        with torch.autocast(self._device.type, enabled=False):
            return bert_encode(self._encoder, padded.to(self._device), mask.to(self._device)).cpu()


def _is_empty(pair: Pair) -> bool:
    """Whether a side has nothing between its markers."""
    return any(len(ids) == 2 for ids in pair)


def match(hypothesis: Tensor, reference: Tensor) -> tuple[float, ...]:
    """Precision, recall and F1 of one pair of sentences, (tokens, dim) each, whose markers have no weight."""
    from bert_score.utils import greedy_cos_idf

    sides = []
    for embeddings in (reference, hypothesis):
        weights = torch.ones(1, len(embeddings))
        weights[:, [0, -1]] = 0.0
        # It normalises what it is given in place.
        sides += [embeddings[None].clone(), torch.ones(1, len(embeddings)), weights]
    return tuple(value.item() for value in greedy_cos_idf(*sides))
