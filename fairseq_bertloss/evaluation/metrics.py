"""Figures of a system's translations: BLEU, chrF and TER by sacrebleu, BERTScore by bert-score, MoverScore, and health.

evaluator = Evaluator("bert-base-uncased", lowercase=True)
references = read_references("test.en", evaluator.tokenizer)
runs = evaluator.score([read_translations("test.out", evaluator.tokenizer)], references).runs

With several references a sentence, BLEU, chrF and TER are what sacrebleu makes of them. Precision, recall and F_BERT
are each the best over them, as bert-score has it. MoverScore is the mean.
"""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from fairseq_bertloss.evaluation.f_bert import BERTScores, FBertScorer
from fairseq_bertloss.evaluation.hypotheses import Translations
from fairseq_bertloss.evaluation.references import References
from fairseq_bertloss.evaluation.results import METRICS, Run
from fairseq_bertloss.evaluation.surface import SurfaceMetrics
from fairseq_bertloss.evaluation.target_language import checked_language, unspaced_language
from fairseq_bertloss.language_model.vocabulary import load_tokenizer
from fairseq_bertloss.progress import progress


class Evaluation(NamedTuple):
    """What an Evaluator found: the figures of each output, and what identifies each metric.

    signatures has each metric's package version and options. surface has the metrics that compare words, in the way of
    the target language.
    """

    runs: list[Run]
    signatures: dict[str, str]
    surface: SurfaceMetrics


class Evaluator:
    """Scores translations by every metric of `bertloss`.

    Args:
        lm: hub name or folder of the language model for BERTScore.
        layer: its scoring layer; None: bert-score's choice for a known name.
        lowercase: BLEU and chrF without regard to case, for uncased language models, whose pieces have none.
        tokenized: BLEU as multi-bleu.perl has it: words as they stand, no smoothing (see SurfaceMetrics.bleu_text).
        moverscore_lm: language model for MoverScore; None: `lm`.
        moverscore_version: "v2" or "v1", see MoverScorer.
        moverscore_idf: idf weights in MoverScore.
        word_pieces_lm: the language model whose pieces fairseq-generate's output is made of; None: `lm`.
        target_lang: code of the translations' language; None: what fairseq-generate printed or the references' script
            says.
        device: of the language models; None: a GPU if there is one.
        batch_size: sentences that a language model reads at once; None: as many as suit the metric and the device.

    Raises:
        ValueError: no language has this code; a language model cannot be loaded, or has no such layer or no room for a
            sentence.
    """

    def __init__(
        self,
        lm: str,
        layer: int | None = None,
        *,
        lowercase: bool = False,
        tokenized: bool = False,
        moverscore_lm: str | None = None,
        moverscore_version: str = "v2",
        moverscore_idf: bool = False,
        word_pieces_lm: str | None = None,
        target_lang: str | None = None,
        device: str | None = None,
        batch_size: int | None = None,
    ):
        from fairseq_bertloss.evaluation.moverscore import MoverScorer

        if target_lang is not None:
            checked_language(target_lang)
        self.tokenizer = load_tokenizer(word_pieces_lm or lm)
        self._target_lang = target_lang
        self._surface_options = {"lowercase": lowercase, "tokenized": tokenized}
        self._moverscore = MoverScorer(moverscore_lm or lm, moverscore_version, moverscore_idf, device, batch_size)
        self._bertscore = FBertScorer(lm, layer, device, batch_size)
        self.lm = lm
        self.layer = self._bertscore.layer

    def score(self, systems: Sequence[Translations], references: Sequence[str], *more: Sequence[str]) -> Evaluation:
        """Scores translations of one test set, all systems together, so that what they share is encoded once.

        Args:
            systems: each with as many sentences as the references (same_test_set.check_belongs).
            references: one a sentence. An empty translation or reference scores 0.
            more: further references; a blank one is none (References.of).

        Raises:
            ValueError: a score is not finite, or references are not of as many sentences.
        """
        expected = References.of(references, *more)
        language = unspaced_language(self._target_lang, systems, expected.lines)
        surface = SurfaceMetrics(self.tokenizer, language, **self._surface_options)
        bertscores = self._bertscores([system.text for system in systems], expected)
        moverscores = self._moverscores([system.text for system in systems], expected)
        surfaces = [
            surface.score(system, expected) for system in progress(systems, "BLEU, chrF and TER", unit=" outputs")
        ]
        runs = list(map(_run, systems, surfaces, bertscores, moverscores))
        return Evaluation(runs, surface.signatures | self._signatures(expected), surface)

    def _signatures(self, references: References) -> dict[str, str]:
        number = "" if references.number == 1 else f"|nrefs:{references.number}"
        return {"F_BERT": self._bertscore.signature + number, "MoverScore": self._moverscore.signature + number}

    def _bertscores(self, texts: Sequence[list[str]], references: References) -> list[BERTScores]:
        """BERTScore of every sentence of every system, in percent."""
        hypotheses = [line for text in texts for line in references.repeated(text)]
        scores = self._bertscore.score(hypotheses, references.lines * len(texts))
        size = len(references.lines)
        parts = [slice(i * size, (i + 1) * size) for i in range(len(texts))]
        return [
            BERTScores(*([100 * max(own) for own in references.grouped(values[part])] for values in scores))
            for part in parts
        ]

    def _moverscores(self, texts: Sequence[list[str]], references: References) -> list[list[float]]:
        """MoverScore of every sentence of every system, in percent."""
        return [[100 * score for score in scores] for scores in self._moverscore.score_systems(texts, references)]


def _run(
    system: Translations, surface: tuple[dict[str, float], list[float]], bertscore: BERTScores, moverscore: list[float]
) -> Run:
    """The figures of one output, put together from all metrics."""
    corpus, sentence_bleu = surface
    corpus |= {
        "f_bert": statistics.fmean(bertscore.f_bert),
        "moverscore": statistics.fmean(moverscore),
        "p_bert": statistics.fmean(bertscore.p_bert),
        "r_bert": statistics.fmean(bertscore.r_bert),
    }
    sentences = {"bleu": sentence_bleu, "f_bert": bertscore.f_bert, "moverscore": moverscore}
    return Run(system.path, system.text, {name: corpus[name] for name in METRICS}, sentences)
