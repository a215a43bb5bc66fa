"""The language of translations, and what BLEU takes for words where it is written without spaces.

language = unspaced_language(None, translations, references)
bleu = BLEU(tokenize=bleu_tokenizer(language))
"""

import logging
from collections.abc import Sequence

import langcodes
from sacrebleu.metrics import BLEU
from sacrebleu.tokenizers.tokenizer_zh import TokenizerZh

from fairseq_bertloss.evaluation.hypotheses import Translations
from fairseq_bertloss.text import unspaced
from fairseq_bertloss.text.languages import language_of

logger = logging.getLogger(__name__)

BLEU_TOKENIZERS = (
    dict.fromkeys(("zh", "yue", "wuu", "gan", "hsn", "cjy", "lzh"), "zh")
    | {"ja": "ja-mecab"}
    | dict.fromkeys(("dz", "ksw", "mnw", "shn", "tts", *unspaced.OTHER_SCRIPTS), "char")
)
"""sacrebleu's tokenizer for each language that is written without spaces; 13a for any other."""

EITHER_WAY = ("nan", "hak", "cdo")
"""Chinese languages that are written in ideographs or in Latin letters."""


def unspaced_language(code: str | None, systems: Sequence[Translations], references: Sequence[str]) -> str | None:
    """The target language, if it is written without spaces; None for any other.

    Args:
        code: what the user says; None: what fairseq-generate printed, or else the script of the references.
        systems: translations.
        references: of the same test set.

    Raises:
        ValueError: no language has this code.
    """
    if code is not None:
        language = checked_language(code)
        if language not in EITHER_WAY:
            return language if _is_unspaced(code) else None
    if not any(map(unspaced.LETTER.search, references)):
        return None
    printed = [system.generated.language for system in systems if system.generated and system.generated.language]
    told = next((language_of(name) for name in printed if _is_unspaced(name)), None)
    return told or unspaced.language_of_text(references)


def checked_language(code: str) -> str:
    """The language of a code that the user gave.

    Raises:
        ValueError: there is none.
    """
    language = language_of(code)
    if language is None:
        raise ValueError(f"--target-lang {code}: no language has this code; give one such as zh, ja, th or en")
    return language


def _is_unspaced(code: str) -> bool:
    return language_of(code) in BLEU_TOKENIZERS and langcodes.get(code).script != "Latn"


def bleu_tokenizer(language: str | None) -> str:
    """sacrebleu's name for the tokenizer of a language that is written without spaces, or of any other (None)."""
    name = BLEU_TOKENIZERS.get(language, BLEU.TOKENIZER_DEFAULT)
    try:
        BLEU(tokenize=name)
    except RuntimeError:  # sacrebleu's word for MeCab or its dictionary not being there
        logger.warning(
            "BLEU takes characters for Japanese words (tok:char), without MeCab: pip install 'sacrebleu[ja]'"
        )
        return "char"
    return name


def words_apart(text: str) -> str:
    """Text of any language whose words are found at spaces: what stands without them is apart as BLEU's `zh` has it.

    For fairseq's validation by BLEU, which knows the tokenizer 13a alone, and not the language.
    """
    return TokenizerZh()(unspaced.apart(text)) if unspaced.LETTER.search(text) else text
