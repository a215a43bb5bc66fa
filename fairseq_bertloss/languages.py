"""Which language a code means: ISO 639 and BCP 47, and how fairseq's models spell them.

    language_of("zh_CN") == language_of("zh-Hans") == language_of("zho_Hans") == "zh"
"""

import langcodes


def language_of(code: str) -> str | None:
    """The shortest ISO 639 code of a language, two letters where there are two.

    Args:
        code: of a language, with or without script and region: de, ger, deu, de_DE (mBART), deu_Latn (FLORES), pt-BR.

    Returns:
        The code in lower case; None if there is no such language.
    """
    try:
        language = langcodes.get(code)
    except ValueError:  # also what it raises of a code that is no code
        return None
    return language.prefer_macrolanguage().language if language.is_valid() else None
