"""How `bertloss prepare` prepares a corpus. Nothing heavy is imported: the command reads its defaults here."""

import re
from dataclasses import dataclass

from fairseq_bertloss.corpus.raw import check_languages


@dataclass(frozen=True)
class Settings:
    """What the files of a prepared folder depend on, besides the inputs.

    Args:
        source_lang, target_lang: codes of the languages, in any spelling; they end the names of fairseq's files.
        lm: hub name or folder of the language model whose pieces the target is made of.
        lowercase: lower-case the source; the language model decides for the target.
        merges: number of BPE merges to learn on the source.
        max_length: most source words, and most target pieces, that a training pair may have.
        max_ratio: how many times as many words as pieces, or the reverse, a training pair may have; None for any
            number. It is 1.5 in fairseq's recipe for IWSLT 2014, counted as by Moses' clean-corpus-n.perl.
        observed_vocabulary: limit the target dictionary to the pieces seen in training.

    Raises:
        ValueError: a language code has characters that fairseq's file names do not allow, both codes are the same, or
            a size or ratio is below 1.
    """

    source_lang: str
    target_lang: str
    lm: str
    lowercase: bool = False
    merges: int = 32000
    max_length: int = 175
    max_ratio: float | None = None
    observed_vocabulary: bool = False

    def __post_init__(self):
        for language in (self.source_lang, self.target_lang):
            if not re.fullmatch(r"\w+", language):
                raise ValueError(f"language code {language!r}: fairseq's file names allow letters, digits and _ only")
        check_languages(self.source_lang, self.target_lang)
        for name in ("merges", "max_length", "max_ratio"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be at least 1, not {value}")
