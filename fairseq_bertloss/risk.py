"""Minimum risk: the model's own candidates and how BERTScore judges them, instead of soft predictions.

    fairseq-train DIR --user-dir fairseq_bertloss --criterion bertscore_loss --bert-model NAME \
        --objective risk --candidates 5 --cross-entropy-weight 0.2 --label-smoothing 0.1 ...

Candidates are drawn from the model in evaluation mode; training makes those more probable that score better than
the others (Shen et al., 2016; Edunov et al., 2018).
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Optional  # fairseq's argument parser cannot read `str | None`

import torch
from fairseq.data.data_utils import collate_tokens
from fairseq.dataclass import FairseqDataclass
from omegaconf import DictConfig
from torch import Tensor, nn

from fairseq_bertloss.bertscore import BERTScore
from fairseq_bertloss.candidates import Rows, risk_of
from fairseq_bertloss.cross_entropy import token_statistics
from fairseq_bertloss.decoder_output import decoder_outputs, one_pass_an_update
from fairseq_bertloss.generation import check_generation, evaluating, generation_config
from fairseq_bertloss.layout import batches, cost_of_a_batch
from fairseq_bertloss.loss import BERTScoreLoss
from fairseq_bertloss.objective import Scored
from fairseq_bertloss.output_layer import Projection

OPTION = "--candidate-generation-args"

LONGEST = {"max_len_a": 1.5, "max_len_b": 10}
"""Of a candidate, a * source + b symbols, where --candidate-generation-args does not say: loops would take long."""

DETERMINISTIC = {"sampling": False, "sampling_topk": -1, "sampling_topp": -1.0, "temperature": 1.0}
"""What validation draws its candidates with, whatever training does."""

ELSEWHERE = {
    "beam": "--candidates says how many there are",
    "match_source_len": "a candidate would be as long as its source, which the language model may have no positions for",
}
"""Options of generation that candidates cannot have, and why."""


@dataclass
class RiskConfig(FairseqDataclass):
    """The options of --objective risk."""

    candidates: int = field(
        default=5, metadata={"help": "--objective risk: translations of each sentence that are compared"}
    )
    candidate_generation_args: Optional[str] = field(
        default="{}",
        metadata={
            "help": "--objective risk: fairseq-generate's options for the candidates as JSON, such as "
            "'{\"sampling\": true, \"sampling_topk\": 10}' (default: beam search)"
        },
    )
    reference_among_candidates: bool = field(
        default=False, metadata={"help": "--objective risk: the reference is a candidate too"}
    )
    risk_alpha: float = field(
        default=1.0, metadata={"help": "--objective risk: candidates weigh softmax(alpha * log-probability / length)"}
    )


def candidate_generation(cfg: RiskConfig, task) -> dict[bool, DictConfig]:
    """How candidates are drawn, by whether it is training: validation takes beam search, the same every time.

    Raises:
        ValueError: an option of RiskConfig that cannot be.
    """
    if cfg.candidates < 2:
        raise ValueError(f"--candidates must be at least 2, to compare, not {cfg.candidates}")
    if not 0 < cfg.risk_alpha < math.inf:
        raise ValueError(f"--risk-alpha must be positive and finite, not {cfg.risk_alpha}")
    training = generation_config(OPTION, cfg.candidate_generation_args, LONGEST, ELSEWHERE)
    training.beam = cfg.candidates
    check_generation(OPTION, training, task)
    validation = training.copy()
    validation.update(DETERMINISTIC)
    return {True: training, False: validation}


class MinimumRisk:
    """The risk of each sentence: sum_k Q_k (1 - F_k) over its candidates, Q = softmax_k(alpha * log p(k) / length(k)).

    F has no gradient. The encoder reads a source once to draw its candidates and once for their gradients.

    Args:
        cfg: the criterion's options.
        generation: what candidate_generation returned.
        task: fairseq's, which builds the generator.
        bertscore: what candidates are scored with; its `score` takes the place of F.
    """

    def __init__(self, cfg, generation: dict[bool, DictConfig], task, bertscore: BERTScoreLoss):
        self._generation = generation
        self._task = task
        self._bertscore = bertscore
        self._specials = bertscore.specials
        self._options = {"eos": self._specials.eos, "chunk_tokens": bertscore.chunk_tokens}
        self._with_reference = cfg.reference_among_candidates
        self._alpha = cfg.risk_alpha
        self._with_uniform = cfg.label_smoothing > 0

    def __call__(self, model: nn.Module, sample: dict, chosen: Tensor) -> Scored:
        """The risk of some of a batch's sentences.

        Args:
            model: a fairseq encoder-decoder, as it comes or wrapped for distributed training.
            sample: of the translation task.
            chosen: indices of the sentences, one at least.
        """
        drawn, references = self._drawn(model, sample), sample["target"][chosen]
        rows = Rows.of([drawn[i] for i in chosen.tolist()], references, self._specials.pad, self._with_reference)
        features, projection = self._decoded(model, sample["net_input"], chosen, rows)
        log_p = self._log_probabilities(features, projection, rows)
        f = -self._bertscore.objective(self._scores(rows, references))
        risk, sums = risk_of(rows.table(log_p, -torch.inf), rows.table(f, 0.0), self._alpha)
        own = torch.tensor([i for row in rows.references for i in rows.tokens(row)]).to(features.device)
        real = references[references != self._specials.pad]
        tokens = token_statistics(features[own], real, projection, with_uniform=self._with_uniform, **self._options)
        return Scored(risk, tokens, sums)

    def _drawn(self, model: nn.Module, sample: dict) -> list[list[list[int]]]:
        """Symbols of each sentence's candidates, the generator's best first, </s> included."""
        with evaluating(model):
            generator = self._task.build_generator([model], self._generation[self._bertscore.training])
            generator.max_len = min(generator.max_len, self._bertscore.max_target_length)
            drawn = self._task.inference_step(generator, [model], sample, prefix_tokens=None)
        tokens = [one["tokens"] for candidates in drawn for one in candidates]
        symbols = iter(torch.cat([sample["target"].new_empty(0), *tokens]).tolist())
        return [[list(itertools.islice(symbols, len(one["tokens"]))) for one in candidates] for candidates in drawn]

    def _decoded(
        self, model: nn.Module, net_input: dict, sources: Tensor, rows: Rows
    ) -> tuple[Tensor, Projection | None]:
        """Decoder features of the rows' tokens, one row after the other, and the projection, as decoder_output.

        Rows of like lengths are decoded together, as far as the model's wrapper allows for several passes.
        """
        lengths = [len(symbols) for symbols in rows.symbols]
        groups = [range(len(lengths))] if one_pass_an_update(model) else batches(lengths, cost_of_a_batch(sources))
        sides = [self._target_side([rows.symbols[i] for i in group], move_eos_to_beginning=True) for group in groups]
        order = [sources[torch.tensor([rows.sentence[i] for i in group]).to(sources.device)] for group in groups]
        found, projection = decoder_outputs(model, net_input, [side.to(sources.device) for side in sides], order)
        real = (side.ne(self._specials.pad).to(sources.device) for side in sides)
        packed = torch.cat([features[places] for features, places in zip(found, real)])
        back = torch.tensor([i for group in groups for row in group for i in rows.tokens(row)]).argsort()
        return packed[back.to(sources.device)], projection

    def _target_side(self, symbols: Sequence[Sequence[int]], **options) -> Tensor:
        """(rows, length), padded on the right; on the CPU."""
        return collate_tokens([torch.tensor(row) for row in symbols], self._specials.pad, self._specials.eos, **options)

    def _log_probabilities(self, features: Tensor, projection: Projection | None, rows: Rows) -> Tensor:
        """Of each candidate, (candidates,), divided by its length; from the features (tokens, dim) of all rows.

        Candidates that begin alike share the distributions up to where they part; in training mode, where dropout
        makes each row's differ, those of the first.
        """
        first, following = rows.shared_beginnings()
        target = torch.tensor([symbol for row in rows.candidates for symbol in rows.symbols[row]])
        lengths = torch.tensor([len(rows.symbols[row]) for row in rows.candidates])
        candidate = torch.arange(len(lengths)).repeat_interleave(lengths)
        order = following.argsort(stable=True)
        moved = (part.to(features.device) for part in (first, target[order], candidate[order], lengths))
        first, target, candidate, lengths = moved
        nll = token_statistics(features[first], target, projection, of=following[order], **self._options).nll
        return -nll.new_zeros(len(lengths)).index_add(0, candidate, nll) / lengths

    def _scores(self, rows: Rows, references: Tensor) -> BERTScore:
        """Of each candidate, (candidates,), against its sentence's reference."""
        candidates = self._target_side([rows.symbols[row] for row in rows.candidates]).to(references.device)
        return self._bertscore.score_ids(candidates, references, [rows.sentence[row] for row in rows.candidates])
