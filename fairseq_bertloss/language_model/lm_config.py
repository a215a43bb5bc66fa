"""A language model's family: what its config.json says, never the letters of its name or path."""

import contextlib
import functools
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PretrainedConfig

BERT_KEYS = frozenset(
    "attention_probs_dropout_prob hidden_act hidden_dropout_prob hidden_size initializer_range intermediate_size "
    "max_position_embeddings num_attention_heads num_hidden_layers type_vocab_size vocab_size".split()
)
"""What Google's configurations of BERT have, which came before `model_type`."""
OTHER_BERT_KEYS = frozenset(
    "directionality pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head pooler_type "
    "gradient_checkpointing output_past position_embedding_type".split()
)
"""What some of them have as well, and a BERT of transformers 4 or 5 no more."""
BERT_SEGMENTS = 2
"""Kinds of segments that a BERT tells apart; a RoBERTa, whose old configurations look alike, has one."""

HUB_SECONDS = 5
"""How long the hub may take to answer before its cache alone is asked."""


def read_config(name: str) -> "PretrainedConfig":
    """The configuration of a language model, hub name or folder.

    transformers takes a configuration without `model_type` for whatever family stands in the path. Here it is a BERT's
    if its keys are, as in Google's first models, and refused otherwise. No code of the model's own runs.

    Raises:
        ValueError: a folder has no config.json; it does not say of which family the model is.
        Exception: whatever transformers raises where it is not loadable (not_loadable makes a message of it).
    """
    from transformers import AutoConfig, BertConfig, PretrainedConfig

    if os.path.isdir(name):
        _check_folder(name)
    cached = is_out_of_reach(name)
    # The name is the user's, and may be a folder.
    content, _ = PretrainedConfig.get_config_dict(name, local_files_only=cached)  # nosec B615
    if content.get("model_type"):
        return AutoConfig.from_pretrained(name, trust_remote_code=False, local_files_only=cached)  # nosec B615
    if not _is_berts(content, BertConfig()):
        raise ValueError(
            'its config.json does not say which family it is of: add a line such as "model_type": "roberta"'
        )
    return BertConfig.from_dict(content)


def not_loadable(part: str, name: str, error: Exception) -> str:
    """The message for a tokenizer or model that transformers could not load."""
    if is_hub_name(name) and not _can_be_hub_name(name):
        return f"cannot load the language model's {part} from {name!r}: there is no such folder"
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    remedy = (
        "the folder must hold config.json, the weights and the tokenizer's files"
        if os.path.isdir(name)
        else "pass a Hugging Face hub name (needs the network or a filled cache) or an existing folder"
    )
    return f"cannot load the language model's {part} from {name!r}: {reason} ({remedy})"


def is_hub_name(name: str) -> bool:
    """Whether a name is the hub's and so says which model it is; a folder of that name may hold any."""
    return not os.path.exists(name)


def is_out_of_reach(name: str) -> bool:
    """Whether a name is the hub's, and the hub does not answer: transformers is to read its cache alone.

    It would ask again for three quarters of a minute otherwise.
    """
    return is_hub_name(name) and (not _can_be_hub_name(name) or not _hub_answers())


def _can_be_hub_name(name: str) -> bool:
    """Whether the hub may have a model of this name; paths such as ./model have other characters, or more slashes."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


@functools.cache
def _hub_answers() -> bool:
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=HUB_SECONDS)
    except Exception:  # of whichever HTTP library it uses
        return False
    return True


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """Hides what transformers says of weights above the scoring layer, and of tokenizers by the letters of a path.

    Its bar over the weights of a file goes too, which stands in log files as well; the hub's over downloads stay.
    """
    from huggingface_hub.utils import are_progress_bars_disabled, enable_progress_bars
    from transformers.utils import logging

    verbosity, with_bar, with_downloads = (
        logging.get_verbosity(),
        logging.is_progress_bar_enabled(),
        not are_progress_bars_disabled(),
    )
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if with_downloads:
        enable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if with_bar and with_downloads:
            logging.enable_progress_bar()


def _check_folder(name: str) -> None:
    """Looks for what transformers passes over in silence, or ends in an error of Python's at."""
    path = os.path.join(name, "config.json")
    if not os.path.isfile(path):
        raise ValueError("there is no config.json")
    with open(path, encoding="utf-8") as file:
        try:
            content = json.load(file)
        except ValueError:
            return  # transformers says so
    if not isinstance(content, dict):
        raise ValueError(f"its config.json is no table of settings, but {str(content)[:40]}")
    family = content.get("model_type")
    if family is not None and not isinstance(family, str):
        raise ValueError(f'the "model_type" in its config.json is no name of a family, but {str(family)[:40]}')


def _is_berts(content: dict[str, Any], bert: "PretrainedConfig") -> bool:
    """Whether a configuration without `model_type` has a BERT's keys, and by its architecture or keys no other's."""
    if not content.keys() >= BERT_KEYS or content["type_vocab_size"] != BERT_SEGMENTS:
        return False
    if architectures := content.get("architectures"):
        return all(architecture.startswith("Bert") for architecture in architectures)
    return all(hasattr(bert, key) or key in OTHER_BERT_KEYS for key in content)
