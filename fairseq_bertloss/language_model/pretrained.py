"""A Hugging Face encoder as it comes: its configuration, its weights, its scoring layer, its positions."""

import hashlib
import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from fairseq_bertloss.language_model.lm_config import (
    is_hub_name,
    is_out_of_reach,
    not_loadable,
    quiet_loading,
    read_config,
)

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

WITHOUT_EFFECT = ("_name_or_path", "transformers_version")
"""What a configuration has that no embedding depends on."""

SHORTEST = 3
"""Positions that a sentence of one symbol takes between the markers of beginning and end."""


def encoder_config(name: str) -> "PretrainedConfig":
    """The configuration of a BERT-like encoder, in which a caller may lower num_hidden_layers before loading.

    Raises:
        ValueError: not loadable, of an unknown family, or not an encoder.
    """
    try:
        config = read_config(name)
    except Exception as error:  # transformers raises anything over a broken folder
        raise ValueError(not_loadable("configuration", name, error)) from error
    if config.is_encoder_decoder or getattr(config, "is_decoder", False):
        raise ValueError(f"the language model {name!r} ({config.model_type}) is not an encoder such as BERT")
    return config


def load_encoder(name: str, config: "PretrainedConfig") -> "PreTrainedModel":
    """The encoder, as many layers of it as the configuration says, in float32 and without a pooler.

    Raises:
        ValueError: not loadable, or not built like BERT.
    """
    from transformers import AutoModel

    try:
        with quiet_loading():
            # The name is the user's, and may be a folder.
            cached = is_out_of_reach(name)
            encoder = AutoModel.from_pretrained(name, config=config, local_files_only=cached).float()  # nosec B615
    except Exception as error:  # safetensors and torch have errors of their own
        raise ValueError(not_loadable("weights", name, error)) from error
    if not (hasattr(encoder, "embeddings") and "inputs_embeds" in inspect.signature(encoder.forward).parameters):
        raise ValueError(
            f"the language model {name!r} ({config.model_type}) is not built like BERT: "
            "choose an encoder such as BERT, RoBERTa or XLM-RoBERTa"
        )
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None
    return encoder


def short_name(name: str) -> str:
    """A hub name as it is; of a local folder the end, which says which model it is."""
    return "/".join(Path(name).parts[-2:])


def scoring_layer(name: str, layer: int | None, config: "PretrainedConfig") -> int:
    """The layer given, or bert-score's choice for a known name; 0 is the embeddings.

    The name of a folder is not known, whatever it is: the folder may hold another model.

    Args:
        name: hub name or folder of the model.
        layer: the layer wanted; None: bert-score's choice.
        config: the model's, as from `encoder_config`.

    Raises:
        ValueError: no layer is given and bert-score does not know the name, or the model has no such layer.
    """
    from bert_score.utils import model2layers

    if layer is None and not (name in model2layers and is_hub_name(name)):
        raise ValueError(
            f"bert-score names no scoring layer for {name!r}: choose one (--bert-layer N in training, --layer N of "
            "`bertloss`, layer=N in Python) from 1 to the model's number of layers; about three quarters of it is "
            "usual, such as 9 of 12"
        )
    chosen = model2layers[name] if layer is None else layer
    if not 0 <= chosen <= config.num_hidden_layers:
        raise ValueError(
            f"the language model {name!r} has layers 0 (its embeddings) to {config.num_hidden_layers}, "
            f"no layer {chosen}"
        )
    return chosen


def position_table(encoder: torch.nn.Module) -> torch.nn.Embedding | None:
    """The embeddings of positions; None where positions are relative, or told in another way."""
    table = getattr(getattr(encoder, "embeddings", None), "position_embeddings", None)
    return table if isinstance(table, torch.nn.Embedding) else None


def max_length(encoder: "PreTrainedModel", name: str) -> int:
    """How many positions a sequence may have, sentence markers included.

    Raises:
        ValueError: there are too few for a sentence; `name` is for the message.
    """
    positions = position_table(encoder)
    if positions is None:
        room = encoder.config.max_position_embeddings
    else:
        # RoBERTa's kin count positions from the one after the padding's.
        room = positions.num_embeddings - (0 if positions.padding_idx is None else positions.padding_idx + 1)
    if room < SHORTEST:
        raise ValueError(
            f"the language model {name!r} has {room} positions, and one symbol between its markers takes {SHORTEST}: "
            "choose another language model"
        )
    return room


def longest_text(encoder: "PreTrainedModel", name: str, tokenizer: "PreTrainedTokenizerBase") -> int:
    """How many ids of a text BERTScore reads, sentence markers included; bert-score cuts what is longer.

    The tokenizer says it, which knows no end in some folders. Where positions are relative there need be none.

    Raises:
        ValueError: there are too few positions for a sentence; `name` is for the message.
    """
    longest = tokenizer.model_max_length
    return longest if position_table(encoder) is None else min(longest, max_length(encoder, name))


def fingerprint(encoder: "PreTrainedModel", layer: int, precision: str) -> str:
    """Names what contextual embeddings depend on beside the sentence: a digest of 32 hexadecimal digits.

    Args:
        encoder: a Hugging Face encoder, whose class, configuration and weights count, not where it is from.
        layer: the scoring layer.
        precision: what it computes in, such as "float32".
    """
    config = {key: value for key, value in encoder.config.to_dict().items() if key not in WITHOUT_EFFECT}
    facts = [type(encoder).__name__, config, layer, precision]
    digest = hashlib.blake2b(json.dumps(facts, sort_keys=True, default=str).encode(), digest_size=16)
    for name, weight in sorted(encoder.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
