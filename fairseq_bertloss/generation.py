"""Translating inside of training: fairseq-generate's options, and the model's state while its generator has it."""

import contextlib
import json
from collections.abc import Iterator, Mapping

from fairseq.dataclass.configs import GenerationConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn

WITHOUT_EFFECT = (
    "constraints", "lm_path", "lm_weight", "nbest", "no_early_stop", "prefix_size", "print_alignment", "print_step",
    "replace_unk", "retain_dropout", "retain_dropout_modules", "sacrebleu", "score_reference",
)  # fmt: skip
"""What fairseq-generate itself does with its options, not the generator, or what it no longer does."""


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
        if name in (refused or {}):
            raise ValueError(f"{option}: leave out {name!r}: {refused[name]}")
    try:
        return OmegaConf.merge(OmegaConf.structured(GenerationConfig), defaults or {}, given)
    except OmegaConfBaseException as error:
        raise ValueError(f"{option}: {str(error).splitlines()[0]}; see fairseq-generate --help") from error


def check_generation(option: str, config: DictConfig, task) -> None:
    """Raises ValueError unless fairseq makes a generator of these options."""
    try:
        task.build_generator([nn.Module()], config)
    except (AssertionError, ValueError) as error:
        raise ValueError(f"{option}: {error}") from error


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
