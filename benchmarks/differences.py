"""What the deviations of the authors' published code do to F and to its gradient, on real text.

    python benchmarks/differences.py DATA --checkpoint FILE --lm NAME --layer N

DATA is a folder from `bertloss prepare`, FILE a checkpoint that was trained on it. The model reads the references
(teacher forcing) in batches as training makes them, without dropout. The published loss is written anew here, from
what it computes; with every deviation switched off it is BERTScoreLoss (tests/test_differences.py).
"""

import argparse
import copy
import dataclasses
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from fairseq import utils
from torch import Tensor

from fairseq_bertloss.forced_decoding import load_model
from fairseq_bertloss.language_model.vocabulary import load_tokenizer
from fairseq_bertloss.loss.bertscore_loss import BERTScoreLoss
from fairseq_bertloss.loss.soft_predictions import soft_prediction

KINDS = ("softmax", "sparsemax", "gumbel_softmax")
END_MARKER = "[unused1]"
SEED = 1
"""The seed of the Gumbel noise, which is the same for every row of a table."""


@dataclasses.dataclass(frozen=True)
class Deviations:
    """Where the published loss differs from BERTScoreLoss."""

    padding: bool = False  # padding positions count, each with a cosine of 0
    tokens: bool = False  # the sum over sentences is divided by the batch's tokens
    start: bool = False  # BERT sees no [CLS]: the first word is at its first position
    end: bool = False  # BERT sees [unused1] for [SEP]


PUBLISHED = {
    "padding counted": Deviations(padding=True),
    "divided by tokens": Deviations(tokens=True),
    "no [CLS]": Deviations(start=True),
    f"{END_MARKER} for [SEP]": Deviations(end=True),
    "all of it": Deviations(padding=True, tokens=True, start=True, end=True),
}


class Loss(NamedTuple):
    """A row of the table: F of soft predictions and a target, and what fairseq divides the batch's sum by."""

    f1: Callable[[Tensor, Tensor], Tensor]
    count: Callable[[Tensor], int] = len
    noise: bool = True
    seed: int = SEED


class PublishedLoss:
    """The published F and loss, each deviation a switch; targets are padded on the right."""

    def __init__(self, bertscore: BERTScoreLoss, end_marker_id: int):
        self.bertscore = bertscore
        self.end_marker = bertscore.language_model.embedding_table[end_marker_id]

    def f1(self, probabilities: Tensor, target: Tensor, deviations: Deviations) -> Tensor:
        """F of each sentence, (batch,), from soft predictions, (batch, length, vocabulary)."""
        specials = self.bertscore.specials
        table = self.bertscore.embedding_table
        if deviations.end:
            table = table.index_copy(0, torch.tensor([specials.eos], device=table.device), self.end_marker[None])
        counted = seen = target != specials.pad
        if deviations.padding:
            counted = torch.ones_like(counted)
        if not deviations.start:  # [CLS] can be matched, but counts for nothing
            counted, seen = F.pad(counted, (1, 0), value=False), F.pad(seen, (1, 0), value=True)
        predicted, reference = (
            self._encode(embeddings, seen, deviations) for embeddings in (probabilities @ table, table[target])
        )
        cosine = predicted @ reference.transpose(1, 2)
        both = seen.unsqueeze(2) & seen.unsqueeze(1)
        if deviations.padding:
            cosine = cosine * both
        else:
            cosine = cosine.masked_fill(~both, -1.0)
        length = counted.sum(dim=1)
        precision = (cosine.amax(dim=2) * counted).sum(dim=1) / length
        recall = (cosine.amax(dim=1) * counted).sum(dim=1) / length
        return 2 * precision * recall / (precision + recall)

    def _encode(self, embeddings: Tensor, seen: Tensor, deviations: Deviations) -> Tensor:
        if not deviations.start:
            start = self.bertscore.embedding_table[self.bertscore.specials.bos].expand(len(embeddings), 1, -1)
            embeddings = torch.cat([start, embeddings], dim=1)
        return F.normalize(self.bertscore.language_model(embeddings, seen), dim=-1)


def losses(bertscore: BERTScoreLoss, end_marker_id: int) -> dict[str, Loss]:
    """The rows; the first is what the others are compared with."""

    def ours(end_of_sentence: str) -> Callable[[Tensor, Tensor], Tensor]:
        variant = copy.copy(bertscore)
        variant.end_of_sentence = end_of_sentence
        return lambda soft, target: variant.score_predictions(soft, target).f1

    def count(deviations: Deviations) -> Callable[[Tensor], int]:
        return (lambda target: int(target.ne(bertscore.specials.pad).sum())) if deviations.tokens else len

    published = PublishedLoss(bertscore, end_marker_id)
    rows = {"here": Loss(ours("scored"))}
    if bertscore.soft_prediction == "gumbel_softmax":
        rows["here, other noise"] = Loss(ours("scored"), seed=SEED + 1000)
        rows["here, without noise"] = Loss(ours("scored"), noise=False)
    rows |= {f"here, --end-of-sentence {mode}": Loss(ours(mode)) for mode in ("context", "gold")}
    rows |= {name: Loss(partial(published.f1, deviations=d), count(d)) for name, d in PUBLISHED.items()}
    return rows


def gradient(bertscore: BERTScoreLoss, loss: Loss, logits: Tensor, target: Tensor, batch: int):
    """F of each sentence, and the gradient of the loss to the logits."""
    logits = logits.detach().requires_grad_()
    torch.manual_seed(loss.seed + batch)
    soft = soft_prediction(logits, bertscore.soft_prediction, bertscore.temperature, noise=loss.noise)
    scores = loss.f1(soft, target)
    (-scores.sum() / loss.count(target)).backward()
    return scores.detach(), logits.grad


def batches(task, subset: str, max_tokens: int) -> list[dict]:
    """The subset's batches as fairseq-train makes them."""
    task.load_dataset(subset)
    iterator = task.get_batch_iterator(task.dataset(subset), max_tokens=max_tokens, required_batch_size_multiple=1)
    return list(iterator.next_epoch_itr(shuffle=False))


def compare(bertscore: BERTScoreLoss, rows: dict[str, Loss], forced: Sequence[tuple[Tensor, Tensor]]) -> list[str]:
    """Table rows: mean F, and each loss's gradient against the first's, over batches of logits and targets."""
    scores, cosines, ratios = ({name: [] for name in rows} for _ in range(3))
    for batch, (logits, target) in enumerate(forced):
        reference = None
        for name, loss in rows.items():
            f1, grad = gradient(bertscore, loss, logits, target, batch)
            reference = grad if reference is None else reference
            scores[name] += f1.tolist()
            cosines[name].append(float(F.cosine_similarity(grad.flatten(), reference.flatten(), dim=0)))
            ratios[name].append(float(grad.norm() / reference.norm()))
    return [
        f"| {name} | {statistics.fmean(scores[name]):.4f} | {statistics.fmean(cosines[name]):.3f} "
        f"| {min(cosines[name]):.3f} to {max(cosines[name]):.3f} | {statistics.median(ratios[name]):.3f} "
        f"| {min(ratios[name]):.3f} to {max(ratios[name]):.3f} |"
        for name in rows
    ]


def sentence_weights(targets: Sequence[Tensor], pad: int) -> list[str]:
    """Table rows: how much a sentence's F counts in an epoch, by quarter of the lengths, the mean being 1."""
    sentences = []
    for target in targets:
        lengths = target.ne(pad).sum(dim=1).tolist()
        tokens, width = sum(lengths), target.size(1)
        sentences += [(n, 1 / len(lengths), 1 / tokens, n / width / tokens) for n in lengths]
    sentences.sort(key=lambda sentence: sentence[0])
    means = [statistics.fmean(column) for column in zip(*sentences, strict=True)]
    rows = []
    for i, quarter in enumerate(("shortest", "second", "third", "longest")):
        part = sentences[i * len(sentences) // 4 : (i + 1) * len(sentences) // 4]
        length, *weights = (statistics.fmean(column) for column in zip(*part, strict=True))
        relative = " | ".join(f"{weight / mean:.2f}" for weight, mean in zip(weights, means[1:], strict=True))
        rows.append(f"| {quarter} | {length:.1f} | {relative} |")
    return rows


def describe(targets: Sequence[Tensor], pad: int) -> str:
    """Numbers of sentences, batches and padding, and how sentences and tokens of a batch relate."""
    sizes = [len(target) for target in targets]
    tokens = [int(target.ne(pad).sum()) for target in targets]
    padding = 1 - sum(tokens) / sum(target.numel() for target in targets)
    scales = [size / count for size, count in zip(sizes, tokens, strict=True)]
    return (
        f"{sum(sizes)} sentences in {len(sizes)} batches of {min(sizes)} to {max(sizes)} sentences, "
        f"{min(tokens)} to {max(tokens)} tokens; {padding:.1%} of the positions are padding; "
        f"sentences / tokens {min(scales):.3f} to {max(scales):.3f}, median {statistics.median(scales):.3f}"
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder that `bertloss prepare` wrote")
    parser.add_argument("--checkpoint", required=True, help="file of a model that was trained on DATA")
    parser.add_argument("--lm", required=True, help="hub name or folder of the language model, a BERT")
    parser.add_argument("--layer", type=int, help="scoring layer (default: bert-score's)")
    parser.add_argument(
        "--gen-subset", default="valid", help="subset that F and its gradient are measured on (%(default)s)"
    )
    parser.add_argument("--max-tokens", type=int, default=1024, help="tokens of a batch, as in training (%(default)s)")
    return parser.parse_args()


def main() -> None:
    options = parse()
    model, task = load_model(options.checkpoint, options.data)
    pad = task.target_dictionary.pad()
    device = next(model.parameters()).device
    end_marker_id = load_tokenizer(options.lm).get_vocab().get(END_MARKER)
    if end_marker_id is None:
        raise SystemExit(f"{options.lm} has no {END_MARKER}, which the authors' code marks the end of a sentence with")
    forced = []
    for sample in batches(task, options.gen_subset, options.max_tokens):
        sample = utils.apply_to_sample(lambda tensor: tensor.to(device), sample)
        with torch.no_grad():
            forced.append((model(**sample["net_input"])[0], sample["target"]))

    print(f"torch {torch.__version__} on {device}, {torch.get_num_threads()} threads")
    print(f"{options.gen_subset}: {describe([target for _, target in forced], pad)}")
    for kind in KINDS:
        bertscore = BERTScoreLoss.from_pretrained(
            options.lm, task.target_dictionary, options.layer, soft_prediction=kind
        ).to(device)
        print(f"\n{kind}\n\n| loss | mean F | cosine | its range | norm ratio | its range |\n|:--|--:|--:|--:|--:|--:|")
        print("\n".join(compare(bertscore, losses(bertscore, end_marker_id), forced)))

    targets = [sample["target"] for sample in batches(task, "train", options.max_tokens)]
    print(f"\ntrain: {describe(targets, pad)}\n")
    print("| quarter by length | tokens | here | by tokens | by tokens, padding counted |\n|:--|--:|--:|--:|--:|")
    print("\n".join(sentence_weights(targets, pad)))


if __name__ == "__main__":
    main()
