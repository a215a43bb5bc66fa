"""Minimum risk: the model's own candidates and how BERTScore judges them, instead of soft predictions.

    fairseq-train DIR --user-dir fairseq_bertloss --criterion bertscore_loss --bert-model NAME \
        --objective risk --candidates 5 --cross-entropy-weight 0.2 --label-smoothing 0.1 ...

Candidates are drawn from the model in evaluation mode; training makes those more probable that score better than
the others (Shen et al., 2016; Edunov et al., 2018).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Optional  # fairseq's argument parser cannot read `str | None`

import torch
from fairseq.data.data_utils import collate_tokens
from fairseq.dataclass import FairseqDataclass
from torch import Tensor, nn

from fairseq_bertloss.bertscore import BERTScore
from fairseq_bertloss.cross_entropy import token_statistics
from fairseq_bertloss.decoder_output import decoder_output, encoder_output_repeated
from fairseq_bertloss.generation import evaluating, generation_config
from fairseq_bertloss.layout import batches, cost_of_a_batch
from fairseq_bertloss.loss import BERTScoreLoss
from fairseq_bertloss.objective import Scored
from fairseq_bertloss.output_layer import Projection

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

    F has no gradient. For the gradient, the decoder reads candidates and references in batches of like lengths, and
    the encoder the sources of each. Validation draws by beam search, so that it is the same every time.

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
        drawn, references, sources = self._drawn(model, sample), sample["target"][chosen], chosen.tolist()
        rows = Rows.of([drawn[i] for i in sources], references, self._specials.pad, self._with_reference)
        features, projection = self._decoded(model, sample, sources, rows)
        log_p = self._log_probabilities(features, projection, rows)
        f = -self._bertscore.objective(self._scores(rows, references))
        risk, sums = risk_of(rows.table(log_p, -torch.inf), rows.table(f, 0.0), self._alpha)
        own = torch.tensor([i for row in rows.references for i in rows.tokens(row)]).to(features.device)
        real = references[references != self._specials.pad]
        tokens = token_statistics(features[own], real, projection, with_uniform=self._with_uniform, **self._options)
        return Scored(risk, tokens, sums)

    def _drawn(self, model: nn.Module, sample: dict) -> list[list[list[int]]]:
        """Symbols of each sentence's candidates, the most probable first, </s> included."""
        with evaluating(model):
            generator = self._task.build_generator([model], self._generation[self._bertscore.training])
            generator.max_len = min(generator.max_len, self._bertscore.max_target_length)
            drawn = self._task.inference_step(generator, [model], sample, prefix_tokens=None)
        # A GPU is waited for once.
        symbols = iter(torch.cat([one["tokens"] for candidates in drawn for one in candidates]).tolist())
        return [[[next(symbols) for _ in one["tokens"]] for one in candidates] for candidates in drawn]

    def _decoded(self, model: nn.Module, sample: dict, sources: Sequence[int], rows: "Rows"):
        """Decoder features of the rows' tokens, one row after the other, and the projection, as decoder_output."""
        device, read, features = sample["target"].device, [], []
        for group in batches([len(symbols) for symbols in rows.symbols], cost_of_a_batch(sample["target"])):
            before = collate_tokens([torch.tensor(rows.symbols[i]) for i in group], self._specials.pad, self._specials.eos,
                                    move_eos_to_beginning=True)  # fmt: skip
            used = sorted({rows.sentence[i] for i in group})
            net_input = _at_sentences(sample["net_input"], torch.tensor([sources[i] for i in used]).to(device))
            order = torch.tensor([used.index(rows.sentence[i]) for i in group]).to(device)
            with encoder_output_repeated(model, order):
                found, projection = decoder_output(model, net_input | {"prev_output_tokens": before.to(device)})
            features.append(found[before.ne(self._specials.pad).to(device)])
            read += [i for row in group for i in rows.tokens(row)]
        return torch.cat(features)[torch.tensor(read).argsort().to(device)], projection

    def _log_probabilities(self, features: Tensor, projection: Projection | None, rows: "Rows") -> Tensor:
        """Of each candidate, (candidates,), divided by its length.

        Candidates that begin alike share the distributions up to where they part; in training mode, where dropout
        makes each row's differ, those of the first.
        """
        first, of = rows.shared_beginnings()
        target = torch.tensor([symbol for row in rows.candidates for symbol in rows.symbols[row]])
        lengths = torch.tensor([len(rows.symbols[row]) for row in rows.candidates])
        owner = torch.arange(len(lengths)).repeat_interleave(lengths)
        order = of.argsort(stable=True)
        first, target, owner, lengths = (part.to(features.device) for part in (first, target[order], owner[order], lengths))
        nll = token_statistics(features[first], target, projection, of=of[order], **self._options).nll
        return -nll.new_zeros(len(lengths)).index_add(0, owner, nll) / lengths

    def _scores(self, rows: "Rows", references: Tensor) -> BERTScore:
        symbols = [torch.tensor(rows.symbols[row]) for row in rows.candidates]
        candidates = collate_tokens(symbols, self._specials.pad).to(references.device)
        return self._bertscore.score_ids(candidates, references, [rows.sentence[row] for row in rows.candidates])


class Rows(NamedTuple):
    """Candidates and references of some sentences, each different one a row that is decoded once."""

    symbols: list[tuple[int, ...]]  # of each row, </s> included
    sentence: list[int]  # which each row belongs to
    candidates: list[int]  # rows, sentence by sentence, the first its most probable
    place: list[int]  # of each candidate among those of its sentence
    references: list[int]  # rows, one a sentence
    ends: list[int]  # how many tokens there are up to each row's end

    @classmethod
    def of(
        cls, drawn: Sequence[Sequence[Sequence[int]]], references: Tensor, pad: int, with_references: bool
    ) -> "Rows":
        """From the symbols of each sentence's candidates, the most probable first, </s> included.

        Args:
            references: (sentences, length), padded.
            pad: symbol.
            with_references: whether a reference is a candidate too, the last.
        """
        rows, candidates, place, own = {}, [], [], []
        for sentence, (found, reference) in enumerate(zip(drawn, references.tolist())):
            reference = (sentence, *(symbol for symbol in reference if symbol != pad))
            distinct = dict.fromkeys((sentence, *symbols) for symbols in found)
            if with_references:
                distinct[reference] = None
            candidates += [rows.setdefault(row, len(rows)) for row in distinct]
            place += range(len(distinct))
            own.append(rows.setdefault(reference, len(rows)))
        ends = list(itertools.accumulate(len(row) - 1 for row in rows))
        return cls([row[1:] for row in rows], [row[0] for row in rows], candidates, place, own, ends)

    def tokens(self, row: int) -> range:
        """Where a row's tokens stand among those of all rows."""
        return range(self.ends[row] - len(self.symbols[row]), self.ends[row])

    def shared_beginnings(self) -> tuple[Tensor, Tensor]:
        """What the candidates' symbols follow: beginnings of their sentence, each different one counted once.

        Returns:
            Where each beginning is first decoded, among the tokens of all rows, (beginnings,); and which beginning
            each candidate's each symbol follows, (candidates' tokens,).
        """
        known, first, of = {}, [], []
        for row in self.candidates:
            beginning = known.setdefault((None, self.sentence[row]), len(known))
            for token, symbol in zip(self.tokens(row), self.symbols[row]):
                if beginning == len(first):
                    first.append(token)
                of.append(beginning)
                if token + 1 < self.ends[row]:
                    beginning = known.setdefault((beginning, symbol), len(known))
        return torch.tensor(first), torch.tensor(of)

    def table(self, values: Tensor, filling: float) -> Tensor:
        """Values of the candidates (candidates,) in a row for each sentence, (sentences, most candidates)."""
        sentence = torch.tensor([self.sentence[row] for row in self.candidates]).to(values.device)
        place = torch.tensor(self.place).to(values.device)
        table = values.new_full((len(self.references), 1 + max(self.place)), filling)
        return table.index_put((sentence, place), values)


def _at_sentences(net_input: dict, chosen: Tensor) -> dict:
    """A model's arguments for some sentences of a batch."""
    sentences = len(net_input["prev_output_tokens"])
    return {
        name: part[chosen] if torch.is_tensor(part) and part.dim() and len(part) == sentences else part
        for name, part in net_input.items()
    }


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
