"""Who judges the translations of benchmarks/effect.py: the language model that trains, and two that train nothing."""

import functools
import itertools
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from fairseq_bertloss.evaluation.f_bert import FBertScorer
from fairseq_bertloss.evaluation.hypotheses import Translations, read_references, read_translations
from fairseq_bertloss.evaluation.metrics import Evaluator
from fairseq_bertloss.evaluation.moverscore import MoverScorer
from fairseq_bertloss.forced_decoding import entropy, forced_log_probabilities, load_model

LAYER = 5
"""The layer of the language model that trains."""

E5_LAYER = 9
MPNET_LAYER = 8
"""Both are bert-score's choices, for xlm-roberta-base and mpnet-base, which are of the same family and as deep."""

SENTENCES = ("f_bert", "f_bert_e5")
"""The scores that are kept for each sentence too,"""
DIGITS = 2
"""with so many digits after the point."""


class Judgement(NamedTuple):
    """Scores of a whole set, of its sentences in order, and of its parts where it has several.

    A set of several parts is scored by the mean over these.
    """

    scores: dict[str, float]
    sentences: dict[str, list[float]]
    parts: dict[str, dict[str, float]] = {}


@dataclass(frozen=True)
class Judges:
    """The language models; each is loaded once, when it is needed.

    Args:
        lm: folder of the one that trains.
        e5: folder of e5-small-en-es-tr.
        mpnet: folder of all-mpnet-base-v2; None: without its scores.
    """

    lm: str
    e5: Path
    mpnet: Path | None = None

    def check(self) -> None:
        """Raises:
        ValueError: a folder is not there.
        """
        if not self.e5.is_dir():
            raise ValueError(f"there is no folder {self.e5}: name it by --e5, or do without scores by --no-scores")
        if self.mpnet and not self.mpnet.is_dir():
            raise ValueError(f"there is no folder {self.mpnet}, which --mpnet names")

    def have_judged(self, known: Judgement) -> bool:
        """Whether nothing is left to score."""
        by_mpnet = {"f_bert_mpnet", "moverscore_mpnet"} if self.mpnet else set()
        return {"f_bert", "f_bert_e5"} | by_mpnet <= known.scores.keys()

    def judge(self, reference: Path, translated: Path, known: Judgement, sizes: dict[str, int]) -> Judgement:
        """Scores what fairseq-generate printed.

        Args:
            reference: file of the references as text.
            translated: file of the translations.
            known: their scores by some of the judges, which are not asked again where the set has one part.
            sizes: the number of lines of each part, in order.

        Raises:
            ValueError: a language model cannot be loaded, or the files do not belong together.
        """
        evaluator = self._evaluator
        references = read_references(str(reference), evaluator.tokenizer)
        translations = read_translations(str(translated), evaluator.tokenizer)
        if len(sizes) == 1:
            return self._judge(translations, references, known)
        parts = {}
        ends = itertools.accumulate(sizes.values())
        for (name, size), end in zip(sizes.items(), ends, strict=True):
            lines = slice(end - size, end)
            own = translations._replace(text=translations.text[lines], generated=None)
            parts[name] = self._judge(own, references[lines], Judgement({}, {}))
        judgements = list(parts.values())
        scores = {name: statistics.fmean(own.scores[name] for own in judgements) for name in judgements[0].scores}
        sentences = {name: [score for own in judgements for score in own.sentences[name]] for name in SENTENCES}
        return Judgement(scores, sentences, {name: own.scores for name, own in parts.items()})

    def _judge(self, translations: Translations, references: list[str], known: Judgement) -> Judgement:
        """The scores of one part."""
        scores = dict(known.scores)
        sentences = dict(known.sentences)
        if "f_bert" not in scores:
            (run,) = self._evaluator.score([translations], references).runs
            scores |= run.corpus
            sentences["f_bert"] = _rounded(run.sentences["f_bert"])
        for name, scorer in self._others.items():
            if name not in scores:
                scored = scorer.score(translations.text, references)
                own = [100 * score for score in getattr(scored, "f_bert", scored)]
                scores[name] = statistics.fmean(own)
                if name in SENTENCES:
                    sentences[name] = _rounded(own)
        return Judgement(scores, sentences)

    @functools.cached_property
    def _evaluator(self) -> Evaluator:
        return Evaluator(self.lm, LAYER, lowercase=True, moverscore_lm=str(self.e5))

    @functools.cached_property
    def _others(self) -> dict[str, FBertScorer | MoverScorer]:
        scorers = {"f_bert_e5": FBertScorer(str(self.e5), E5_LAYER)}
        if self.mpnet:
            mpnet = str(self.mpnet)
            scorers |= {"f_bert_mpnet": FBertScorer(mpnet, MPNET_LAYER), "moverscore_mpnet": MoverScorer(mpnet)}
        return scorers


def forced(checkpoint: Path, data: Path, subset: str) -> dict[str, float]:
    """Means over the references' symbols in teacher forcing.

    Entropy and cross-entropy are in nats; of </s> it is the probability where the reference ends, and elsewhere.
    """
    model, task = load_model(str(checkpoint), str(data))
    task.load_dataset(subset)
    samples = list(task.dataset(subset))
    eos = task.target_dictionary.eos()
    columns = []
    for _, target, lprobs in forced_log_probabilities(model, task, subset, samples, max_tokens=2048):
        nll = -lprobs.gather(1, target.unsqueeze(1)).squeeze(1)
        columns.append(torch.stack([nll, entropy(lprobs), lprobs[:, eos].exp(), (target == eos).float()]))
    nll, entropies, p_eos, end = torch.cat(columns, dim=1)
    means = {"nll": nll, "entropy": entropies, "p_eos_end": p_eos[end == 1], "p_eos_before": p_eos[end == 0]}
    return {name: values.mean().item() for name, values in means.items()}


def beam_score(generated: Path) -> float:
    """Mean of the scores that beam search gave its best translations, in bits a symbol where lenpen is 1."""
    scores = [
        line.split("\t")[1] for line in generated.read_text(encoding="utf-8").splitlines() if line.startswith("H-")
    ]
    return sum(map(float, scores)) / len(scores)


def _rounded(scores: list[float]) -> list[float]:
    return [round(score, DIGITS) for score in scores]
