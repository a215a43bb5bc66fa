"""Rewards that are functions of text: (hypotheses, references, sources) -> scores, one a hypothesis."""

import functools
import importlib
from collections.abc import Callable, Sequence

import torch
from sacrebleu.metrics import BLEU, CHRF
from torch import Tensor

from fairseq_bertloss.evaluation.moverscore import MoverScorer
from fairseq_bertloss.evaluation.target_language import bleu_tokenizer
from fairseq_bertloss.text.languages import language_of
from fairseq_bertloss.training.texts import Texts

RewardFunction = Callable[[list[str], list[str], list[str]], Sequence[float] | Tensor]


def chrf() -> RewardFunction:
    """sacrebleu's chrF of each sentence, from 0 to 1."""
    return _sentence_scores(CHRF())


def bleu(language: str | None) -> RewardFunction:
    """sacrebleu's BLEU of each sentence, from 0 to 1, of words as its language has them."""
    code = None if language is None else language_of(language)
    return _sentence_scores(BLEU(effective_order=True, tokenize=bleu_tokenizer(code)))


def moverscore(lm: str, device: str | None) -> RewardFunction:
    """MoverScore v2 by a language model, which is loaded when the first candidates are scored."""
    scorer = functools.cache(lambda: MoverScorer(lm, device=device))
    return lambda hypotheses, references, sources: scorer().score(hypotheses, references)


def users_function(name: str) -> RewardFunction:
    """The function that MODULE:FUNCTION names.

    Raises:
        ValueError: there is none, or the module cannot be imported.
    """
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as error:  # a module may raise anything
        raise ValueError(f"--reward {name}: {_in_one_line(error)}; is the module's folder in PYTHONPATH?") from error
    if not callable(found):
        raise ValueError(f"--reward {name} is no function")
    return found


def scores_of(name: str, function: RewardFunction, texts: Texts) -> Tensor:
    """What a function says of candidates, (candidates,) in float32 on the CPU.

    Raises:
        ValueError: it fails, or returns something else than a finite number for each candidate.
        torch.OutOfMemoryError: the function does.
    """
    hypotheses = texts.hypotheses
    references = texts.by_candidate(texts.references)
    sources = texts.by_candidate(texts.sources)
    try:
        with torch.no_grad():
            scores = torch.as_tensor(function(hypotheses, references, sources), dtype=torch.float32).cpu()
    except torch.OutOfMemoryError:  # fairseq leaves out a batch that does not fit
        raise
    except Exception as error:  # a user's function may raise anything
        raise ValueError(f"--reward {name}: {_in_one_line(error)}") from error
    if scores.shape != (len(hypotheses),):
        raise ValueError(f"--reward {name}: {tuple(scores.shape)} scores of {len(hypotheses)} candidates")
    if not scores.isfinite().all():
        place = int(scores.isfinite().logical_not().nonzero()[0])
        raise ValueError(f"--reward {name} is {scores[place].item()} for the candidate {hypotheses[place]!r}")
    return scores


def _in_one_line(error: Exception) -> str:
    return ": ".join([type(error).__name__, *str(error).splitlines()[:1]])


def _sentence_scores(metric: BLEU | CHRF) -> RewardFunction:
    def scores(hypotheses: list[str], references: list[str], sources: list[str]) -> list[float]:
        pairs = zip(hypotheses, references, strict=True)
        return [metric.sentence_score(hypothesis, [reference]).score / 100 for hypothesis, reference in pairs]

    return scores
