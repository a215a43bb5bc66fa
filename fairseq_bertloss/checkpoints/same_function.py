"""Whether two checkpoints of the same parameters compute the same function of them, by the options of their models."""

import os
from collections.abc import Mapping
from typing import Any

from fairseq_bertloss.checkpoints.loading import options
from fairseq_bertloss.text.languages import language_of

# What the parameters' names and shapes do not tell. Not here: what they do tell (layers, dimensions, embeddings that
# are learned), what training alone sees (dropout, layerdrop, learning rate, criterion, paths), the architecture's name,
# which is of defaults, and the language pairs of a multilingual model, which may be fine-tuned on some of its own.
MODEL_OPTIONS = (
    "encoder_attention_heads",
    "decoder_attention_heads",
    "activation_fn",
    "encoder_normalize_before",
    "decoder_normalize_before",
    "no_scale_embedding",
    "no_token_positional_embeddings",
    "encoder_conv_type",
    "decoder_conv_type",
    "weight_softmax",
)
LANGUAGES = ("source_lang", "target_lang")
TASK_OPTIONS = (*LANGUAGES, "encoder_langtok", "decoder_langtok", "prepend_bos")
PARTS = ("encoder", "decoder")
"""Groups of options within a model's, where fairseq was configured by files."""


def check_same_function(
    one: str | os.PathLike, other: str | os.PathLike, states: Mapping[Any, Mapping[str, Any]]
) -> None:
    """Compares what both checkpoints say: older ones, and models made otherwise, say less.

    Raises:
        ValueError: an option differs.
    """
    for group, names in (("model", MODEL_OPTIONS), ("task", TASK_OPTIONS)):
        here, there = (_flat(options(states[path], group)) for path in (one, other))
        for name in names:
            values = here.get(name), there.get(name)
            if None not in values and not _mean_the_same(name, *values):
                listed = f"{values[0]} in {one} and {values[1]} in {other}"
                raise ValueError(
                    f"the checkpoints are of different models: {name} is {listed}, and a mean of both would be neither"
                )


def _flat(group: Mapping[str, Any]) -> dict[str, Any]:
    """A group's options as the command line names them: encoder_attention_heads for the encoder's attention_heads."""
    flat = dict(group)
    for part in PARTS:
        if isinstance(part_options := group.get(part), Mapping):
            flat |= {f"{part}_{name}": value for name, value in part_options.items()}
    return flat


def _mean_the_same(name: str, one: Any, other: Any) -> bool:
    if name in LANGUAGES and one != other:  # zh and zh_CN are one language
        languages = [language_of(str(code)) for code in (one, other)]
        return None not in languages and languages[0] == languages[1]
    return one == other
