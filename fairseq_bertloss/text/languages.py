"""Which language a code means: ISO 639 and BCP 47, and how fairseq's models spell them.

language_of("zh_CN") == language_of("zh-Hans") == language_of("zho_Hans") == "zh"
"""

import functools
from collections.abc import Iterable

import langcodes

NO_REGION = "_XX"
"""How mBART writes that a code is of no region: en_XX."""

NEAR = 10
"""The largest distance, as langcodes counts it, that readers do not mind; zh-Hans and zh-Hant are further apart."""


NO_LANGUAGES = frozenset(("art", "mis", "mul", "und", "zxx"))
"""Codes of ISO 639 for what is artificial, without a code, in several languages, unknown, or no language."""


@functools.cache
def language_of(code: str) -> str | None:
    """The shortest ISO 639 code of a language, two letters where there are two.

    Args:
        code: of a language, with or without script and region: de, ger, deu, de_DE (mBART), deu_Latn (FLORES), pt-BR.

    Returns:
        The code in lower case; None if there is no such language: codes that are free for private use mean none.
    """
    try:
        language = langcodes.get(code)
    except ValueError:  # also what it raises of a code that is no code
        return None
    if not language.is_valid() or language.language in NO_LANGUAGES or "qaa" <= str(language.language) <= "qtz":
        return None
    return language.prefer_macrolanguage().language


def script_of(code: str) -> str | None:
    """The ISO 15924 code of the script that a language is written in, such as Latn: the code's, or else the usual one.

    Args:
        code: as language_of's.

    Returns:
        The script's code; None if there is no such language.
    """
    return langcodes.get(code).maximize().script if language_of(code) else None


def closest(code: str, others: Iterable[str]) -> str | None:
    """The one of several codes that is closest to a code: the same language, in a script and of a region near enough.

    Args:
        code: as language_of's.
        others: codes to choose from, in BCP 47's spelling.

    Returns:
        One of the others, the code itself where it is among them; None if none is close.
    """
    others = list(others)
    if code in others:
        return code
    candidates = [other for other in others if language_of(code) and language_of(other) == language_of(code)]
    match, _ = langcodes.closest_match(code.removesuffix(NO_REGION), candidates, max_distance=NEAR)
    return match if match in candidates else None
