"""MoverScore (Zhao et al., 2019): how far the words of a translation are from those of its reference.

    MoverScorer("bert-base-uncased").score(hypotheses, references)  # one score a sentence

The score of a pair is 1 - EMD: the cost of the cheapest transport of the hypothesis' words onto the reference's in the
space of contextual embeddings. Beside the authors' package moverscore 1.0.3 it leaves out the small constants that
keep that from dividing by zero, and takes any encoder.
"""

import contextlib
import functools
import itertools
import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fairseq_bertloss.evaluation.onednn import use_onednn
from fairseq_bertloss.evaluation.references import References
from fairseq_bertloss.evaluation.words import WordFinder
from fairseq_bertloss.language_model.pretrained import encoder_config, load_encoder, max_length, short_name
from fairseq_bertloss.language_model.tokenization import encode
from fairseq_bertloss.language_model.vocabulary import load_tokenizer
from fairseq_bertloss.progress import progress

VERSIONS = ("v2", "v1")
V1_LAYERS = 5
CPU_BATCH = 256
GPU_BATCH = 2**14
"""Positions that the language model reads at once, padding included: on a CPU as many as its cache holds."""
WORDS_AT_ONCE = 2**17
"""Words whose embeddings are in memory at once: 200 MB for MiniLM, 1.6 GB for v1 of BERT-large."""


@dataclass(frozen=True, eq=False)
class Sentence:
    """Token ids, [CLS] and [SEP] included, and the positions compared. Lines of the same ids share one object."""

    text: str
    ids: tuple[int, ...]
    words: list[int]

    @property
    def is_empty(self) -> bool:
        return len(self.ids) == 2


Weights = tuple[float, ...]
"""The weight of each word of a sentence, >= 0."""


class Pair(NamedTuple):
    """A hypothesis and its reference, and what their words weigh: all that a score depends on."""

    hypothesis: Sentence
    reference: Sentence
    weights: tuple[Weights, Weights]


class MoverScorer:
    """MoverScore of sentences with one language model.

    Word pieces other than a word's first and punctuation are left out; [CLS] and [SEP] are not.

    Args:
        lm: hub name or local folder of a BERT-like encoder.
        version: "v2", Euclidean distance between normalised embeddings of the last layer; or "v1", squared distance
            between the normalised concatenations of minimum, mean and maximum over the last five layers.
        idf: weigh words by inverse document frequency, counted in a system's hypotheses and in the references apart,
            which leaves [CLS] and [SEP] without weight; else all alike.
        device: of the language model; None: the GPU where there is one.
        batch_size: sentences that the language model reads at once; None: as many as have, padding included, the
            positions that suit the device.

    Raises:
        ValueError: no such version, or the language model cannot be loaded, has no room for a sentence, or its words
            cannot be told apart.
    """

    def __init__(
        self, lm: str, version: str = "v2", idf: bool = False, device: str | None = None, batch_size: int | None = None
    ):
        if version not in VERSIONS:
            raise ValueError(f"there is no MoverScore {version!r}; its versions are {' and '.join(VERSIONS)}")
        self._lm = lm
        self._version = version
        self._idf = idf
        self._tokenizer = load_tokenizer(lm)
        self._find_words = WordFinder(self._tokenizer)
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._on_cpu = self._device.type == "cpu"
        positions = CPU_BATCH if self._on_cpu else GPU_BATCH
        self._full = (positions, math.inf) if batch_size is None else (math.inf, batch_size)
        self._encoder = load_encoder(lm, encoder_config(lm)).to(self._device)
        self._max_length = max_length(self._encoder, lm)
        if self._on_cpu and torch.backends.mkldnn.is_available():
            use_onednn(self._encoder)

    @property
    def signature(self) -> str:
        """What makes a score comparable with another: model, version, weights, and the packages' versions."""
        import ot
        import transformers

        model = short_name(self._lm)
        weights = "idf" if self._idf else "uniform"
        return f"{model}|{self._version}|{weights}|pot:{ot.__version__}|transformers:{transformers.__version__}"

    def score(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        """MoverScore of each pair.

        Returns:
            A score a pair, 1 for equal sentences (without idf) and without a lower bound; 0 where a sentence is empty
            or has no word of positive weight.

        Raises:
            ValueError: the lists differ in length, or the language model gives numbers that are not finite.
        """
        return self.score_systems([hypotheses], References.of(references))[0]

    def score_systems(self, systems: Sequence[Sequence[str]], references: References) -> list[list[float]]:
        """MoverScore of each sentence of each system: the mean over its references, as the authors' example has it.

        The idf weights of hypotheses come from the system's own, those of references from all of them.

        Sentences that occur several times are encoded once, and pairs that the language model cannot tell apart have
        one score if their words weigh the same.

        Args:
            systems: their hypotheses, one a sentence.
            references: of the same sentences.

        Returns:
            Scores of each system, as of `score`.

        Raises:
            ValueError: as in `score`.
        """
        for hypotheses in systems:
            if len(hypotheses) != len(references):
                raise ValueError(f"there are {len(hypotheses)} hypotheses but {len(references)} references")
        by_text = self._read([*itertools.chain(*systems), *references.lines])
        pairs = [self._pairs([by_text[line] for line in hypotheses], references, by_text) for hypotheses in systems]
        scores = {pair: self._score_without_transport(pair) for pair in itertools.chain(*pairs)}
        open_pairs = [pair for pair, score in scores.items() if score is None]
        with _workers() as pool, progress(what="MoverScore", unit=" pairs", total=len(open_pairs)) as bar:
            for chunk in _chunks(open_pairs):
                solve = functools.partial(self._transport, self._encode(chunk, pool))
                for pair, score in zip(chunk, pool.map(solve, chunk), strict=True):
                    scores[pair] = score
                    bar.update()
        return [
            [statistics.fmean(sentence) for sentence in references.grouped([scores[pair] for pair in own])]
            for own in pairs
        ]

    def _read(self, lines: Sequence[str]) -> dict[str, Sentence]:
        by_text = {}
        by_ids = {}
        distinct = list(dict.fromkeys(lines))
        encoded = map(tuple, encode(self._tokenizer, distinct, self._max_length))
        for text, ids in zip(distinct, encoded, strict=True):
            if ids not in by_ids:
                by_ids[ids] = Sentence(text, ids, self._find_words(ids))
            by_text[text] = by_ids[ids]
        return by_text

    def _pairs(
        self, hypotheses: Sequence[Sentence], references: References, by_text: dict[str, Sentence]
    ) -> list[Pair]:
        """Each hypothesis with each of its references."""
        expected = [by_text[line] for line in references.lines]
        sides = zip(references.repeated(self._weights(hypotheses)), self._weights(expected), strict=True)
        return [Pair(*pair) for pair in zip(references.repeated(hypotheses), expected, sides, strict=True)]

    def _weights(self, side: Sequence[Sentence]) -> list[Weights]:
        """The weights of each sentence's words."""
        if not self._idf:
            return [(1.0,) * len(sentence.words) for sentence in side]
        counts = Counter(token_id for sentence in side for token_id in set(sentence.ids))
        idf = {token_id: math.log((len(side) + 1) / (count + 1)) for token_id, count in counts.items()}
        return [tuple(idf[sentence.ids[position]] for position in sentence.words) for sentence in side]

    def _score_without_transport(self, pair: Pair) -> float | None:
        if pair.hypothesis.is_empty or pair.reference.is_empty:
            return 0.0
        return 1.0 if pair.hypothesis is pair.reference and not self._idf else None

    def _encode(self, pairs: Sequence[Pair], pool: Executor) -> dict[Sentence, np.ndarray]:
        """Embeddings of the words of every sentence, (words, dim) float32."""
        sentences = dict.fromkeys(sentence for pair in pairs for sentence in pair[:2])  # keeps their order
        batches = list(_batches(sorted(sentences, key=lambda sentence: -len(sentence.ids)), *self._full))
        encoded = (pool.map if self._on_cpu else map)(self._encode_batch, batches)
        return dict(zip(itertools.chain(*batches), itertools.chain.from_iterable(encoded), strict=True))

    @torch.inference_mode()
    def _encode_batch(self, batch: Sequence[Sentence]) -> list[np.ndarray]:
        ids = [torch.tensor(sentence.ids) for sentence in batch]
        padded = pad_sequence(ids, batch_first=True, padding_value=self._tokenizer.pad_token_id)
        mask = pad_sequence([torch.ones_like(sentence_ids) for sentence_ids in ids], batch_first=True)
        length = padded.size(1)
        positions = [row * length + position for row, sentence in enumerate(batch) for position in sentence.words]
        with torch.autocast(self._device.type, enabled=False):
            output = self._encoder(
                input_ids=padded.to(self._device),
                attention_mask=mask.to(self._device),
                output_hidden_states=self._version == "v1",
            )
            words = self._words(output, torch.tensor(positions, device=self._device)).cpu().numpy()
        arrays = np.split(words, np.cumsum([len(sentence.words) for sentence in batch])[:-1])
        for sentence, array in zip(batch, arrays, strict=True):
            if not np.isfinite(array).all():
                raise ValueError(
                    f"the language model {self._lm!r} gives embeddings that are not finite for {sentence.text!r}"
                )
        return arrays

    def _words(self, output, positions: Tensor) -> Tensor:
        """The vectors that are compared, (positions, dim) of length 1, at positions of the flattened batch."""
        if self._version == "v2":
            return F.normalize(output.last_hidden_state.flatten(0, 1)[positions], dim=-1)
        layers = output.hidden_states[1:][-V1_LAYERS:]  # without the embedding layer
        layers = torch.stack([F.normalize(layer.flatten(0, 1)[positions], dim=-1) for layer in layers])
        return F.normalize(torch.cat([layers.amin(0), layers.mean(0), layers.amax(0)], dim=-1), dim=-1)

    def _transport(self, embeddings: dict[Sentence, np.ndarray], pair: Pair) -> float:
        import ot

        weights = [np.array(side) for side in pair.weights]
        if not all(side.any() for side in weights):
            return 0.0
        masses = [side[side > 0] / side.sum() for side in weights]
        points = [embeddings[sentence][side > 0] for sentence, side in zip(pair[:2], weights, strict=True)]
        distances = _squared_distances(*points)
        if self._version == "v2":
            distances = np.sqrt(distances)
        return 1.0 - float(ot.emd2(*masses, distances, center_dual=False, check_marginals=False))


def _chunks(pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
    """Pairs, those of one reference together, as many at a time as memory holds the embeddings of."""
    chunk = []
    words = 0
    ordered = sorted(pairs, key=lambda pair: (len(pair.reference.ids), pair.reference.ids))
    for reference, group in itertools.groupby(ordered, key=lambda pair: pair.reference):
        group = list(group)
        more = len(reference.words) + sum(len(pair.hypothesis.words) for pair in group)
        if chunk and words + more > WORDS_AT_ONCE:
            yield chunk
            chunk = []
            words = 0
        chunk += group
        words += more
    if chunk:
        yield chunk


def _batches(sentences: Sequence[Sentence], positions: float, most: float) -> Iterator[list[Sentence]]:
    """Sentences, longest first, in batches of `most` and so many positions, padding included, or of one sentence."""
    batch = []
    for sentence in sentences:
        if batch and ((len(batch) + 1) * len(batch[0].ids) > positions or len(batch) >= most):
            yield batch
            batch = []
        batch.append(sentence)
    yield batch


def _squared_distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances of points, (n, dim) and (m, dim), as (n, m) float64."""
    one = one.astype(np.float64)
    other = other.astype(np.float64)
    squares = np.square(one).sum(1)[:, None] + np.square(other).sum(1) - 2 * one @ other.T
    return np.maximum(squares, 0.0)


@contextlib.contextmanager
def _workers() -> Iterator[Executor]:
    """A worker for each of torch's threads: batches side by side keep them busier than the parts of one batch."""
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)
