"""Translating inside of training: fairseq-generate's options, its generator, and the model's state meanwhile."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence

import torch
from fairseq.dataclass.configs import GenerationConfig
from fairseq.search import Sampling, Search
from fairseq.sequence_generator import SequenceGenerator
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor, nn

WITHOUT_EFFECT = (
    "beam_mt", "constraints", "decoding_format", "diverse_beam_strength", "eos_token", "iter_decode_eos_penalty",
    "iter_decode_force_max_iter", "iter_decode_max_iter", "iter_decode_with_beam", "iter_decode_with_external_reranker",
    "lenpen_mt", "lm_path", "lm_weight", "max_len_a_mt", "max_len_b_mt", "nbest", "no_beamable_mm", "no_early_stop",
    "no_seed_provided", "prefix_size", "print_alignment", "print_step", "replace_unk", "retain_dropout",
    "retain_dropout_modules", "retain_iter_history", "sacrebleu", "score_reference",
)  # fmt: skip
"""What fairseq-generate itself does with its options, not the generator, what another kind of generator does, or what
nobody does any longer."""

CANNOT_WORK = {
    "diverse_beam_groups": "fairseq's diverse beam search fails in all but the first batches, and goes on after </s>",
}
"""Options that training cannot have, and why."""


def generation_config(
    option: str,
    text: str | None,
    defaults: Mapping[str, object] | None = None,
    refused: Mapping[str, str] | None = None,
) -> DictConfig:
    """fairseq-generate's options from JSON.

    Args:
        option: where the text comes from, for messages.
        text: a JSON object; None: an empty one.
        defaults: values other than fairseq-generate's own, where the text has none.
        refused: options that the text may not have, and why.

    Raises:
        ValueError: no JSON object, not an option of generation, or not a value of its type.
    """
    option = f"{option} {text}"
    try:
        given = json.loads(text or "{}")
    except ValueError as error:
        raise ValueError(f"{option} is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise ValueError(f'{option} is not a JSON object such as {{"beam": 5}}')
    for name in given:
        if name in WITHOUT_EFFECT:
            raise ValueError(f"{option}: {name!r} has no effect in training and validation")
        if why := (CANNOT_WORK | (refused or {})).get(name):
            raise ValueError(f"{option}: leave out {name!r}: {why}")
    try:
        return OmegaConf.merge(OmegaConf.structured(GenerationConfig), defaults or {}, given)
    except OmegaConfBaseException as error:
        raise ValueError(f"{option}: {str(error).splitlines()[0]}; see fairseq-generate --help") from error


def check_generation(option: str, config: DictConfig, task) -> None:
    """Raises ValueError unless fairseq makes a generator of these options that has a translation of every source."""
    try:
        generator = task.build_generator([nn.Module()], config)
    except (AssertionError, ValueError) as error:
        raise ValueError(f"{option}: {error}") from error
    if not isinstance(generator, SequenceGenerator):
        raise ValueError(
            f"{option}: translations are drawn symbol by symbol, which {type(task).__name__} does not do: "
            "take --task translation"
        )
    shortest = int(config.max_len_a + config.max_len_b)  # what is longest for an empty source, which is its </s>
    if config.max_len_a < 0 or shortest < config.min_len:
        raise ValueError(
            f"{option}: max_len_a * 1 + max_len_b is {shortest}, the longest translation of an empty source: "
            f"it must be at least min_len, {config.min_len}, and max_len_a must not be negative"
        )
    if config.beam < 1:
        raise ValueError(f"{option}: beam must be at least 1, not {config.beam}")
    if config.sampling_topk > len(task.target_dictionary):
        symbols = len(task.target_dictionary)
        raise ValueError(f"{option}: sampling_topk {config.sampling_topk} is more than the {symbols} symbols there are")


def translations(task, model: nn.Module, sample: dict, config: DictConfig, room: int | None = None) -> list[list[dict]]:
    """The translations of each sentence that fairseq's generator finds, its best first.

    Each ends where its own source says, whatever else the batch has: at max_len_a * source + max_len_b symbols, </s>
    counted among the source's and not among its own.

    Args:
        task: fairseq's, which builds the generator.
        model: a fairseq encoder-decoder, as it comes or wrapped for distributed training.
        sample: of the translation task.
        config: the generator's options, checked.
        room: symbols that a translation may have at most, </s> included; None: as many as the model has positions for.

    Raises:
        ValueError: the model has no positions for translations of min_len symbols.
    """
    generator = task.build_generator([model], config)
    most = min(generator.max_len, room or generator.max_len) - 1
    if most < config.min_len:
        raise ValueError(f"there is no room for translations of min_len {config.min_len} symbols: {most} is the most")
    sources = sample["net_input"]["src_lengths"]
    longest = [min(int(config.max_len_a * source + config.max_len_b), most) for source in sources.tolist()]
    generator.max_len_a, generator.max_len_b = 0, max(longest)
    dictionary = task.target_dictionary
    if config.sampling:
        generator.search = _Sampling(dictionary, config.sampling_topk, config.sampling_topp)
    generator.search = _OwnLengths(generator.search, dictionary, generator.eos, longest, sources.device)
    # The search would get the sentences' numbers in the data.
    places = torch.arange(len(longest), device=sources.device)
    return task.inference_step(generator, [model], sample | {"id": places}, prefix_tokens=None)


class _OwnLengths(Search):
    """A search that has nothing but </s> for a sentence from its own longest length on."""

    def __init__(self, search: Search, dictionary, eos: int, longest: Sequence[int], device: torch.device):
        """Around another search.

        Args:
            search: chooses among what is left.
            dictionary: of the target.
            eos: </s>, of which a task may have one of its own.
            longest: of each sentence of the batch, without </s>.
            device: where the batch is.
        """
        super().__init__(dictionary)
        self.eos = eos
        self.stop_on_max_len = True  # a model that rules </s> out leaves translations that cannot end
        self._search = search
        self._longest = torch.tensor(longest, device=device)
        self._first_end = min(longest)

    def set_src_lengths(self, src_lengths: Tensor) -> None:
        self._search.set_src_lengths(src_lengths)

    def step(self, step: int, lprobs: Tensor, scores: Tensor, prev_output_tokens=None, original_batch_idxs=None):
        if step >= self._first_end:
            ends = step >= self._longest[original_batch_idxs]
            going_on = torch.arange(lprobs.size(-1), device=lprobs.device) != self.eos
            lprobs = lprobs.masked_fill(ends[:, None, None] & going_on, -torch.inf)
        return self._search.step(step, lprobs, scores, prev_output_tokens, original_batch_idxs)


class _Sampling(Sampling):
    """fairseq's, from probabilities that sum to 1.

    fairseq rules symbols out (</s> at the start, all but </s> at the end) and leaves the others' probabilities as they are:
    those of a model that is certain of another symbol may be 0 in float32 then, and nothing is left to draw from.
    """

    def step(self, step: int, lprobs: Tensor, *state):
        return super().step(step, lprobs.log_softmax(dim=-1), *state)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """For the time of a with statement the model is in evaluation mode; then each module is as it was."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
