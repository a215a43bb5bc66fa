"""Minimum risk: the model's own candidates and how BERTScore judges them, instead of soft predictions.

    fairseq-train DIR --user-dir fairseq_bertloss --criterion bertscore_loss --bert-model NAME \
        --objective risk --candidates 5 --cross-entropy-weight 0.2 --label-smoothing 0.1 ...

Candidates are drawn from the model in evaluation mode; training makes those more probable that score better than
the others (Shen et al., 2016; Edunov et al., 2018).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Optional  # fairseq's argument parser cannot read `str | None`

import torch
from fairseq.data.data_utils import collate_tokens
from fairseq.dataclass import FairseqDataclass
from torch import Tensor, nn

from fairseq_bertloss.cross_entropy import TokenStatistics, token_statistics
from fairseq_bertloss.decoder_output import decoder_output, encoder_output_repeated
from fairseq_bertloss.generation import evaluating, generation_config
from fairseq_bertloss.loss import BERTScoreLoss
from fairseq_bertloss.objective import Scored, at_places
from fairseq_bertloss.vocabulary import Specials

RISK_SUMS = ("f_expected", "f_first", "f_best", "candidates")
"""What the log gets besides the statistics of the references, sums over sentences."""

LONGEST = {"max_len_a": 1.5, "max_len_b": 10}
"""Of a candidate, a * source + b symbols, where --candidate-generation-args does not say: loops would take long."""

DETERMINISTIC = {"sampling": False, "sampling_topk": -1, "sampling_topp": -1.0, "temperature": 1.0}
"""What validation draws its candidates with, whatever training does."""


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


class MinimumRisk:
    """The risk of each sentence: sum_k Q_k (1 - F_k) over its candidates, Q = softmax_k(alpha * log p(k) / length(k)).

    F has no gradient. The encoder reads each source twice, to draw candidates and for their gradients.
    Validation draws by beam search, so that it is the same every time.

    Args:
        cfg: the criterion's options.
        task: fairseq's, which builds the generator.
        bertscore: what candidates are scored with; its `score` takes the place of F.

    Raises:
        ValueError: an option that cannot be.
    """

    def __init__(self, cfg, task, bertscore: BERTScoreLoss):
        if cfg.candidates < 2:
            raise ValueError(f"--candidates must be at least 2, to compare, not {cfg.candidates}")
        if not cfg.risk_alpha > 0:
            raise ValueError(f"--risk-alpha must be positive, not {cfg.risk_alpha}")
        given = generation_config("--candidate-generation-args", cfg.candidate_generation_args, LONGEST)
        if "beam" in cfg.candidate_generation_args:
            raise ValueError("--candidate-generation-args: --candidates says how many there are, leave out 'beam'")
        given.beam = cfg.candidates
        self._generation = {True: given, False: given.copy()}  # by whether we train
        self._generation[False].update(DETERMINISTIC)
        self._task = task
        self._bertscore = bertscore
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
        drawn, pad, references = self._drawn(model, sample), self._bertscore.specials.pad, sample["target"][chosen]
        rows = Rows.of([drawn[i] for i in chosen.tolist()], references, self._bertscore.specials, self._with_reference)
        net_input = sample["net_input"] | {"prev_output_tokens": rows.prev_output_tokens}
        with encoder_output_repeated(model, chosen[rows.sentence]):
            features, projection = decoder_output(model, net_input)

        def statistics(which: Tensor, with_uniform: bool) -> tuple[Tensor, TokenStatistics]:
            target = rows.target[which]
            real = target.ne(pad)
            return real, token_statistics(
                features[which][real], target[real], projection, eos=self._bertscore.specials.eos,
                with_uniform=with_uniform, chunk_tokens=self._bertscore.chunk_tokens,
            )  # fmt: skip

        real, tokens = statistics(rows.candidates, with_uniform=False)
        log_p = -at_places(real, tokens.nll).sum(dim=1) / real.sum(dim=1)
        score = self._bertscore.score_ids(rows.target[rows.candidates], references, rows.sentence[rows.candidates].tolist())
        risk, sums = risk_of(rows.table(log_p, -torch.inf), rows.table(-self._bertscore.objective(score), 0.0), self._alpha)
        return Scored(risk, statistics(rows.references, self._with_uniform)[1], sums)

    def _drawn(self, model: nn.Module, sample: dict) -> list[list[list[int]]]:
        """Symbols of each sentence's candidates, the most probable first, </s> included."""
        with evaluating(model):
            generator = self._task.build_generator([model], self._generation[self._bertscore.training])
            generator.max_len = min(generator.max_len, self._bertscore.max_target_length)
            drawn = self._task.inference_step(generator, [model], sample, prefix_tokens=None)
        # A GPU is waited for once.
        symbols = iter(torch.cat([one["tokens"] for candidates in drawn for one in candidates]).tolist())
        return [[[next(symbols) for _ in one["tokens"]] for one in candidates] for candidates in drawn]


class Rows(NamedTuple):
    """Candidates and references of some sentences, each different one a row that is decoded once."""

    target: Tensor  # (rows, length), padded on the right
    prev_output_tokens: Tensor  # (rows, length), what the decoder reads before it
    sentence: Tensor  # (rows,), which each belongs to
    candidates: Tensor  # (candidates,), rows, the first of a sentence its most probable
    place: Tensor  # (candidates,), among those of the sentence
    references: Tensor  # (sentences,), rows

    @classmethod
    def of(
        cls, drawn: Sequence[Sequence[Sequence[int]]], references: Tensor, specials: Specials, with_references: bool
    ) -> "Rows":
        """From the symbols of each sentence's candidates, the most probable first, </s> included.

        Args:
            references: (sentences, length), padded.
            specials: indices among the symbols.
            with_references: whether a reference is a candidate too, the last.
        """
        rows, candidates, place, own = {}, [], [], []
        for sentence, (found, reference) in enumerate(zip(drawn, references.tolist())):
            reference = (sentence, *(symbol for symbol in reference if symbol != specials.pad))
            distinct = dict.fromkeys((sentence, *symbols) for symbols in found)
            if with_references:
                distinct[reference] = None
            candidates += [rows.setdefault(row, len(rows)) for row in distinct]
            place += range(len(distinct))
            own.append(rows.setdefault(reference, len(rows)))
        symbols = [torch.tensor(row[1:]) for row in rows]
        batch = (collate_tokens(symbols, specials.pad, specials.eos, move_eos_to_beginning=moved) for moved in (False, True))
        indices = (torch.tensor(part) for part in ([row[0] for row in rows], candidates, place, own))
        return cls(*(part.to(references.device, non_blocking=True) for part in (*batch, *indices)))

    def table(self, values: Tensor, filling: float) -> Tensor:
        """Values of the candidates (candidates,) in a row for each sentence, (sentences, most candidates)."""
        table = values.new_full((len(self.references), 1 + int(self.place.max())), filling)
        return table.index_put((self.sentence[self.candidates], self.place), values)


def risk_of(log_p: Tensor, f: Tensor, alpha: float) -> tuple[Tensor, dict[str, Tensor]]:
    """The risk of each sentence, (sentences,), and sums for the log.

    Args:
        log_p: log-probability per symbol of each candidate, (sentences, candidates), -inf where there is none; the
            first is the most probable. Gradients flow.
        f: how good each is, the same shape; anything finite where there is none.
        alpha: > 0, sharpness.
    """
    drawn = log_p.detach() > -torch.inf
    expected = (torch.softmax(alpha * log_p, dim=-1) * f).sum(dim=-1)
    sums = expected.detach().sum(), f[:, 0].sum(), f.masked_fill(~drawn, -torch.inf).amax(dim=-1).sum(), drawn.sum()
    return 1 - expected, dict(zip(RISK_SUMS, sums))
