"""A Hugging Face encoder, frozen and cut at the scoring layer, with bert-score's idf weights and baselines.

lm = FrozenLanguageModel.from_pretrained("bert-base-uncased", layer=9)
contextual = lm(lm.embedding_table[ids], mask)
"""

import csv
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from fairseq_bertloss.files import check_readable_again
from fairseq_bertloss.language_model.lm_config import is_hub_name
from fairseq_bertloss.language_model.pretrained import (
    encoder_config,
    fingerprint,
    load_encoder,
    longest_text,
    max_length,
    scoring_layer,
)
from fairseq_bertloss.language_model.tokenization import encode
from fairseq_bertloss.text.languages import language_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class FrozenLanguageModel:
    """Embeddings in, contextual embeddings of one layer out; its weights never learn.

    On purpose not an nn.Module: a module that holds it has neither its parameters nor its state, so
    they stay out of optimizers, checkpoints, DDP and train mode. Device and precision it follows
    through `apply`, the precision only where it has none of its own.
    """

    def __init__(self, encoder: "PreTrainedModel", name: str, layer: int, dtype: str | None = None):
        """See from_pretrained, which loads the encoder, for the arguments.

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
        self.changes = 0  # of device or precision so far: half precision and back leaves other weights
        if dtype is not None and dtype != "float32":
            _hold_products_in_(encoder, DTYPES[dtype])

    @classmethod
    def from_pretrained(cls, name: str, layer: int | None = None, dtype: str | None = None) -> "FrozenLanguageModel":
        """Loads the layers up to the scoring layer.

        Args:
            name: hub name or local folder of a BERT-like encoder.
            layer: the layer whose output is matched; None: bert-score's choice for a known name.
            dtype: "float32", "bfloat16" or "float16": the precision to run in, whatever the training's is; the
                latter two by torch's autocast, which keeps sums, norms and softmax in float32. None: the training's.

        Raises:
            ValueError: the model cannot be loaded, is not an encoder, has no such layer or no room for a sentence; no
                layer is known for its name; an unknown dtype.
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
        """Values in a contextual embedding."""
        return self._encoder.config.hidden_size

    def longest_text(self, tokenizer: "PreTrainedTokenizerBase") -> int:
        """How many ids of a text BERTScore reads, sentence markers included; longer texts are cut there."""
        return longest_text(self._encoder, self.name, tokenizer)

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
        self.changes += 1
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
        with _precision(self.dtype, embeddings.device.type):
            return self._encode(embeddings.float(), mask).float()  # ALBERT and ELECTRA may give halves on a CPU

    def _encode(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        return self._encoder(inputs_embeds=embeddings, attention_mask=mask.long()).last_hidden_state


def _precision(dtype: str, device: str) -> torch.autocast:
    """Autocast to dtype; for float32 none, not even one from outside."""
    if dtype == "float32":
        return torch.autocast(device, enabled=False)
    return torch.autocast(device, dtype=DTYPES[dtype])


def _hold_products_in_(encoder: torch.nn.Module, dtype: torch.dtype) -> None:
    """Casts what autocast would cast anew in every forward pass: it keeps casts only of weights that learn."""
    for module in encoder.modules():
        if isinstance(module, torch.nn.Linear):
            module.to(dtype)
    for name, parameter in encoder.named_parameters():
        # DeBERTa adds these by itself: in float32 they would lift the queries, by whose precision it chooses the
        # mask's value, above the scores, where that value overflows.
        if name.endswith((".q_bias", ".v_bias")):
            parameter.data = parameter.data.to(dtype)


def idf_weights(path: str, tokenizer: "PreTrainedTokenizerBase") -> dict[int, float]:
    """Inverse document frequencies of token ids, as bert-score computes them from references.

    Args:
        path: references as text, one a line; an empty one counts too.
        tokenizer: the language model's.

    Returns:
        A mapping with a default: ids that no reference has weigh log(N + 1).

    Raises:
        ValueError: the file is missing, empty or not UTF-8.
    """
    from bert_score.utils import get_idf_dict

    try:
        check_readable_again(path)  # each worker reads it, and again whoever goes on
        with open(path, encoding="utf-8-sig", newline="\n") as file:
            references = [line.strip() for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the references for idf weights from {path!r}: {error}") from error
    if not any(references):
        raise ValueError(f"{path}: no references to compute idf weights from: the file has no text")
    return get_idf_dict(encode(tokenizer, references, tokenizer.model_max_length), None, nthreads=0)


class Adjustments(NamedTuple):
    """What bert-score may change of plain cosines."""

    idf: Tensor | None  # (vocabulary,), the weight of each of the language model's ids
    baseline: tuple[float, float, float] | None  # of precision, recall and F1, to rescale them


def adjustments(
    language_model: FrozenLanguageModel,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    idf_references: str | None,
    rescale_with_baseline: bool,
    baseline_path: str | None,
    lang: str | None,
) -> Adjustments:
    """bert-score's idf weights and baseline, each as far as it is asked for; arguments as of BERTScoreLoss.

    Raises:
        ValueError: a file cannot be read, or there is no baseline for the language.
    """
    baseline = None
    if rescale_with_baseline:
        baseline = rescaling_baseline(language_model.name, language_model.layer, lang, baseline_path)
    if idf_references is None:
        return Adjustments(None, baseline)
    weights = idf_weights(idf_references, tokenizer)
    return Adjustments(torch.tensor([weights[i] for i in range(len(language_model.embedding_table))]), baseline)


def rescaling_baseline(name: str, layer: int, lang: str | None, path: str | None = None) -> tuple[float, float, float]:
    """bert-score's baseline for precision, recall and F1 at a layer.

    Args:
        name: the language model's hub name, under which bert-score keeps a baseline for some languages.
        layer: the scoring layer.
        lang: the target language, by its code in whatever spelling, or as bert-score has it.
        path: a file of one's own in bert-score's format: LAYER,P,R,F.

    Raises:
        ValueError: there is no baseline for this model, language or layer.
    """
    import bert_score

    if path is None:
        folder = os.path.join(os.path.dirname(bert_score.__file__), "rescale_baseline")
        language = lang if lang in os.listdir(folder) else language_of(str(lang))
        path = os.path.join(folder, str(language), f"{name}.tsv")
        if not is_hub_name(name) or not os.path.isfile(path):
            raise ValueError(
                f"bert-score has no rescaling baseline for the model {name!r} and the language {lang!r}: "
                "leave out --rescale-with-baseline, or pass a file of your own with --baseline-path"
            )
    try:
        with open(path, encoding="utf-8", newline="") as file:
            by_layer = {
                int(row["LAYER"]): (float(row["P"]), float(row["R"]), float(row["F"])) for row in csv.DictReader(file)
            }
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"cannot read the rescaling baseline {path!r}: {error!r} (bert-score's format: LAYER,P,R,F)"
        ) from error
    if layer not in by_layer:
        raise ValueError(f"{path}: no baseline for layer {layer}, only for {sorted(by_layer)}")
    return by_layer[layer]
