"""What benchmarks/loss.py measures on: features, output projection and targets, of a trained model or made up."""

import contextlib
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from fairseq_bertloss.language_model.vocabulary import Specials, dictionary_symbols, load_tokenizer

BOS, PAD, EOS, UNK = range(4)
"""fairseq's order, in made-up targets and in every dictionary."""

BACKGROUND = 1.8
"""Standard deviation of the logits of symbols that have nothing to do with a position."""

CONFIDENCE = (2.4, 2.6)
"""Mean and standard deviation of log(p / (1 - p)), p being the probability of the likeliest symbol."""

GAPS = (4.0, 1.2, 0.8, 0.6, 0.5, 0.5)
"""Mean distances between the logits of the likeliest symbols, from the first to the second and so on."""

SHORTEST = 0.7
"""The shortest sentence of a made-up batch, in lengths of its longest: those of a real batch have similar lengths."""


@dataclass(frozen=True)
class Batch:
    """What the decoder hands over and what it should say.

    features (batch, length, d), target (batch, length) and the output projection: weight (V, d), bias (V,) or None.
    """

    features: Tensor
    target: Tensor
    weight: Tensor
    bias: Tensor | None
    symbols: list[str]
    source: str

    @property
    def tokens(self) -> int:
        """Target positions that are no padding."""
        return int(self.target.ne(PAD).sum())

    @property
    def padding(self) -> float:
        """Share of the positions."""
        return 1 - self.tokens / self.target.numel()

    def as_leaves(self, device: str, dtype: torch.dtype) -> "Batch":
        """On a device, in a precision, with features and projection as leaves that want a gradient."""
        leaves = {
            name: tensor.detach().to(device, dtype).requires_grad_()
            for name in ("features", "weight", "bias")
            if (tensor := getattr(self, name)) is not None
        }
        return replace(self, target=self.target.to(device), **leaves)

    def shrunk(self, sentences: int = 2) -> "Batch":
        """The first sentences alone."""
        return replace(self, features=self.features[:sentences], target=self.target[:sentences])


def synthetic(tokens: int, symbols: Sequence[str], dim: int, longest: int, seed: int = 1) -> Batch:
    """A batch whose logits are peaked like a trained model's.

    The rows of the projection are random directions. A position's features hold the row of its likeliest symbol, which
    is the target as often as its probability says, rows of the next likeliest, and noise, which gives all symbols
    normally distributed logits. The constants are set so that entropy, accuracy and supports come out as those of
    the quickstart's baseline on its validation set (README.md beside this file).

    Args:
        tokens: at least 2; the targets have as many, each sentence's end included.
        symbols: fairseq's four specials first.
        dim: width of the features.
        longest: sentence, in symbols.
        seed: of all that is drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    target = _targets(tokens, len(symbols), longest, generator)
    weight = F.normalize(torch.randn(len(symbols), dim, generator=generator), dim=-1)
    features = BACKGROUND * torch.randn(*target.shape, dim, generator=generator)

    mean, deviation = CONFIDENCE
    confidence = mean + deviation * torch.randn(target.shape, generator=generator)
    is_right = torch.rand(target.shape, generator=generator) < confidence.sigmoid()
    likeliest = torch.where(is_right, target, torch.randint(4, len(symbols), target.shape, generator=generator))
    # The background's own log-sum-exp is log V + variance / 2.
    logit = confidence + math.log(len(symbols)) + BACKGROUND**2 / 2
    features += logit.unsqueeze(-1) * weight[likeliest]
    for gap in GAPS:
        logit = logit - gap * torch.empty(target.shape).exponential_(generator=generator)
        other = torch.randint(4, len(symbols), target.shape, generator=generator)
        features += logit.unsqueeze(-1) * weight[other]
    return Batch(features, target, weight, None, list(symbols), "made-up logits")


def _targets(tokens: int, vocabulary: int, longest: int, generator: torch.Generator) -> Tensor:
    """Sentences of similar lengths, the longest first, of random symbols; tokens in all."""
    lengths = []
    while (left := tokens - sum(lengths)) > 0:
        drawn = int(torch.randint(math.ceil(SHORTEST * longest), longest + 1, (), generator=generator))
        lengths.append(min(drawn, left))
    lengths.sort(reverse=True)
    target = torch.randint(4, vocabulary, (len(lengths), lengths[0]), generator=generator)
    position = torch.arange(lengths[0])
    length = torch.tensor(lengths).unsqueeze(1)
    return target.masked_fill(position == length - 1, EOS).masked_fill(position >= length, PAD)


def made_up_symbols(lm: str, vocabulary: int) -> list[str]:
    """fairseq's specials and pieces of the language model; where it has too few, they come again."""
    pieces = dictionary_symbols(load_tokenizer(lm))
    wanted = vocabulary - len(Specials())
    return [*Specials(), *(pieces * math.ceil(wanted / len(pieces)))[:wanted]]


def trained(checkpoint: str, data: str, subset: str, tokens: int, longest: int | None, dim: int) -> Batch:
    """Features and projection of a trained model that reads real references (teacher forcing).

    Args:
        checkpoint: of fairseq-train; the model's decoder is a transformer or built like one.
        data: folder that fairseq-preprocess wrote.
        subset: of the data.
        tokens: at most, the ends of sentences included; of a batch of fairseq-train's its --max-tokens.
        longest: sentences of like lengths, hardly padded: from targets of so many symbols downwards. None: a batch of
            fairseq-train, which sorts by the source's length first.
        dim: width that the features get, the logits staying what they are (`widened`).

    Raises:
        ValueError: the files do not fit together, or the subset has too few tokens of such sentences.
    """
    from fairseq import utils

    from fairseq_bertloss.forced_decoding import load_model

    model, task = load_model(checkpoint, data)
    try:
        task.load_dataset(subset)
    except FileNotFoundError as error:
        raise ValueError(f"{data} has no subset {subset!r}: {error}") from error
    if not hasattr(getattr(model.decoder, "output_projection", None), "weight"):
        raise ValueError(f"the decoder of {checkpoint} has no output projection: a transformer's is needed")
    dataset, where = task.dataset(subset), f"{subset!r} of {data}"
    chosen = _typical_batch(dataset, tokens, where) if longest is None else _sentences(dataset, tokens, longest, where)
    sample = dataset.collater([dataset[i] for i in chosen])
    device = next(model.parameters()).device
    sample = utils.apply_to_sample(lambda tensor: tensor.to(device), sample)
    with torch.no_grad():
        features, _ = model(**sample["net_input"], features_only=True)
    projection = model.decoder.output_projection
    features, weight = widened(features.float().cpu(), projection.weight.detach().float().cpu(), dim)
    bias = None if projection.bias is None else projection.bias.detach().float().cpu()
    symbols = list(task.target_dictionary.symbols)
    return Batch(features, sample["target"].cpu(), weight, bias, symbols, f"logits of {checkpoint} on {subset!r}")


def fairseq_batches(dataset, max_tokens: int) -> list[Sequence[int]]:
    """The batches that fairseq-train makes of a data set, from the shortest sources to the longest."""
    from fairseq.data.data_utils import numpy_seed

    with numpy_seed(1):
        indices = dataset.ordered_indices()
    return dataset.batch_by_size(indices, max_tokens=max_tokens, required_batch_size_multiple=1)


def _typical_batch(dataset, max_tokens: int, where: str) -> Sequence[int]:
    """The one of fairseq-train's batches whose targets have the median share of padding."""

    def padding(batch: Sequence[int]) -> float:
        lengths = dataset.tgt_sizes[batch]
        return 1 - float(lengths.mean() / lengths.max())

    if max(map(dataset.num_tokens, range(len(dataset)))) > max_tokens:
        raise ValueError(f"--tokens {max_tokens} is less than the longest sentence of {where} has")
    batches = fairseq_batches(dataset, max_tokens)
    return sorted(batches, key=padding)[len(batches) // 2]


def _sentences(dataset, tokens: int, longest: int, where: str) -> list[int]:
    """Samples of the dataset, the longest targets first, none above `longest`, together at most `tokens`."""
    lengths = {i: int(size) for i, size in enumerate(dataset.tgt_sizes) if size <= longest}
    if sum(lengths.values()) < tokens:
        raise ValueError(
            f"{where} has {sum(lengths.values())} target tokens in sentences of at most {longest} symbols, not {tokens}"
            ": lower --tokens, raise --longest or take another --subset"
        )
    chosen, total = [], 0
    for i in sorted(lengths, key=lengths.get, reverse=True):
        if total + lengths[i] > tokens:
            break
        chosen.append(i)
        total += lengths[i]
    if not chosen:
        raise ValueError(f"--tokens {tokens} is less than the longest sentence of {where} has")
    return chosen


def widened(features: Tensor, weight: Tensor, dim: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """The same logits from wider features: both sides are padded with zeros and turned by one orthogonal matrix.

    Args:
        features: (..., narrow).
        weight: (vocabulary, narrow).
        dim: at least narrow.

    Raises:
        ValueError: dim is less than narrow.
    """
    narrow = weight.size(1)
    if dim < narrow:
        raise ValueError(f"the model's features are {narrow} wide, more than --features-dim {dim}")
    if dim == narrow:
        return features, weight
    normal = torch.randn(dim, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    rotation = torch.linalg.qr(normal).Q[:narrow].float()  # rows beyond would meet the zeros
    return features @ rotation, weight @ rotation


@contextlib.contextmanager
def language_model(name: str, layer: int | None, vocabulary: int) -> Iterator[tuple[str, int | None]]:
    """Name or folder and scoring layer of a language model, for the time of a with statement.

    Args:
        name: hub name or folder; or `random:768x12`, a BERT of that width and depth with random weights.
        layer: the scoring layer; None: bert-score's, and of a random BERT the last.
        vocabulary: how many pieces a random BERT has at least.

    Raises:
        ValueError: `random:` is not followed by WIDTHxLAYERS with a width in multiples of 64.
    """
    if not name.startswith("random:"):
        yield name, layer
        return
    width, _, layers = name.removeprefix("random:").partition("x")
    if not (width.isdecimal() and layers.isdecimal() and int(layers) > 0 and int(width) > 0 and int(width) % 64 == 0):
        raise ValueError(
            f"cannot read the language model {name!r}: write random:WIDTHxLAYERS, the width a multiple of 64, "
            "such as random:768x12"
        )
    with tempfile.TemporaryDirectory() as folder:
        _save_random_bert(folder, int(width), int(layers), vocabulary)
        yield folder, layer or int(layers)


def _save_random_bert(folder: str, width: int, layers: int, vocabulary: int) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    # Not by BertTokenizerFast, to which transformers 5 gives a vocabulary in another way than 4.
    specials = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    pieces = [*specials.values(), "[MASK]", *(f"piece{i}" for i in range(vocabulary))]
    tokenizer = Tokenizer(WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, mask_token="[MASK]", **specials).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(pieces), hidden_size=width, num_hidden_layers=layers, num_attention_heads=width // 64,
        intermediate_size=4 * width,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)
