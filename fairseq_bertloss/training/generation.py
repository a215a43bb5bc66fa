"""Translation inside of training: fairseq-generate's options, its generator, and the model's state meanwhile."""

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence

import torch
from fairseq.dataclass.configs import GenerationConfig
from fairseq.models.bart import BARTModel
from fairseq.sequence_generator import SequenceGenerator
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor, nn

from fairseq_bertloss.training.decoder_output import unwrapped
from fairseq_bertloss.training.searches import BeamAndSamples, OwnLengths, Samples
from fairseq_bertloss.training.suitable import language_symbols, tags_begin_sentences
from fairseq_bertloss.training.target_sides import first_symbols

_ELSEWHERE = (
    "beam_mt", "constraints", "decoding_format", "diverse_beam_strength", "eos_token", "iter_decode_eos_penalty",
    "iter_decode_force_max_iter", "iter_decode_max_iter", "iter_decode_with_beam", "iter_decode_with_external_reranker",
    "lenpen_mt", "lm_path", "lm_weight", "max_len_a_mt", "max_len_b_mt", "nbest", "no_beamable_mm", "no_early_stop",
    "no_seed_provided", "prefix_size", "print_alignment", "print_step", "replace_unk", "retain_dropout",
    "retain_dropout_modules", "retain_iter_history", "sacrebleu", "score_reference",
)  # fmt: skip
"""Options that are not the generator's: fairseq-generate itself or another kind of generator reads them, or nothing."""

REFUSED = dict.fromkeys(_ELSEWHERE, "it has no effect in training and validation") | {
    "diverse_beam_groups": "fairseq's diverse beam search fails in all but the first batches, and goes on after </s>",
}
"""Options of generation that may not be given, and why."""

LIMIT = 2**31
"""The bound of numbers among the options: larger ones, infinity and NaN mean nothing to the generator."""


def generation_config(
    option: str,
    text: str | None,
    defaults: Mapping[str, object] | None = None,
    refused: Mapping[str, str] | None = None,
) -> DictConfig:
    """Reads fairseq-generate's options from JSON.

    Args:
        option: where the text comes from, for messages.
        text: a JSON object; None: an empty one.
        defaults: values other than fairseq-generate's own, where the text has none.
        refused: options that the text may not have besides REFUSED, and why.

    Raises:
        ValueError: the text is no JSON object, names no option of generation, or has a value of another type.
    """
    option = f"{option} {text}"
    try:
        given = json.loads(text or "{}")
    except ValueError as error:
        raise ValueError(f"{option} is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise ValueError(f'{option} is not a JSON object such as {{"beam": 5}}')
    for name, why in (REFUSED | (refused or {})).items():
        if name in given:
            raise ValueError(f"{option}: leave out {name!r}: {why}")
    try:
        config = OmegaConf.merge(OmegaConf.structured(GenerationConfig), defaults or {}, given)
    except (OmegaConfBaseException, OverflowError) as error:
        raise ValueError(f"{option}: {str(error).splitlines()[0]}; see fairseq-generate --help") from error
    for name, value in config.items():
        if isinstance(value, int | float) and not abs(value) < LIMIT:  # nor is NaN
            raise ValueError(f"{option}: {name} must be a number between -{LIMIT} and {LIMIT}")
    return config


def build_generator(task, models: Sequence[nn.Module], config: DictConfig):
    """fairseq's generator of the given options."""
    if not tags_begin_sentences(task):
        return task.build_generator(models, config)
    config = config.copy()
    with open_dict(config):
        config.keep_inference_langtok = True  # else the task wants to know the one target language
    return task.build_generator(models, config)


def check_generation(option: str, config: DictConfig, task) -> None:
    """Raises ValueError unless fairseq makes a generator of these options that has a translation of every source."""
    try:
        generator = build_generator(task, [nn.Module()], config)
    except (AssertionError, ValueError) as error:
        raise ValueError(f"{option}: {error}") from error
    if not isinstance(generator, SequenceGenerator):
        raise ValueError(
            f"{option}: translations are drawn symbol by symbol, which {type(task).__name__} does not do: "
            "take --task translation"
        )
    shortest = longest_length(config, 1)  # an empty source is its </s>
    if config.max_len_a < 0 or shortest < config.min_len:
        why = "match_source_len" if config.match_source_len else "max_len_a * 1 + max_len_b"
        raise ValueError(
            f"{option}: {why} is {shortest}, the longest translation of an empty source: "
            f"it must be at least min_len, {config.min_len}, and max_len_a must not be negative"
        )
    if config.beam < 1:
        raise ValueError(f"{option}: beam must be at least 1, not {config.beam}")
    _check_sampling(option, config, len(task.target_dictionary))


def _check_sampling(option: str, config: DictConfig, symbols: int) -> None:
    """Raises ValueError for a top-k or top-p that fairseq would ignore, or for which there are no symbols."""
    topk, topp = config.sampling_topk, config.sampling_topp
    if topk != -1 and not 1 <= topk <= symbols:
        raise ValueError(
            f"{option}: sampling_topk must lie between 1 and the {symbols} symbols there are, or be -1 for all, "
            f"not {topk}"
        )
    if topp != -1 and not 0 < topp <= 1:
        raise ValueError(f"{option}: sampling_topp must be above 0 and at most 1, or be -1 for all symbols, not {topp}")
    if topk != -1 and topp != -1:
        raise ValueError(f"{option}: sampling_topk has no effect beside sampling_topp: leave one of them out")


def longest_length(config: DictConfig, source: int) -> int:
    """How many symbols a translation may have, without its </s>.

    Args:
        config: a generator's options.
        source: how many symbols the source has, </s> included.
    """
    return source if config.match_source_len else int(config.max_len_a * source + config.max_len_b)


def longest_lengths(config: DictConfig, model: nn.Module, sources: Tensor, room: int | None = None) -> list[int]:
    """The longest_length of each source, as far as the model and `room` have positions for it and its </s>.

    Args:
        config: a generator's options.
        model: a fairseq encoder-decoder, as it comes or wrapped for distributed training.
        sources: lengths, (sentences,).
        room: symbols that a translation may have at most, </s> included; None: as many as the model has positions for.
    """
    most = min(_decoder_positions(model), room or sys.maxsize) - 1
    return [min(longest_length(config, source), most) for source in sources.tolist()]


def check_positions(option: str, config: DictConfig, model: nn.Module) -> None:
    """Raises ValueError unless the model has positions for the shortest translation that the options allow."""
    most = _decoder_positions(model) - 1
    if most < config.min_len:
        raise ValueError(
            f"{option}: min_len {config.min_len} is more than the {most} symbols that the model has positions for"
        )


def _decoder_positions(model: nn.Module) -> int:
    return model.max_decoder_positions() if hasattr(model, "max_decoder_positions") else sys.maxsize


def translations(
    task, model: nn.Module, sample: dict, config: DictConfig, room: int | None = None, samples: int = 0
) -> list[list[dict]]:
    """The translations of each sentence that fairseq's generator finds, its best first; samples after them.

    Each ends where its own source says, whatever else the batch has: at longest_length.

    Args:
        task: fairseq's, which builds the generator.
        model: a fairseq encoder-decoder, as it comes or wrapped for distributed training.
        sample: a batch of the translation task.
        config: the generator's options, which check_generation and check_positions have passed.
        room: symbols that a translation may have at most, </s> included; None: as many as the model has positions for.
        samples: drawn of each sentence beside the beam search of the options, from the model's own distribution.

    Raises:
        ValueError: match_source_len is given, and a source is longer than the translations that the model has positions
            for.
    """
    generator = build_generator(task, [model], OmegaConf.merge(config, {"beam": config.beam + samples}))
    sources = sample["net_input"]["src_lengths"]
    longest = longest_lengths(config, model, sources, room)
    if config.match_source_len and max(longest) < sources.max():
        raise ValueError(
            f"match_source_len: there is a source of {sources.max()} symbols, and room for translations of "
            f"{max(longest)}"
        )
    generator.max_len_a = 0
    generator.max_len_b = max(longest)
    dictionary = task.target_dictionary
    if config.sampling:
        generator.search = Samples(dictionary, config.sampling_topk, config.sampling_topp)
    elif samples:
        generator.search = BeamAndSamples(dictionary, generator.eos, config.beam, samples, sources)
    generator.search = OwnLengths(generator.search, dictionary, generator.eos, longest, sources)
    # The search would get the sentences' numbers in the data.
    places = torch.arange(len(longest), device=sources.device)
    try:
        found = _generated(task, generator, model, sample | {"id": places})
    finally:
        _forget_beam(model)
    return _samples_last(found) if samples else found


def _samples_last(found: list[list[dict]]) -> list[list[dict]]:
    """Translations of a beam search before the samples, which the generator takes for the best there is."""
    last_scores = [one["positional_scores"][-1] for own in found for one in own]
    if not last_scores:
        return found
    are_samples = iter(torch.stack(last_scores).isposinf().tolist())  # one copy from a GPU, not one for each
    return [sorted(own, key=lambda _: next(are_samples)) for own in found]


def _forget_beam(model: nn.Module) -> None:
    """Has BART's decoder read one source a target side again, where a generator had it read one a beam."""
    model, _ = unwrapped(model)
    if isinstance(model, BARTModel):
        model.set_beam_size(1)
        vars(model.encoder).pop("reorder_encoder_out", None)


def _generated(task, generator: SequenceGenerator, model: nn.Module, sample: dict) -> list[list[dict]]:
    """What the generator finds; a translation begins with its reference's language tag, where references have one.

    translation_multi_simple_epoch itself knows one target language at most, and none in training.
    """
    if not tags_begin_sentences(task):
        return task.inference_step(generator, [model], sample, prefix_tokens=None)
    if not task.args.lang_tok_replacing_bos_eos:
        return task.inference_step(generator, [model], sample, prefix_tokens=_tags(task, sample["target"])[:, None])
    tags = first_symbols(sample["net_input"]["prev_output_tokens"], task.target_dictionary.pad())
    return generator.generate([model], sample, bos_token=tags.repeat_interleave(generator.beam_size))


def _tags(task, target: Tensor) -> Tensor:
    """The language's symbol that each reference begins with, (sentences,); padding, which forces nothing, elsewhere.

    With --langtoks references of some kinds of data may have one, and others none.
    """
    dictionary = task.target_dictionary
    symbols = [dictionary.index(symbol) for symbol in language_symbols(task) if symbol in dictionary]
    first = first_symbols(target, dictionary.pad())
    return first.where(torch.isin(first, first.new_tensor(symbols)), dictionary.pad())


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Holds the model in evaluation mode for a with statement; afterwards each module is as it was."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
