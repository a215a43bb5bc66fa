"""Figures of a system's translations: BLEU, chrF and TER by sacrebleu, BERTScore by bert-score, MoverScore, and health.

    evaluator = Evaluator("bert-base-uncased", lowercase=True)
    references = read_references("test.en", evaluator.tokenizer)
    runs = evaluator.score([read_translations("test.out", evaluator.tokenizer)], references)
"""

import statistics
from collections.abc import Iterator, Sequence

from fairseq_bertloss.evaluation.f_bert import BERTScores, FBertScorer
from fairseq_bertloss.evaluation.health import health
from fairseq_bertloss.evaluation.hypotheses import Translations
from fairseq_bertloss.evaluation.results import Run
from fairseq_bertloss.vocabulary import UNKNOWN_IN_REFERENCE, load_tokenizer, loses_spaces, tokenize


class Evaluator:
    """Scores translations by every metric of `bertloss`.

    Args:
        lm: hub name or folder of the language model for BERTScore.
        layer: its scoring layer; None: bert-score's choice for a known name.
        lowercase: BLEU and chrF without regard to case, for uncased language models, whose pieces have none.
        tokenized: BLEU as multi-bleu.perl has it: words as they stand, no smoothing (see `bleu_text`).
        moverscore_lm: language model for MoverScore; None: `lm`.
        moverscore_version: "v2" or "v1", see MoverScorer.
        moverscore_idf: idf weights in MoverScore.
        word_pieces_lm: the language model whose pieces fairseq-generate's output is made of; None: `lm`.

    Raises:
        ValueError: a language model cannot be loaded, or has no such layer or no room for a sentence.
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
    ):
        from sacrebleu.metrics import BLEU, CHRF, TER

        from fairseq_bertloss.evaluation.moverscore import MoverScorer

        self.tokenizer = load_tokenizer(word_pieces_lm or lm)
        self.tokenized = tokenized
        words = {"tokenize": "none", "force": True} if tokenized else {}
        self.bleu = BLEU(lowercase=lowercase, smooth_method="none" if tokenized else "exp", **words)
        self._sentence_bleu = BLEU(lowercase=lowercase, effective_order=True, **words)
        self._chrf = CHRF(lowercase=lowercase)
        self._ter = TER()
        self._moverscore = MoverScorer(moverscore_lm or lm, moverscore_version, moverscore_idf)
        self._bertscore = FBertScorer(lm, layer)
        self.lm, self.layer = lm, self._bertscore.layer

    def score(self, systems: Sequence[Translations], references: list[str]) -> list[Run]:
        """Scores translations of one test set, all systems together, so that what they share is encoded once.

        Args:
            systems: each with as many sentences as the references (hypotheses.check_belongs).
            references: one a sentence. An empty translation or reference scores 0.

        Raises:
            ValueError: a score is not finite.
        """
        bertscores = self._bertscores([system.text for system in systems], references)
        moverscores = self._moverscores([system.text for system in systems], references)
        return [
            self._run(system, references, bertscore, moverscore)
            for system, bertscore, moverscore in zip(systems, bertscores, moverscores)
        ]

    @property
    def signatures(self) -> dict[str, str]:
        """What identifies each metric: its package's version and options. Known once something was scored."""
        return {
            "BLEU": str(self.bleu.get_signature()),
            "chrF": str(self._chrf.get_signature()),
            "TER": str(self._ter.get_signature()),
            "F_BERT": self._bertscore.signature,
            "MoverScore": self._moverscore.signature,
        }

    def bleu_text(self, system: Translations, references: Sequence[str]) -> tuple[list[str], list[str]]:
        """Translations and references as BLEU sees them.

        With `tokenized` these are words between spaces. Plain text stands as it is, its references alike.
        fairseq-generate's output is split into the words of its language model's tokenizer, and so are its references.
        """
        if not self.tokenized or system.generated is None:
            return system.text, list(references)
        translations = [_words(self.tokenizer, line.split()) for line in system.generated.hypotheses]
        unknown = {self.tokenizer.unk_token: UNKNOWN_IN_REFERENCE}  # which is not to match a translation's
        pieces = ([unknown.get(piece, piece) for piece in line] for line in tokenize(self.tokenizer, references))
        return translations, [_words(self.tokenizer, line) for line in pieces]

    def _run(
        self, system: Translations, references: Sequence[str], bertscore: BERTScores, moverscore: list[float]
    ) -> Run:
        words, reference_words = self.bleu_text(system, references)
        bleu = self.bleu.corpus_score(words, [reference_words])
        sentence_bleu = [self._sentence_bleu.sentence_score(*pair).score for pair in _with_lists(words, reference_words)]
        corpus = {
            "bleu": bleu.score,
            "f_bert": statistics.fmean(bertscore.f_bert),
            "moverscore": statistics.fmean(moverscore),
            "chrf": self._chrf.corpus_score(system.text, [references]).score,
            "ter": self._ter.corpus_score(system.text, [references]).score,
            "p_bert": statistics.fmean(bertscore.p_bert),
            "r_bert": statistics.fmean(bertscore.r_bert),
            "length_ratio": bleu.ratio,
            **health(system.text),
        }
        sentences = {"bleu": sentence_bleu, "f_bert": bertscore.f_bert, "moverscore": moverscore}
        return Run(system.path, system.text, corpus, sentences)

    def _bertscores(self, texts: Sequence[list[str]], references: list[str]) -> list[BERTScores]:
        """BERTScore of every sentence of every system, in percent."""
        scores = self._bertscore.score([line for text in texts for line in text], references * len(texts))
        size = len(references)
        parts = [slice(i * size, (i + 1) * size) for i in range(len(texts))]
        return [BERTScores(*([100 * value for value in values[part]] for values in scores)) for part in parts]

    def _moverscores(self, texts: Sequence[list[str]], references: list[str]) -> list[list[float]]:
        """MoverScore of every sentence of every system, in percent."""
        return [[100 * score for score in scores] for scores in self._moverscore.score_systems(texts, references)]


def _words(tokenizer, pieces: list[str]) -> str:
    """Pieces joined to words, from which punctuation stays apart where the tokenizer splits it off (WordPiece)."""
    if loses_spaces(tokenizer):
        return " ".join(pieces).replace(" ##", "")
    return tokenizer.convert_tokens_to_string(pieces)


def _with_lists(words: Sequence[str], references: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    return ((line, [reference]) for line, reference in zip(words, references))
