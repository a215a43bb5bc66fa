"""Configurations of fairseq's, composed in a fifth of the time.

Hydra reads two hundred and ninety overrides for each command line, and copies its store of configurations: a third of a
second, which hundreds of tests would spend. What does not differ between command lines is remembered here: the
composition of each choice of task, model, criterion and so on, and each override as it was read.
"""

import copy
import functools

import hydra.experimental
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

hydras = hydra.experimental.compose


def compose(config_name: str, overrides: list[str], strict: bool) -> DictConfig:
    """What hydra.experimental.compose returns."""
    groups = tuple(override for override in overrides if _is_group(override))
    config = copy.deepcopy(_chosen(config_name, groups, strict))
    with open_dict(config):
        for override in overrides:
            if not _is_group(override):
                read = _read(override)
                OmegaConf.update(config, read.key_or_group, read.value(), merge=True)
    return config


def _is_group(override: str) -> bool:
    """Whether it chooses a part of the configuration, such as task=translation, and is no value such as task.data=x."""
    return "." not in override.partition("=")[0]


@functools.cache
def _chosen(config_name: str, groups: tuple[str, ...], strict: bool) -> DictConfig:
    return hydras(config_name, overrides=list(groups), strict=strict)


@functools.lru_cache(maxsize=10_000)
def _read(override: str):
    return OverridesParser.create().parse_override(override)
