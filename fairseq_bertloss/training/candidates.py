"""The model's own translations inside of training: how many and how they are drawn, by fairseq's generator."""

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import torch
from fairseq.dataclass.configs import GenerationConfig
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from fairseq_bertloss.training.config import BERTScoreCriterionConfig
from fairseq_bertloss.training.generation import (
    check_generation,
    check_positions,
    evaluating,
    generation_config,
    longest_lengths,
    translations,
)

OPTION = "--candidate-generation-args"

LONGEST = {"max_len_a": 1.5, "max_len_b": 10}
"""The longest translation has a * source + b symbols, where --candidate-generation-args does not say otherwise: a model
that repeats itself without end would take long."""

ANCESTRAL = {"sampling": True, "sampling_topk": -1, "sampling_topp": -1.0, "temperature": 1.0}
"""Symbol by symbol from the model's own distribution, as Gumbel noise draws."""

DETERMINISTIC = ANCESTRAL | {"sampling": False}
"""What validation draws with, whatever training does."""

REFUSED = {
    "match_source_len": (
        "a candidate would be as long as its source, which the language model may have no positions for"
    ),
}
"""Options of generation that --candidate-generation-args may not have, and why."""


WITHOUT_EFFECT_ON_SAMPLES = ("beam", "sampling", "lenpen", "unnormalized", *LONGEST)
"""Options of a beam search that leave the probabilities of the next symbol what they are."""


class Generation(NamedTuple):
    """What one generator finds of a sentence."""

    config: DictConfig  # its options
    samples: int = 0  # of the model's own distribution, beside the beam search of the options


class Generations(NamedTuple):
    """Generators whose translations of a sentence are taken together.

    The first in `training` says how long translations may be, in validation too.
    """

    training: list[Generation]
    validation: list[Generation]


def candidate_generations(cfg: BERTScoreCriterionConfig, task) -> Generations:
    """How candidates are drawn; in validation by beam search, the same every time.

    Raises:
        ValueError: --candidate-generation-args has an option that cannot be.
    """
    given = _generation(cfg, task, cfg.candidates, "--candidates says how many there are")
    return Generations(_with_samples(given, cfg.sampled_candidates, task), validation=[_deterministic(given)])


def _with_samples(given: DictConfig, samples: int, task) -> list[Generation]:
    """Translations by the given options, and samples: from the same passes of the decoder, unless they change it."""
    if not samples:
        return [Generation(given)]
    ancestral = _ancestral(given, samples)
    changes = [name for name in given if given[name] != ancestral[name] and name not in WITHOUT_EFFECT_ON_SAMPLES]
    if changes or given.sampling or given.beam + samples >= len(task.target_dictionary):
        return [Generation(given), Generation(ancestral)]
    return [Generation(given, samples)]


def free_running_generations(cfg: BERTScoreCriterionConfig, task) -> Generations:
    """How the translation is drawn that soft predictions follow; in validation of the most probable symbols.

    Raises:
        ValueError: --candidate-generation-args has an option that cannot be.
    """
    given = _generation(cfg, task, 1, "--free-running draws one translation of a sentence", ANCESTRAL)
    return Generations(training=[Generation(given)], validation=[_deterministic(given)])


def _generation(
    cfg: BERTScoreCriterionConfig, task, beam: int, why: str, defaults: Mapping[str, object] | None = None
) -> DictConfig:
    """fairseq's options for `beam` translations of a sentence.

    Args:
        cfg: the criterion's options.
        task: fairseq's, which builds the generator.
        beam: the number of translations.
        why: there are that many, for an error that refuses another beam.
        defaults: fairseq-generate's options where --candidate-generation-args has none.

    Raises:
        ValueError: --candidate-generation-args has an option that cannot be.
    """
    config = generation_config(
        OPTION, cfg.candidate_generation_args, LONGEST | (defaults or {}), REFUSED | {"beam": why}
    )
    config.beam = beam
    check_generation(OPTION, config, task)
    return config


def _ancestral(given: DictConfig, samples: int) -> DictConfig:
    """Options for samples of the model's own distribution, no longer than translations by the given options."""
    lengths = {name: given[name] for name in LONGEST}
    return OmegaConf.merge(OmegaConf.structured(GenerationConfig), ANCESTRAL, lengths, {"beam": samples})


def _deterministic(given: DictConfig) -> Generation:
    """The given options without sampling."""
    return Generation(OmegaConf.merge(given, DETERMINISTIC))


class Translator:
    """Draws translations from the model as it is, by fairseq's generator.

    Args:
        task: fairseq's, which builds the generator.
        mode: in training mode translations are drawn as training does.
        generations: how translations are drawn.
        room: symbols that a translation may have, </s> included; None: as many as the model has positions for.

    Raises:
        ValueError: there is no room for translations.
    """

    def __init__(self, task, mode: nn.Module, generations: Generations, room: int | None):
        self._task = task
        self._mode = mode
        self._generations = generations
        self._lengths = generations.training[0].config
        self._room = room
        if room is not None and self._lengths.min_len > room - 1:
            raise ValueError(
                f"{OPTION}: min_len {self._lengths.min_len} is more than the {room - 1} symbols that the language "
                "model has room for"
            )

    def draw(self, model: nn.Module, sample: dict) -> list[list[list[int]]]:
        """Symbols of each sentence's translations, a generator's best first, </s> included.

        A model with NaN in it has none: fairseq's generator would fail, where the loss lets fairseq deal with it.

        Args:
            model: a fairseq encoder-decoder, as it comes or wrapped for distributed training.
            sample: a batch of the translation task.

        Raises:
            ValueError: the model has no positions for translations of min_len symbols.
        """
        check_positions(OPTION, self._lengths, model)
        found = [[] for _ in sample["target"]]
        if torch.stack([parameter.isnan().any() for parameter in model.parameters()]).any():
            return found
        with evaluating(model):
            for config, samples in self._generations.training if self._mode.training else self._generations.validation:
                more = translations(self._task, model, sample, config, self._room, samples)
                for own, its in zip(found, more, strict=True):
                    own += [one["tokens"] for one in its]
        # Older torch would take the half-precision weights of this pass for those that learn, without gradients
        # (pytorch#112583).
        torch.clear_autocast_cache()
        # One copy from a GPU, not one for each.
        symbols = iter(torch.cat([sample["target"].new_empty(0), *itertools.chain(*found)]).tolist())
        return [[list(itertools.islice(symbols, len(tokens))) for tokens in own] for own in found]

    def longest(self, model: nn.Module, sample: dict, chosen: Tensor) -> list[int]:
        """Symbols, without </s>, at which the translations of some of a batch's sentences are cut.

        </s> comes then, whether the model chose it or not.
        """
        sources = sample["net_input"]["src_lengths"][chosen]
        return longest_lengths(self._lengths, model, sources, self._room)
