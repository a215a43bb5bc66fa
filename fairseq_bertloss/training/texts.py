"""Candidates, references and sources of a batch as text."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from fairseq_bertloss.training.detokenizer import Detokenizer
from fairseq_bertloss.training.raw_references import RawReferences
from fairseq_bertloss.training.reading import Reading
from fairseq_bertloss.training.unjoined_texts import warn_of_tokens, warn_of_unjoined


class Texts(NamedTuple):
    """What rewards read."""

    hypotheses: list[str]  # one a candidate
    references: list[str]  # one a sentence
    sources: list[str]  # one a sentence; none where nothing reads them
    sentence_of_candidate: Sequence[int]

    def by_candidate(self, texts: Sequence[str]) -> list[str]:
        """Of each candidate the text of its sentence."""
        return [texts[sentence] for sentence in self.sentence_of_candidate] if texts else []


class TextReader:
    """Makes text of a batch's symbols.

    Args:
        target: for candidates and references.
        source: for sources; None: nothing reads them.
        pad: symbol.
        raw: the references of the training set; None: those of symbols.
    """

    def __init__(self, target: Detokenizer, source: Detokenizer | None, pad: int, raw: RawReferences | None = None):
        self._target = target
        self._source = source
        self._pad = pad
        self._raw = raw
        self._checked = False

    def __call__(self, reading: Reading, sample: dict, chosen: Tensor, training: bool) -> Texts:
        """Texts of some of a batch's sentences.

        Args:
            reading: their candidates.
            sample: the batch.
            chosen: indices of the sentences.
            training: whether the batch is of the training set.
        """
        sides = reading.sides
        references = self.references(sample, training)
        hypotheses = [self._target(sides.distinct[side].symbols) for side in sides.candidates]
        sources = self._texts(self._source, sample["net_input"]["src_tokens"][chosen]) if self._source else []
        if not self._checked:
            self._checked = True
            self._check(hypotheses, references, sources)
        return Texts(
            hypotheses,
            [references[i] for i in chosen.tolist()],
            sources,
            sides.sentence_of_candidate,
        )

    def __str__(self) -> str:
        """How text is made."""
        return f"{self._target}, sources {self._source}"

    def references(self, sample: dict, training: bool) -> list[str]:
        """The references of all of a batch's sentences; arguments as for a call."""
        if training and self._raw:
            return self._raw(sample)
        return self._texts(self._target, sample["target"])

    def _check(self, hypotheses: list[str], references: list[str], sources: list[str]) -> None:
        warn_of_unjoined(hypotheses + references, str(self._target))
        warn_of_unjoined(sources, str(self._source), "sources")
        warn_of_tokens(hypotheses if self._raw else references, str(self._target))

    def _texts(self, detokenizer: Detokenizer, symbols: Tensor) -> list[str]:
        return [detokenizer([symbol for symbol in row if symbol != self._pad]) for row in symbols.tolist()]
