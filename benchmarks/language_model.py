"""What a precision of the language model's own, and torch.compile, cost and gain: time, F and its gradient.

    python benchmarks/language_model.py --lm NAME --layer N --reference FILE --hypotheses FILE --compile

The files are plain text or fairseq-generate's output. Batches are made as fairseq-train makes them: sentences of like
length, up to --max-tokens, padded. All contenders take turns in every round; a time is given as its ratio to that of
float32 without torch.compile in the same round: the median, and the 20th and 80th percentile for the noise.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fairseq_bertloss.evaluation.hypotheses import read_references, read_translations
from fairseq_bertloss.language_model.frozen import DTYPES, FrozenLanguageModel
from fairseq_bertloss.language_model.vocabulary import load_tokenizer
from fairseq_bertloss.loss.matching import BERTScore, Comparison, Side, greedy_match

Encode = Callable[[Tensor, Tensor], Tensor]


class Inputs(NamedTuple):
    """What the language model reads of a batch, the hypotheses or the references."""

    embeddings: Tensor  # (batch, length, size)
    mask: Tensor  # (batch, length)
    weights: Tensor  # (batch, length)


class Batch(NamedTuple):
    """Sentence pairs that are scored together."""

    hypotheses: Inputs
    references: Inputs


class Contender(NamedTuple):
    """What is timed: the two passes over a batch that training makes."""

    forward: Callable[[Batch], Tensor]
    forward_backward: Callable[[Batch], None]


def read_pairs(options: argparse.Namespace, tokenizer) -> list[tuple[str, str]]:
    """Hypothesis and reference of each sentence, the shortest hypotheses first, as fairseq sorts what it batches."""
    hypotheses = read_translations(options.hypotheses, tokenizer).text
    references = read_references(options.reference, tokenizer)
    if len(hypotheses) != len(references):
        raise SystemExit(f"{len(hypotheses)} hypotheses, but {len(references)} references")
    return sorted(zip(hypotheses, references, strict=True), key=lambda pair: len(tokenizer.tokenize(pair[0])))


def make_batches(pairs: Sequence[tuple[str, str]], tokenizer, table: Tensor, max_tokens: int) -> list[Batch]:
    """All pairs in batches of up to max_tokens on the longer side, padding included."""
    groups, longest = [[]], 0
    for pair in pairs:
        longest = max(longest, *(len(tokenizer.tokenize(line)) + 2 for line in pair))
        if groups[-1] and longest * (len(groups[-1]) + 1) > max_tokens:
            groups.append([])
            longest = max(len(tokenizer.tokenize(line)) + 2 for line in pair)
        groups[-1].append(pair)
    return [Batch(*(make_inputs(lines, tokenizer, table) for lines in zip(*group, strict=True))) for group in groups]


def make_inputs(lines: Sequence[str], tokenizer, table: Tensor) -> Inputs:
    """Makes inputs as bert-score reads a list of sentences: the two markers of each count nothing."""
    encoded = tokenizer(list(lines), return_tensors="pt", padding=True, truncation=True).to(table.device)
    ids, mask = encoded["input_ids"], encoded["attention_mask"].bool()
    markers = (ids == tokenizer.cls_token_id) | (ids == tokenizer.sep_token_id)
    return Inputs(table[ids], mask, (mask & ~markers).float())


def encoding(encode: Encode) -> Contender:
    """The language model's passes: the references' without gradient, the hypotheses' with."""

    def forward(batch: Batch) -> Tensor:
        with torch.no_grad():
            return encode(batch.references.embeddings, batch.references.mask)

    def forward_backward(batch: Batch) -> None:
        embeddings = batch.hypotheses.embeddings.detach().requires_grad_()
        encode(embeddings, batch.hypotheses.mask).sum().backward()

    return Contender(forward, forward_backward)


def matching(match: Callable[[Side, Side], BERTScore], dim: int) -> Contender:
    """Scoring without and with gradient; what the vectors are makes no difference to its time."""

    def side(inputs: Inputs) -> Side:
        vectors = torch.randn(*inputs.mask.shape, dim, device=inputs.mask.device)
        return Side(vectors, inputs.weights, inputs.mask)

    def score(batch: Batch) -> Tensor:
        predicted = side(batch.hypotheses)
        predicted.embeddings.requires_grad_(torch.is_grad_enabled())
        return match(predicted, side(batch.references)).f1.sum()

    def forward(batch: Batch) -> Tensor:
        with torch.no_grad():
            return score(batch)

    return Contender(forward, lambda batch: score(batch).backward())


def seconds(step: Callable[[Batch], object], batches: Sequence[Batch]) -> float:
    """The time of a pass over all batches."""
    _wait()
    start = time.perf_counter()
    for batch in batches:
        step(batch)
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def measure(contenders: dict[str, Contender], batches: Sequence[Batch], rounds: int) -> None:
    """Prints a row of times for each contender; the first is what the others are compared with."""
    warm_up = {name: [seconds(step, batches) for step in contender] for name, contender in contenders.items()}
    times = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            times[name].append([seconds(step, batches) for step in contender])
    times = {name: np.array(measured) for name, measured in times.items()}  # (rounds, 2)
    first = next(iter(times.values()))
    print("| | forward | forward and backward | forward, s | forward and backward, s | warm-up, s |")
    print("|---|---|---|---|---|---|")
    for name, measured in times.items():
        median = np.median(measured, axis=0)
        extra = max(0.0, sum(warm_up[name]) - median.sum())
        ratios = [_with_noise(ratio) for ratio in (measured / first).T]
        print(f"| {name} | {' | '.join(ratios)} | {median[0]:.3f} | {median[1]:.3f} | {extra:.1f} |")


def _with_noise(values: np.ndarray) -> str:
    low, middle, high = np.percentile(values, [20, 50, 80])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def greedily_matched(predicted: Side, reference: Side) -> BERTScore:
    """F1 from contextual embeddings, as the loss matches them."""
    return greedy_match(Comparison.of(predicted, reference))


class Scored(NamedTuple):
    """F of each pair, and the gradient of their sum to all embeddings of the hypotheses, as one vector."""

    f1: Tensor
    gradient: Tensor


def score(language_model: Encode, batches: Sequence[Batch], stored_in: torch.dtype | None) -> Scored:
    """Scores all pairs; stored_in rounds the references' contextual embeddings, at length 1, as a cache would."""
    f1, gradients = [], []
    for hypotheses, references in batches:
        with torch.no_grad():
            reference = language_model(references.embeddings, references.mask)
            if stored_in is not None:
                reference = F.normalize(reference.float(), dim=-1).to(stored_in)
        embeddings = hypotheses.embeddings.detach().requires_grad_()
        predicted = language_model(embeddings, hypotheses.mask)
        match = greedily_matched(
            Side(predicted, hypotheses.weights, hypotheses.mask), Side(reference, references.weights, references.mask)
        )
        match.f1.sum().backward()
        f1.append(match.f1.detach())
        gradients.append(embeddings.grad[hypotheses.mask].flatten())
    return Scored(torch.cat(f1), torch.cat(gradients))


def compare_scores(models: dict[str, FrozenLanguageModel], batches: Sequence[Batch]) -> None:
    """Prints what each precision, and references stored in float16, change about F and its gradient."""
    exact = score(models["float32"], batches, None)
    print("| | mean F | mean change | mean absolute change | largest | the gradient's relative error |")
    print("|---|---|---|---|---|---|")
    for name, model in models.items():
        for stored_in, suffix in ((None, ""), (torch.float16, ", references stored in float16")):
            scored = score(model, batches, stored_in)
            change = scored.f1 - exact.f1
            error = (scored.gradient - exact.gradient).norm() / exact.gradient.norm()
            print(
                f"| {name}{suffix} | {scored.f1.mean():.6f} | {change.mean():+.1e} | {change.abs().mean():.1e} | "
                f"{change.abs().max():.1e} | {error:.1e} |"
            )


def describe(batches: Sequence[Batch], device: torch.device) -> None:
    """Prints what it ran on, and on what."""
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    shapes = [tuple(batch.references.mask.shape) for batch in batches]
    real = sum(int(batch.references.mask.sum()) for batch in batches)
    padded = sum(rows * length for rows, length in shapes)
    print(f"{device}, {machine}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{sum(rows for rows, _ in shapes)} pairs; references in {shapes}, {1 - real / padded:.0%} padding\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lm", required=True, help="hub name or folder of the language model")
    parser.add_argument("--layer", type=int, help="scoring layer; bert-score's choice for a known name")
    parser.add_argument("--reference", required=True, help="references, one a line")
    parser.add_argument("--hypotheses", required=True, help="translations, one a line")
    parser.add_argument("--max-tokens", type=int, default=800, help="of a batch, padding included")
    parser.add_argument("--device", type=torch.device, default="cpu", help="cpu or cuda")
    parser.add_argument("--dtypes", nargs="*", choices=DTYPES, default=list(DTYPES), help="beside float32")
    parser.add_argument("--rounds", type=int, default=9, help="how often each contender takes its turn")
    parser.add_argument("--compile", action="store_true", help="also torch.compile; on a CPU it needs a C++ compiler")
    options = parser.parse_args()

    dtypes = dict.fromkeys(["float32", *options.dtypes])
    models = {dtype: FrozenLanguageModel.from_pretrained(options.lm, options.layer, dtype) for dtype in dtypes}
    for model in models.values():
        model.apply(lambda tensor: tensor.to(options.device))
    tokenizer = load_tokenizer(options.lm)
    pairs = read_pairs(options, tokenizer)
    batches = make_batches(pairs, tokenizer, models["float32"].embedding_table, options.max_tokens)
    describe(batches, options.device)

    encoders = {dtype: encoding(model) for dtype, model in models.items()}
    dim = models["float32"](*batches[0].references[:2]).size(-1)
    matchers = {"matching": matching(greedily_matched, dim)}
    if options.compile:
        for dtype, model in models.items():
            encoders[f"{dtype}, compiled"] = encoding(torch.compile(model.__call__, dynamic=True))
        matchers["matching, compiled"] = matching(torch.compile(greedily_matched, dynamic=True), dim)
    for contenders in (encoders, matchers):
        measure(contenders, batches, options.rounds)
        print()
    compare_scores(models, batches)


if __name__ == "__main__":
    main()
