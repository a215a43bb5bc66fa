"""fairseq's --scoring bertscore_lm and --scoring moverscore: corpus figures of what fairseq-generate translates.

    fairseq-generate DIR --user-dir fairseq_bertloss --scoring bertscore_lm --bertscore-lm NAME ...
    fairseq-generate DIR --user-dir fairseq_bertloss --scoring moverscore --moverscore-lm NAME ...

Give fairseq-generate --required-batch-size-multiple 1 as well: with its default of 8 fairseq leaves out the last
sentences of a set, up to seven of them, without a message.
"""

import statistics
from dataclasses import dataclass, field
from typing import Optional  # what fairseq's argument parser understands; it fails on `str | None`

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.scoring import BaseScorer, register_scorer
from omegaconf import II

from fairseq_bertloss.evaluation.pieces import are_pieces, foreign_symbol
from fairseq_bertloss.evaluation.printed import joined
from fairseq_bertloss.evaluation.unjoined import marks_in
from fairseq_bertloss.language_model.tokenization import UNKNOWN, detokenize
from fairseq_bertloss.language_model.vocabulary import FAIRSEQS_UNKNOWN, FAIRSEQS_UNKNOWN_IN_REFERENCE, load_tokenizer
from fairseq_bertloss.one_line import in_one_line
from fairseq_bertloss.text.subwords import kind_of


@dataclass
class TextConfig(FairseqDataclass):
    """fairseq's own options that turn symbols into text. The scorers only read them."""

    tokenizer: Optional[str] = II("tokenizer")
    bpe: Optional[str] = II("bpe")
    post_process: Optional[str] = II("common_eval.post_process")


@dataclass
class BERTScoreScorerConfig(TextConfig):
    """Options of --scoring bertscore_lm."""

    bertscore_lm: Optional[str] = field(
        default=None, metadata={"help": "language model for F_BERT: hub name or folder (required)"}
    )
    bertscore_lm_layer: Optional[int] = field(
        default=None, metadata={"help": "layer whose embeddings are matched (default: bert-score's for a known name)"}
    )


@dataclass
class MoverScoreScorerConfig(TextConfig):
    """Options of --scoring moverscore."""

    moverscore_lm: Optional[str] = field(
        default=None, metadata={"help": "language model for MoverScore: hub name or folder (required)"}
    )
    moverscore_version: ChoiceEnum(["v2", "v1"]) = field(
        default="v2", metadata={"help": "v2: embeddings of the last layer; v1: of the last five, pooled"}
    )
    moverscore_idf: bool = field(
        default=False, metadata={"help": "weigh word pieces by their inverse document frequency in the set"}
    )


class LanguageModelScorer(BaseScorer):
    """Collects the translations and references that fairseq-generate hands over, and makes text of them.

    They are text already where --bpe, --tokenizer or --post-process made it so. Otherwise they are word pieces of the
    scoring language model or subwords whose marks cannot be mistaken.

    <unk> becomes the language model's own unknown token, on both sides: references that the dictionary cannot
    spell score otherwise than their raw text, which `bertloss score` reads.

    Args:
        cfg: the scorer's options.
        lm: hub name or folder of the scoring language model.
        option: the option that names it.

    Raises:
        ValueError: no language model is named, or its tokenizer cannot be loaded.
    """

    def __init__(self, cfg: TextConfig, lm: str | None, option: str):
        super().__init__(cfg)
        if not lm:
            raise ValueError(f"--scoring {cfg._name} needs the language model that scores: {option} NAME")
        self._lm = lm
        self._option = option
        self._tokenizer = load_tokenizer(lm)
        self._may_be_pieces = not (cfg.tokenizer or cfg.bpe or cfg.post_process)

    @in_one_line()
    def add_string(self, ref: str, pred: str) -> None:
        """Adds a reference and its translation.

        Raises:
            ValueError: the reference is made of subwords that are not the language model's, and nothing joined them.
        """
        if self._may_be_pieces:
            self._check_reference(ref)
        super().add_string(ref, pred)

    def _text(self) -> tuple[list[str], list[str]]:
        """The text of the translations and of the references."""
        lines = [*self.pred, *self.ref]
        if self._may_be_pieces and are_pieces(lines, self._tokenizer):
            lines = [detokenize(self._tokenizer, line.split()) for line in lines]
        else:
            lines = joined(f"--scoring {self.cfg._name}", lines) or lines
        text = list(map(_with_unknown, lines))
        return text[: len(self.pred)], text[len(self.pred) :]

    def _check_reference(self, line: str) -> None:
        foreign = foreign_symbol(line, self._tokenizer)
        if foreign is not None and marks_in([line], least=1) and kind_of(line.split(), least=1) is None:
            raise ValueError(
                f"a reference has {foreign!r}, which is no word piece of {self._option} {self._lm}: have the pieces "
                "joined to text by --tokenizer word_pieces --word-pieces-lm NAME, where NAME is the language "
                "model that the target side's pieces are of, or by the --bpe that undoes them"
            )


def _with_unknown(line: str) -> str:
    for unknown in (FAIRSEQS_UNKNOWN_IN_REFERENCE, FAIRSEQS_UNKNOWN):
        line = line.replace(unknown, UNKNOWN)
    return line


@register_scorer("bertscore_lm", dataclass=BERTScoreScorerConfig)
class BERTScoreLMScorer(LanguageModelScorer):
    """F_BERT of the set, in percent: the mean of bert-score's F over the sentences."""

    @in_one_line()
    def __init__(self, cfg: BERTScoreScorerConfig):
        super().__init__(cfg, cfg.bertscore_lm, "--bertscore-lm")
        from fairseq_bertloss.evaluation.f_bert import FBertScorer

        self._scorer = FBertScorer(cfg.bertscore_lm, cfg.bertscore_lm_layer)

    def score(self) -> float:
        """The corpus figure, in percent."""
        return 100 * statistics.fmean(self._scorer.score(*self._text()).f_bert)

    def result_string(self) -> str:
        """The figure with two digits, and bert-score's hash."""
        return f"F_BERT = {self.score():.2f} ({self._scorer.signature})"


@register_scorer("moverscore", dataclass=MoverScoreScorerConfig)
class MoverScoreScorer(LanguageModelScorer):
    """MoverScore of the set, in percent: the mean over its sentences."""

    @in_one_line()
    def __init__(self, cfg: MoverScoreScorerConfig):
        super().__init__(cfg, cfg.moverscore_lm, "--moverscore-lm")
        from fairseq_bertloss.evaluation.moverscore import MoverScorer

        self._scorer = MoverScorer(cfg.moverscore_lm, str(cfg.moverscore_version), cfg.moverscore_idf)

    def score(self) -> float:
        """The corpus figure, in percent."""
        return 100 * statistics.fmean(self._scorer.score(*self._text()))

    def result_string(self) -> str:
        """The figure with two digits, and its signature."""
        return f"MoverScore = {self.score():.2f} ({self._scorer.signature})"
