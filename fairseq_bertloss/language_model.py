"""A Hugging Face encoder, frozen and cut at the scoring layer, and the facts that scoring needs of it."""

import contextlib
import csv
import importlib.util
import inspect
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from fairseq_bertloss.reference_cache import fingerprint
from fairseq_bertloss.vocabulary import not_loadable

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

SHORTEST = 3
"""Positions that a sentence of one symbol takes between the markers of beginning and end."""


class FrozenLanguageModel:
    """Embeddings in, contextual embeddings of one layer out; its weights never learn.

    On purpose not an nn.Module: a module that holds it has neither its parameters nor its state, so
    they stay out of optimizers, checkpoints, DDP and train mode. Device and precision it follows
    through `apply`, the precision only where it has none of its own.
    """

    def __init__(self, encoder: torch.nn.Module, name: str, layer: int, dtype: str | None = None):
        """See from_pretrained, which loads the encoder.

        Raises:
            ValueError: an unknown dtype, or a language model without room for a sentence.
        """
        if dtype is not None and dtype not in DTYPES:
            raise ValueError(f"unknown precision {dtype!r} of the language model: choose one of {', '.join(DTYPES)}")
        self._encoder = encoder.eval().requires_grad_(False)
        self.name = name
        self.layer = layer
        self.dtype = dtype
        self.max_length = max_length(encoder, name)
        if dtype not in (None, "float32"):
            _hold_products_in(encoder, DTYPES[dtype])

    @classmethod
    def from_pretrained(cls, name: str, layer: int | None = None, dtype: str | None = None) -> "FrozenLanguageModel":
        """Loads the layers up to the scoring layer.

        Args:
            name: hub name or local folder of a BERT-like encoder.
            layer: the layer whose output is matched; None: bert-score's choice for a known name.
            dtype: "float32", "bfloat16" or "float16": the precision to run in, whatever the training's is; the
                latter two by torch's autocast, which keeps sums, norms and softmax in float32. None: the training's.

        Raises:
            ValueError: not loadable, not an encoder, no such layer, no layer known for the name, an unknown dtype, or no room
                for a sentence.
        """
        config = encoder_config(name)
        layer = scoring_layer(name, layer, config)
        config.num_hidden_layers = layer
        return cls(load_encoder(name, config), name, layer, dtype)

    @property
    def embedding_table(self) -> Tensor:
        """(vocabulary, embedding size), before position, type and normalisation are added; float32 if dtype is set."""
        return self._encoder.get_input_embeddings().weight

    @property
    def hidden_size(self) -> int:
        """Of a contextual embedding."""
        return self._encoder.config.hidden_size

    @property
    def precision(self) -> str:
        """What it computes in at present: its own precision, autocast's, or its weights'."""
        device = self.embedding_table.device.type
        if self.dtype is None and torch.is_autocast_enabled(device):
            return f"autocast to {torch.get_autocast_dtype(device)}"
        return self.dtype or str(self.embedding_table.dtype)

    def fingerprint(self) -> str:
        """Names what contextual embeddings depend on beside the sentence: weights, layer and present precision."""
        return fingerprint(self._encoder, self.layer, self.precision)

    def apply(self, function: Callable[[Tensor], Tensor]) -> None:
        """Applies a change of device or precision, as nn.Module._apply gets it, to every weight.

        Where dtype is set the weights follow to the device only: half precision and back would round them.
        """
        if self.dtype is None:
            self._encoder._apply(function)
        else:
            moved = function(torch.zeros((), device=self.embedding_table.device))
            self._encoder.to(moved.device)

    def __call__(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        """Contextual embeddings at the scoring layer.

        Args:
            embeddings: (batch, length, embedding size), as from `embedding_table`; gradients flow. Of any precision
                where dtype is set, else of the weights'.
            mask: (batch, length), True for the positions to attend to; padding is on the right.

        Returns:
            (batch, length, hidden size); float32 where dtype is set.
        """
        if self.dtype is None:
            return self._encode(embeddings, mask)
        with self._own_precision(embeddings.device.type):
            return self._encode(embeddings.float(), mask).float()  # ALBERT and ELECTRA may give halves on a CPU

    def _encode(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        return self._encoder(inputs_embeds=embeddings, attention_mask=mask.long()).last_hidden_state

    def _own_precision(self, device: str) -> torch.autocast:
        """Autocast to dtype; for float32 none, not even one from outside."""
        if self.dtype == "float32":
            return torch.autocast(device, enabled=False)
        return torch.autocast(device, dtype=DTYPES[self.dtype])


def _hold_products_in(encoder: torch.nn.Module, dtype: torch.dtype) -> None:
    """Casts what autocast would cast anew in every forward pass: it keeps casts only of weights that learn."""
    for module in encoder.modules():
        if isinstance(module, torch.nn.Linear):
            module.to(dtype)
    for name, parameter in encoder.named_parameters():
        # DeBERTa adds these by itself: in float32 they would lift the queries, by whose precision it chooses the
        # mask's value, above the scores, where that value overflows.
        if name.endswith((".q_bias", ".v_bias")):
            parameter.data = parameter.data.to(dtype)


def encoder_config(name: str):
    """The configuration of a BERT-like encoder, in which a caller may lower num_hidden_layers before loading.

    Raises:
        ValueError: not loadable, or not an encoder.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(name)  # the name is the user's, and may be a folder  # nosec B615
    except Exception as error:  # transformers raises anything over a broken folder
        raise ValueError(not_loadable("configuration", name, error)) from error
    if config.is_encoder_decoder or config.is_decoder:
        raise ValueError(f"the language model {name!r} ({config.model_type}) is not an encoder such as BERT")
    return config


def load_encoder(name: str, config) -> torch.nn.Module:
    """The encoder, as many layers of it as the configuration says, in float32 and without a pooler.

    Raises:
        ValueError: not loadable, or not built like BERT.
    """
    from transformers import AutoModel

    try:
        with _quiet_loading():
            encoder = AutoModel.from_pretrained(name, config=config).float()  # as above  # nosec B615
    except Exception as error:  # safetensors and torch have errors of their own
        raise ValueError(not_loadable("weights", name, error)) from error
    if not (hasattr(encoder, "embeddings") and "inputs_embeds" in inspect.signature(encoder.forward).parameters):
        raise ValueError(
            f"the language model {name!r} ({config.model_type}) is not built like BERT: choose an encoder such as BERT, "
            "RoBERTa or XLM-RoBERTa"
        )
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None
    return encoder


def short_name(name: str) -> str:
    """A hub name as it is; of a local folder the end, which says which model it is."""
    return "/".join(Path(name).parts[-2:])


def scoring_layer(name: str, layer: int | None, config) -> int:
    """The layer given, or bert-score's choice for a known name; 0 is the embeddings.

    Args:
        name: hub name or folder of the model.
        layer: the layer wanted; None: bert-score's choice.
        config: the model's, as from `encoder_config`.

    Raises:
        ValueError: no layer is given and bert-score does not know the name, or the model has no such layer.
    """
    from bert_score.utils import model2layers

    if layer is None and name not in model2layers:
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


def max_length(encoder: torch.nn.Module, name: str) -> int:
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


@contextlib.contextmanager
def _quiet_loading() -> Iterator[None]:
    """Hides transformers' report of the weights left out, which are the layers above the scoring layer."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def idf_weights(path: str, tokenizer) -> dict[int, float]:
    """Inverse document frequencies of token ids, as bert-score computes them from references.

    Args:
        path: references as text, one a line.
        tokenizer: the language model's.

    Returns:
        A mapping with a default: ids that no reference has weigh log(N + 1).

    Raises:
        ValueError: the file is missing, empty or not UTF-8.
    """
    from bert_score.utils import get_idf_dict

    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            references = [line.strip() for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the references for idf weights from {path!r}: {error}") from error
    if not any(references):
        raise ValueError(f"{path}: no references to compute idf weights from: the file has no text")
    return get_idf_dict([reference for reference in references if reference], tokenizer, nthreads=0)


def rescaling_baseline(name: str, layer: int, lang: str | None, path: str | None = None) -> tuple[float, float, float]:
    """bert-score's baseline for precision, recall and F1 at a layer.

    Args:
        name: the language model's hub name, under which bert-score keeps a baseline for some languages.
        layer: the scoring layer.
        lang: the target language.
        path: a file of one's own in bert-score's format: LAYER,P,R,F.

    Raises:
        ValueError: there is no baseline for this model, language or layer.
    """
    if path is None:
        package = os.path.dirname(importlib.util.find_spec("bert_score").origin)
        path = os.path.join(package, "rescale_baseline", str(lang), f"{name}.tsv")
        if not os.path.isfile(path):
            raise ValueError(
                f"bert-score has no rescaling baseline for the model {name!r} and the language {lang!r}: "
                "leave out --rescale-with-baseline, or pass a file of your own with --baseline-path"
            )
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = {int(row["LAYER"]): tuple(float(row[column]) for column in "PRF") for row in csv.DictReader(file)}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"cannot read the rescaling baseline {path!r}: {error!r} (bert-score's format: LAYER,P,R,F)"
        ) from error
    if layer not in rows:
        raise ValueError(f"{path}: no baseline for layer {layer}, only for {sorted(rows)}")
    return rows[layer]
