"""The model's own translations inside of training: drawn by fairseq's generator, and decoded once more for gradients."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Optional  # fairseq's argument parser cannot read `str | None`

import torch
from fairseq.data.data_utils import collate_tokens
from fairseq.dataclass import FairseqDataclass
from fairseq.dataclass.configs import GenerationConfig
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from fairseq_bertloss.loss.bertscore_loss import BERTScoreLoss
from fairseq_bertloss.loss.cross_entropy import TokenStatistics, token_statistics
from fairseq_bertloss.loss.layout import batches, cost_of_a_batch
from fairseq_bertloss.loss.output_layer import Projection
from fairseq_bertloss.training.candidates import Rows
from fairseq_bertloss.training.decoder_output import decoder_outputs, one_pass_an_update
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
"""Of a translation, a * source + b symbols, where --candidate-generation-args does not say: loops would take long."""

ANCESTRAL = {"sampling": True, "sampling_topk": -1, "sampling_topp": -1.0, "temperature": 1.0}
"""Symbol by symbol from the model's own distribution, as Gumbel noise draws."""

DETERMINISTIC = ANCESTRAL | {"sampling": False}
"""What validation draws with, whatever training does."""

REFUSED = {
    "match_source_len": "a candidate would be as long as its source, which the language model may have no positions for",
}
"""Options of generation that may not be given for whatever draws, and why."""


@dataclass
class DrawingConfig(FairseqDataclass):
    """The option of whatever draws."""

    candidate_generation_args: Optional[str] = field(
        default="{}",
        metadata={
            "help": "--objective risk and --free-running: fairseq-generate's options for the model's own translations as "
            'JSON, such as \'{"sampling": true, "sampling_topk": 10}\' (default: beam search for candidates, sampling '
            "for --free-running)"
        },
    )


def generation(
    cfg: DrawingConfig, task, beam: int, why: str, defaults: Mapping[str, object] | None = None
) -> DictConfig:
    """fairseq's options for that many translations of a sentence.

    Args:
        why: they are that many, for who asks for another beam.
        defaults: fairseq-generate's options where --candidate-generation-args has none.

    Raises:
        ValueError: an option in --candidate-generation-args that cannot be.
    """
    config = generation_config(
        OPTION, cfg.candidate_generation_args, LONGEST | (defaults or {}), REFUSED | {"beam": why}
    )
    config.beam = beam
    check_generation(OPTION, config, task)
    return config


def ancestral(given: DictConfig, samples: int) -> DictConfig:
    """Options for that many samples of the model's own distribution, no longer than translations by the given options."""
    lengths = {name: given[name] for name in LONGEST}
    return OmegaConf.merge(OmegaConf.structured(GenerationConfig), ANCESTRAL, lengths, {"beam": samples})


def deterministic(given: DictConfig) -> DictConfig:
    """The given options without sampling."""
    return OmegaConf.merge(given, DETERMINISTIC)


class Decoded(NamedTuple):
    """What the model has drawn for some sentences, and their references, decoded; gradients flow from the features, from
    the references' only where Drawing learns from them."""

    rows: Rows
    references: Tensor  # (sentences, length)
    translations: Tensor  # (candidates, length), symbols of rows.candidates
    features: Tensor  # (tokens of all rows, dim), or logits where there is no projection
    projection: Projection | None

    def features_of(self, rows: Sequence[int]) -> Tensor:
        """Of the tokens of some rows, one row after the other, (tokens, dim)."""
        return self.features[self.rows.tokens_of(rows).to(self.features.device)]


class Drawing:
    """Draws translations from the model as it is, and has them decoded as if they were references.

    Args:
        task: fairseq's, which builds the generator.
        bertscore: whose symbols, positions and mode count.
        learns_references: whether anything learns from the references' probabilities, as cross-entropy does.
        training: options of the generators whose translations come together, in training.
        validation: the same in validation.

    Raises:
        ValueError: translations would be too long for the language model.
    """

    def __init__(
        self,
        task,
        bertscore: BERTScoreLoss,
        learns_references: bool,
        training: Sequence[DictConfig],
        validation: Sequence[DictConfig],
    ):
        self._task, self._bertscore, self._learns_references = task, bertscore, learns_references
        self._specials = bertscore.specials
        self._generations = {True: training, False: validation}
        needed, room = training[0].min_len, bertscore.max_target_length - 1
        if needed > room:
            raise ValueError(
                f"{OPTION}: min_len {needed} is more than the {room} symbols that the language model has room for"
            )

    def __call__(self, model: nn.Module, sample: dict, chosen: Tensor, with_references: bool = False) -> Decoded:
        """Draws translations of some of a batch's sentences and decodes them.

        Args:
            model: a fairseq encoder-decoder, as it comes or wrapped for distributed training.
            sample: of the translation task.
            chosen: indices of the sentences, one at least.
            with_references: whether a reference is a candidate too.
        """
        drawn, references = self.drawn(model, sample), sample["target"][chosen]
        rows = Rows.of([drawn[i] for i in chosen.tolist()], references, self._specials.pad, with_references)
        translations = self._target_side([rows.symbols[row] for row in rows.candidates]).to(references.device)
        return Decoded(rows, references, translations, *self._decoded(model, sample["net_input"], chosen, rows))

    def of_references(self, decoded: Decoded, with_uniform: bool) -> TokenStatistics:
        """Of the references' real tokens, in teacher forcing; with_uniform as for token_statistics."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._learns_references):
            return token_statistics(
                decoded.features_of(decoded.rows.references),
                decoded.references[decoded.references != self._specials.pad],
                decoded.projection,
                eos=self._specials.eos,
                with_uniform=with_uniform,
                chunk_tokens=self._bertscore.chunk_tokens,
            )

    def drawn(self, model: nn.Module, sample: dict) -> list[list[list[int]]]:
        """Symbols of each sentence's translations, a generator's best first, </s> included.

        A model with NaN in it has none: fairseq's generator would fail, where the loss lets fairseq deal with it.

        Args:
            model: a fairseq encoder-decoder, as it comes or wrapped for distributed training.
            sample: of the translation task.

        Raises:
            ValueError: the model has no positions for translations of min_len symbols.
        """
        check_positions(OPTION, self._generations[True][0], model)
        found, room = [[] for _ in sample["target"]], self._bertscore.max_target_length
        if torch.stack([parameter.isnan().any() for parameter in model.parameters()]).any():
            return found
        with evaluating(model):
            for config in self._generations[self._bertscore.training]:
                for own, more in zip(found, translations(self._task, model, sample, config, room)):
                    own += [one["tokens"] for one in more]
        # Older torch would take the half-precision weights of this for those that learn, without gradients (pytorch#112583).
        torch.clear_autocast_cache()
        # One copy from a GPU, not one for each.
        symbols = iter(torch.cat([sample["target"].new_empty(0), *itertools.chain(*found)]).tolist())
        return [[list(itertools.islice(symbols, len(tokens))) for tokens in own] for own in found]

    def longest(self, model: nn.Module, sample: dict, chosen: Tensor) -> list[int]:
        """Symbols, without </s>, at which the translations of some of a batch's sentences are cut: </s> comes then, whether
        the model chose it or not."""
        sources = sample["net_input"]["src_lengths"][chosen]
        return longest_lengths(self._generations[True][0], model, sources, self._bertscore.max_target_length)

    def _decoded(
        self, model: nn.Module, net_input: dict, sources: Tensor, rows: Rows
    ) -> tuple[Tensor, Projection | None]:
        """Decoder features (tokens, dim) of the rows' tokens, one row after the other, and the projection, as
        decoder_output.

        Rows of like lengths are decoded together, as far as the model's wrapper allows for several passes, and in training
        those that nothing learns from by themselves. The encoder reads a source once for all of its rows.

        Args:
            net_input: the model's arguments.
            sources: which sources the rows' sentences are, (sentences,).
        """
        lengths = [len(symbols) for symbols in rows.symbols]
        everything = range(len(lengths))
        if one_pass_an_update(model):
            groups = [(everything, True)]
        else:
            aside = torch.is_grad_enabled() and not self._learns_references
            unlearned = set(everything).difference(rows.candidates) if aside else set()
            parts = {True: [row for row in everything if row not in unlearned], False: sorted(unlearned)}
            groups = [
                (group, learns) for learns, part in parts.items() for group in _of_like_lengths(part, lengths, sources)
            ]
        sides = [self._target_side([rows.symbols[i] for i in group], move_eos_to_beginning=True) for group, _ in groups]
        order = [sources[torch.tensor([rows.sentence[i] for i in group]).to(sources.device)] for group, _ in groups]
        read, learns = [side.to(sources.device) for side in sides], [learns for _, learns in groups]
        found, projection = decoder_outputs(model, net_input, read, order, learns)
        real = (side.ne(self._specials.pad).to(sources.device) for side in sides)
        packed = torch.cat([features[places] for features, places in zip(found, real)])
        back = rows.tokens_of([row for group, _ in groups for row in group]).argsort()
        return packed[back.to(sources.device)], projection

    def _target_side(self, symbols: Sequence[Sequence[int]], **options) -> Tensor:
        """(rows, length), padded on the right; on the CPU."""
        return collate_tokens([torch.tensor(row) for row in symbols], self._specials.pad, self._specials.eos, **options)


def _of_like_lengths(rows: Sequence[int], lengths: Sequence[int], sources: Tensor) -> list[list[int]]:
    """Some rows in groups to decode together."""
    groups = batches([lengths[row] for row in rows], cost_of_a_batch(sources))
    return [[rows[i] for i in group] for group in groups]
