"""What an option may be, where it is one of a few names; importing it loads nothing."""


def check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises ValueError unless the value of an option is one of its choices."""
    if value not in choices:
        raise ValueError(f"unknown {option} {value!r}: choose one of {', '.join(choices)}")


SCORE_NAMES = ("precision", "recall", "f1")
"""Parts of BERTScore."""

MATCHING_NAMES = ("greedy", "one-to-one")
"""What an objective may be computed by."""

END_OF_SENTENCE = ("scored", "context", "gold")
"""What may stand at a sentence's </s>; BERTScoreLoss says what each means."""

DTYPE_NAMES = ("float32", "bfloat16", "float16")
"""Precisions of the language model."""

AUTO = "auto"
"""Of these, the one that the device is fast in: bfloat16 or float32."""

SOFT_PREDICTIONS = ("softmax", "sparsemax", "entmax15", "gumbel_softmax")
"""Kinds of soft predictions."""

SCALES = ("none", "min-max", "std")
"""How the rewards of a sentence's candidates are brought to one scale."""

UNFINISHED = ("scored", "left-out", "lowest")
"""How candidates are treated that were cut at their longest length: scored as if they had ended there, left out, or
given the lowest reward of their sentence."""

CANDIDATES_AS = ("pieces", "text")
"""How BERTScore reads candidates: their symbols, which are the language model's pieces, or their text."""

SYMBOLS_AS = ("pieces", "spelling")
"""How soft predictions read the symbols: as the language model's pieces, or as the mean of the pieces that spell
each."""
