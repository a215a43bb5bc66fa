"""The entropy of a model's probabilities while it makes its own output, by forced decoding.

    bertloss entropy DATA --gen-subset test --system NAME CHECKPOINT GENERATED --output DIR/entropy.json

The model reads the source and its own best translation and gives the probabilities that it chose each
symbol from, the end of the sentence included.
"""

import math
import statistics
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from fairseq import checkpoint_utils, utils
from fairseq.data import data_utils
from fairseq.dataclass.configs import GenerationConfig
from omegaconf import OmegaConf
from torch import Tensor, nn

import fairseq_bertloss
from fairseq_bertloss.checkpoints.loading import check_exists, reading, reason
from fairseq_bertloss.evaluation.generated import WHY_MISSING, Generated
from fairseq_bertloss.evaluation.hypotheses import read_generated
from fairseq_bertloss.evaluation.results import Entropy
from fairseq_bertloss.evaluation.same_test_set import check_same_targets
from fairseq_bertloss.progress import progress

BIN_WIDTH = 0.01
"""Width of the histogram's bins, in nats."""

MOST_DEVIATION = 0.02
"""The largest mean difference, in bits, from the probabilities that fairseq-generate printed, for half precision."""

Output = tuple[str, Generated]
"""A file that fairseq-generate printed, and what it holds."""


def entropies(
    data: str,
    subset: str,
    systems: Sequence[tuple[str, str, str]],
    max_tokens: int = 4096,
    languages: tuple[str, str] | None = None,
    device: str | None = None,
) -> list[Entropy]:
    """Distribution of the entropy at inference of each system.

    Args:
        data: folder that fairseq-preprocess wrote; the one that a checkpoint was trained on need not exist.
        subset: the part of it that was translated.
        systems: name, checkpoint, and what fairseq-generate printed for that checkpoint and subset.
        max_tokens: symbols of a batch at the most, on the longer side and with padding.
        languages: the codes of source and target, for models of several pairs.
        device: of the models; None: a GPU if there is one.

    Raises:
        ValueError: a file cannot be read, or is not what it should be; the files do not belong together;
            a probability is not a finite number.
        FileNotFoundError: data has no such subset.
    """
    outputs = []
    for _, checkpoint, path in systems:  # all files, before any long work
        check_exists(checkpoint)
        outputs.append((path, _read_output(path)))
    return [
        _entropy(data, subset, name, checkpoint, output, max_tokens, languages, device)
        for (name, checkpoint, _), output in zip(systems, outputs, strict=True)
    ]


def load_model(checkpoint: str, data: str, languages: tuple[str, str] | None = None, device: str | None = None):
    """Loads a checkpoint's model, in evaluation mode, and its task with a data folder.

    Args:
        checkpoint: the file.
        data: the folder.
        languages, device: as of `entropies`.

    Raises:
        ValueError: the file is no checkpoint of fairseq-train, or the data is not what the model was trained for.
    """
    fairseq_bertloss.register()
    # What validation by BLEU needs may be gone too, and the task would load it.
    overrides = {"data": data, "eval_bleu": False}
    if languages:
        overrides |= dict(zip(("source_lang", "target_lang"), languages, strict=True))
    with reading(checkpoint):
        state = checkpoint_utils.load_checkpoint_to_cpu(checkpoint, overrides)
    try:
        (model,), _, task = checkpoint_utils.load_model_ensemble_and_task([checkpoint], overrides, state=state)
    except Exception as error:  # fairseq raises plain ones
        raise ValueError(
            f"the model of {checkpoint} cannot be built with the data folder {data}: {reason(error)}"
        ) from error
    return model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval(), task


def forced_samples(task, data: str, subset: str, output: Output) -> list[dict]:
    """The subset's samples, each with the system's own output in place of the reference.

    Args:
        task: its data folder is `data`, which messages name.

    Raises:
        ValueError: the output is of another subset or dictionary.
        FileNotFoundError: there is no such subset.
    """
    path, generated = output
    task.load_dataset(subset)
    dataset = task.dataset(subset)
    dictionary = task.target_dictionary
    if len(dataset) != len(generated.hypotheses):
        raise ValueError(
            f"{path} has {len(generated.hypotheses)} sentences and the subset {subset!r} of {data} has {len(dataset)}; "
            f"was it generated from another one? Or {WHY_MISSING}?"
        )
    samples = [dataset[i] for i in range(len(dataset))]
    marks = _marks(task)
    has_targets = samples[0]["target"] is not None
    if generated.targets is not None and has_targets:
        references = [dictionary.string(sample["target"], escape_unk=True, extra_symbols_to_ignore=marks)
                      for sample in samples]  # fmt: skip
        check_same_targets(path, generated.targets, f"the subset {subset!r} of {data}", references)
    before, after = _frame([sample["target"] for sample in samples] if has_targets else [], dictionary, marks)
    for i, sample in enumerate(samples):
        symbols = _symbol_ids(generated.hypotheses[i], dictionary, f"{path}: sentence {i}")
        sample["target"] = torch.tensor([*before, *symbols, *after])
    return samples


def _marks(task) -> set[int]:
    """The symbols that fairseq-generate leaves out of what it prints: the end of a sentence, a language's."""
    generator = task.build_generator([nn.Module()], OmegaConf.structured(GenerationConfig))
    eos = task.target_dictionary.eos()
    return {eos} | getattr(generator, "symbols_to_strip_from_output", set())


def _frame(targets: Sequence[Tensor], dictionary, marks: set[int]) -> tuple[list[int], list[int]]:
    """The marks before the text of the task's targets, and those after it; the first target with text has them."""
    for target in targets:
        ids = target.tolist()
        text = [position for position, symbol in enumerate(ids) if symbol not in marks]
        if text:
            return ids[: text[0]], ids[text[-1] + 1 :]
    return [], [dictionary.eos()]


@torch.no_grad()
def forced_log_probabilities(model, task, subset: str, samples: Sequence[dict], max_tokens: int) -> Iterator:
    """Decodes targets by force: each symbol's distribution given the source and the symbols before it.

    Args:
        samples: of the task's dataset `subset`, which is loaded; at most max_tokens long.
        max_tokens: of a batch.

    Yields:
        For each sample, the shortest first: its id, its target (length,), and natural logarithms of the
        probabilities, (length, vocabulary) in float32.
    """
    device = next(model.parameters()).device
    pad = task.target_dictionary.pad()
    sizes = np.array([max(len(sample["source"]), len(sample["target"])) for sample in samples])
    for batch in data_utils.batch_by_size(np.argsort(sizes), None, num_tokens_vec=sizes, max_tokens=max_tokens):
        collated = task.dataset(subset).collater([samples[i] for i in batch])
        collated = utils.apply_to_sample(lambda tensor: tensor.to(device), collated)
        output = model(**collated["net_input"])
        log_probabilities = model.get_normalized_probs(output, log_probs=True, sample=collated)
        ids = collated["id"].tolist()
        for sample_id, target, distributions in zip(ids, collated["target"], log_probabilities, strict=True):
            real = target.ne(pad)
            yield sample_id, target[real], distributions[real].float()


def entropy(log_probabilities: Tensor) -> Tensor:
    """Entropy in nats of each distribution, (..., vocabulary) -> (...)."""
    return torch.special.entr(log_probabilities.exp()).sum(dim=-1)


def distribution(system: str, subset: str, vocabulary: int, values: Sequence[float]) -> Entropy:
    """The histogram, mean and median of entropies.

    The bins reach from 0 to the entropy of the uniform distribution, rounded up.
    """
    bins = math.ceil(math.log(vocabulary) / BIN_WIDTH)
    # The uniform distribution's entropy as computed may lie a rounding error beyond the last bin.
    positions = np.minimum((np.array(values) / BIN_WIDTH).astype(int), bins - 1)
    counts = np.bincount(positions, minlength=bins).tolist()
    return Entropy(
        system, subset, vocabulary, BIN_WIDTH, counts, statistics.fmean(values), float(statistics.median(values))
    )


def _entropy(
    data: str,
    subset: str,
    name: str,
    checkpoint: str,
    output: Output,
    max_tokens: int,
    languages: tuple[str, str] | None,
    device: str | None,
) -> Entropy:
    model, task = load_model(checkpoint, data, languages, device)
    samples = forced_samples(task, data, subset, output)
    longest = max(max(len(sample["source"]), len(sample["target"])) for sample in samples)
    if longest > max_tokens:
        raise ValueError(f"a sentence of {output[0]} has {longest} symbols: --max-tokens must be at least that")
    values, deviations = [], []
    with progress(what=f"entropy of {name}", unit=" sentences", total=len(samples)) as bar:
        for sample_id, target, log_probabilities in forced_log_probabilities(model, task, subset, samples, max_tokens):
            sentence_entropies = entropy(log_probabilities).tolist()
            if not all(map(math.isfinite, sentence_entropies)):
                raise ValueError(f"{checkpoint} gives probabilities that are not finite numbers (sentence {sample_id})")
            values += sentence_entropies
            deviations += _deviations(log_probabilities, target, output[1], sample_id)
            bar.update()
    if deviations and statistics.fmean(deviations) > MOST_DEVIATION:
        raise ValueError(
            f"{output[0]} was not generated by {checkpoint}: the model gives its symbols other probabilities than "
            f"its P- lines have ({statistics.fmean(deviations):.2f} bits apart on average)"
        )
    return distribution(name, subset, len(task.target_dictionary), values)


def _deviations(log_probabilities: Tensor, target: Tensor, generated: Generated, sample_id: int) -> list[float]:
    """How far the symbols' probabilities are from those that fairseq-generate printed, in bits."""
    if generated.positions is None:
        return []
    printed = torch.tensor([float(score) for score in generated.positions[sample_id].split()])
    if len(printed) != len(target):
        return [math.inf]
    chosen = log_probabilities.gather(1, target.unsqueeze(1)).squeeze(1).cpu() / math.log(2)
    return (chosen - printed).abs().tolist()


def _read_output(path: str) -> Generated:
    generated = read_generated(path)
    if generated is None:
        raise ValueError(f"{path} has no H- lines: pass what fairseq-generate printed, which has the symbols it chose")
    return generated


def _symbol_ids(line: str, dictionary, where: str) -> list[int]:
    """The ids of a line of symbols."""
    absent = [s for s in line.split() if s not in dictionary]
    if absent:
        raise ValueError(
            f"{where} has {absent[0]!r}, which is not in the target dictionary: was it generated by another model, "
            "or with --post-process? (--bpe leaves the symbols in the H- lines)"
        )
    return [dictionary.index(symbol) for symbol in line.split()]
