"""Translating inside of training: fairseq-generate's options, and the model's state while its generator has it."""

import contextlib
import json
from collections.abc import Iterator, Mapping

from fairseq.dataclass.configs import GenerationConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn

WITHOUT_EFFECT = ("constraints", "lm_path", "lm_weight", "prefix_size", "replace_unk", "score_reference")
"""What fairseq-generate itself does with its options, not the generator."""


def generation_config(option: str, text: str, defaults: Mapping[str, object] | None = None) -> DictConfig:
    """fairseq-generate's options from JSON.

    Args:
        option: where the text comes from, for messages.
        text: a JSON object.
        defaults: values other than fairseq-generate's own, where the text has none.

    Raises:
        ValueError: no JSON object, not an option of generation, or not a value of its type.
    """
    option = f"{option} {text}"
    try:
        given = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{option} is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise ValueError(f'{option} is not a JSON object such as {{"beam": 5}}')
    for name in given:
        if name in WITHOUT_EFFECT:
            raise ValueError(f"{option}: {name!r} has no effect in training and validation")
    try:
        return OmegaConf.merge(OmegaConf.structured(GenerationConfig), defaults or {}, given)
    except OmegaConfBaseException as error:
        raise ValueError(f"{option}: {str(error).splitlines()[0]}; see fairseq-generate --help") from error


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
