"""Figures that compare words by the rules of the target language: BLEU, chrF and TER by sacrebleu, lengths, health.

metrics = SurfaceMetrics(tokenizer, "zh")
corpus, sentence_bleu = metrics.score(translations, References.of(lines))
"""

import logging
from collections.abc import Iterable, Sequence

from sacrebleu.metrics import BLEU, CHRF, TER

from fairseq_bertloss.evaluation.health import health
from fairseq_bertloss.evaluation.hypotheses import Translations
from fairseq_bertloss.evaluation.pieces import are_pieces
from fairseq_bertloss.evaluation.references import References
from fairseq_bertloss.evaluation.target_language import BLEU_TOKENIZERS, bleu_tokenizer
from fairseq_bertloss.language_model.spaces import CONTINUES_WORD, loses_spaces
from fairseq_bertloss.language_model.tokenization import UNKNOWN_IN_REFERENCE, respaced, tokenize
from fairseq_bertloss.text import unspaced

logger = logging.getLogger(__name__)

LONGEST_WORDS = 5
"""Mean length in characters above which a text of such a language is not segmented into words."""


class SurfaceMetrics:
    """What sacrebleu says of translations into a language, and how long, varied and repetitive they are.

    For a language written without spaces BLEU takes sacrebleu's tokenizer of that language, TER its Asian support, and
    characters are counted in the place of words. Spaces beside ideographs and kana count nowhere then.

    Args:
        tokenizer: of the language model whose pieces fairseq-generate's output may be made of; other output is plain
            text.
        language: written without spaces; None: any other.
        lowercase: BLEU and chrF without regard to case.
        tokenized: BLEU as multi-bleu.perl has it (see `bleu_text`).
    """

    def __init__(self, tokenizer, language: str | None = None, *, lowercase: bool = False, tokenized: bool = False):
        self._tokenizer = tokenizer
        self._tokenized = tokenized
        self.by_character = language is not None
        name = "none" if tokenized else bleu_tokenizer(language)
        smoothing = "none" if tokenized else "exp"
        self.bleu = BLEU(lowercase=lowercase, smooth_method=smoothing, tokenize=name, force=tokenized)
        self._sentence_bleu = BLEU(lowercase=lowercase, effective_order=True, tokenize=name, force=tokenized)
        self._chrf = CHRF(lowercase=lowercase)
        self._ter = TER(normalized=self.by_character, asian_support=self.by_character)
        self._ter_apart = BLEU_TOKENIZERS.get(language) == "char"
        if self._ter_apart:  # tercom knows ideographs and kana alone
            self._ter.tokenizer_signature += "-char"

    @property
    def signatures(self) -> dict[str, str]:
        """What identifies each metric: sacrebleu's version and options. Known once something was scored."""
        metrics = {"BLEU": self.bleu, "chrF": self._chrf, "TER": self._ter}
        return {name: str(metric.get_signature()) for name, metric in metrics.items()}

    def score(self, system: Translations, references: References) -> tuple[dict[str, float], list[float]]:
        """Corpus figures by their names in results.METRICS, and each sentence's BLEU."""
        if self._tokenized and self.by_character and self._pieces(system) is None:
            _check_segmented(system)
        words, reference_words = self.bleu_text(system, references)
        bleu = self.bleu.corpus_score(words, reference_words.streams)
        pairs = zip(words, reference_words.by_sentence, strict=True)
        sentences = [self._sentence_bleu.sentence_score(line, own).score for line, own in pairs]
        text = self._lines(system.text)
        references = self._spaced_alike(references, system).mapped(self._lines)
        corpus = {
            "bleu": bleu.score,
            "chrf": self._chrf.corpus_score(text, references.streams).score,
            "ter": self._ter.corpus_score(self._ter_lines(text), references.mapped(self._ter_lines).streams).score,
            "length_ratio": _length_ratio(text, references) if self.by_character else bleu.ratio,
            **health(system.text, self.by_character),
        }
        return corpus, sentences

    def bleu_text(self, system: Translations, references: References) -> tuple[list[str], References]:
        """Translations and references as BLEU sees them.

        Plain text stands as it is, its references alike. Where fairseq-generate's output has characters of a script
        without spaces, its references have the spaces that their pieces have when they are joined, which are not the
        system's doing.

        With `tokenized` BLEU has words between spaces: fairseq-generate's output is split into the words of its
        language model's tokenizer, and so are its references; in a language without spaces into characters.
        """
        if not self._tokenized:
            return self._lines(system.text), self._spaced_alike(references, system).mapped(self._lines)
        pieces = self._pieces(system)
        if pieces is None:
            return system.text, references
        return self._words(pieces), references.mapped(self._words_read)

    def _pieces(self, system: Translations) -> list[list[str]] | None:
        """The hypotheses as pieces of the language model's; None where the text was not made of these."""
        if system.generated is None or not are_pieces(system.generated.hypotheses, self._tokenizer):
            return None
        return [line.split() for line in system.generated.hypotheses]

    def _spaced_alike(self, references: References, system: Translations) -> References:
        return references if self._pieces(system) is None else references.mapped(self._respaced)

    def _respaced(self, lines: Sequence[str]) -> list[str]:
        return [respaced(self._tokenizer, line) if unspaced.LETTER.search(line) else line for line in lines]

    def _lines(self, text: Sequence[str]) -> list[str]:
        return [unspaced.close_up(line) for line in text] if self.by_character else list(text)

    def _ter_lines(self, text: Sequence[str]) -> list[str]:
        return [unspaced.apart(line) for line in text] if self._ter_apart else list(text)

    def _words_read(self, references: Sequence[str]) -> list[str]:
        unknown = {self._tokenizer.unk_token: UNKNOWN_IN_REFERENCE}  # which is not to match a translation's
        read = ([unknown.get(piece, piece) for piece in line] for line in tokenize(self._tokenizer, references))
        return self._words(read)

    def _words(self, lines: Iterable[list[str]]) -> list[str]:
        """Pieces joined to words, from which punctuation stays apart where the tokenizer splits it off (WordPiece)."""
        if loses_spaces(self._tokenizer):
            joined = [" ".join(pieces).replace(f" {CONTINUES_WORD}", "") for pieces in lines]
        else:
            joined = [self._tokenizer.convert_tokens_to_string(pieces) for pieces in lines]
        return [unspaced.apart(line) for line in joined] if self.by_character else joined


def _check_segmented(system: Translations) -> None:
    """Warns of plain text that has no spaces between words."""
    if sum(len(line.split()) for line in system.text) * LONGEST_WORDS < _characters(system.text):
        logger.warning(
            f"{system.path}: --tokenized takes words as they stand, and these lines have no spaces between words: "
            "leave out --tokenized, or pass segmented text"
        )


def _length_ratio(text: Sequence[str], references: References) -> float:
    """Characters of the lines by those of the reference closest in length, the shorter of two, as BLEU's of words."""
    expected = 0
    for line, own in zip(text, references.by_sentence, strict=True):
        length = _characters([line])
        expected += min((_characters([reference]) for reference in own), key=lambda its: (abs(its - length), its))
    return _characters(text) / max(1, expected)


def _characters(text: Sequence[str]) -> int:
    return sum(len(unspaced.words(line)) for line in text)
