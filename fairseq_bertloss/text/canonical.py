"""One form for texts that Unicode holds to be the same."""

import unicodedata


def composed(text: str) -> str:
    """The text in Unicode's form NFC, in which canonically equivalent texts are equal: u and U+0308 are ü.

    Other likenesses stay: ﬁ is not fi, and １ is not 1.
    """
    return unicodedata.normalize("NFC", text)
