"""Which sentences of a batch are scored."""

import logging

import torch
from torch import Tensor

from fairseq_bertloss.training.texts import TextReader

logger = logging.getLogger(__name__)


class Fitting:
    """Chooses the sentences of a batch that can be scored, and says once why others cannot.

    Args:
        pad: symbol.
        longest: the longest target in symbols, </s> included, that the language model has positions for; None: any.
        texts: makes the references' text, which may not be empty; None: there is no need of it.
    """

    def __init__(self, pad: int, longest: int | None, texts: TextReader | None):
        self._pad = pad
        self._longest = longest
        self._texts = texts
        self._said: set[str] = set()

    def __call__(self, sample: dict, training: bool) -> Tensor:
        """Indices of the sentences.

        Args:
            sample: a batch of the translation task.
            training: whether it is of the training set.
        """
        fits = self._short_enough(sample["target"]) & self._with_text(sample, training)
        return fits.nonzero().squeeze(1)

    def _short_enough(self, target: Tensor) -> Tensor:
        lengths = target.ne(self._pad).sum(dim=1)
        if self._longest is None:
            return lengths >= 0
        self._say_of(
            lengths > self._longest,
            f"targets of more than {self._longest} symbols, which the language model has no positions for",
        )
        return lengths <= self._longest

    def _with_text(self, sample: dict, training: bool) -> Tensor:
        target = sample["target"]
        if self._texts is None:
            return torch.ones(len(target), dtype=torch.bool, device=target.device)
        empty = [not text.strip() for text in self._texts.references(sample, training)]
        without_text = torch.tensor(empty, device=target.device)
        self._say_of(without_text, "references that have no text")
        return ~without_text

    def _say_of(self, left_out: Tensor, what: str) -> None:
        if what not in self._said and left_out.any():
            self._said.add(what)
            logger.warning("skipping %s; 'skipped' in the log counts them (said once)", what)
