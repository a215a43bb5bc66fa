"""--reward: the names of rewards and how much each counts."""

import re

BERTSCORE = "bertscore"
MOVERSCORE = "moverscore"
BUILT_IN = (BERTSCORE, "chrf", "bleu", MOVERSCORE)
"""The rewards that need no function of the user's."""

ITEM = re.compile(rf"((?:{'|'.join(BUILT_IN)})|[\w.]+:[A-Za-z_]\w*)(?::([^:,]+))?")
"""A reward, perhaps with its weight."""


def reward_weights(text: str) -> dict[str, float]:
    """Reads `bertscore`, `bertscore:1,chrf:0.5` or `my_module:my_function:2,chrf`; a weight that is not given is 1.

    Raises:
        ValueError: something else, a weight that is not positive, or one reward twice.
    """
    weights: dict[str, float] = {}
    for item in text.split(","):
        match = ITEM.fullmatch(item.strip())
        if match is None:
            raise ValueError(
                f"--reward {text}: cannot read {item.strip()!r}: take one of {', '.join(BUILT_IN)}, or "
                "MODULE:FUNCTION, each perhaps with :WEIGHT after it, several with commas between them"
            )
        name, weight = match[1], match[2] or "1"
        if label(name) in map(label, weights):
            raise ValueError(f"--reward {text}: {label(name)} comes twice")
        weights[name] = _positive(text, weight)
    return weights


def label(name: str) -> str:
    """What a reward is called in the log: a user's function by its name, without its module.

    With its module where a built-in reward has that name.
    """
    function = name.rpartition(":")[2]
    return name if function in BUILT_IN else function


def _positive(text: str, weight: str) -> float:
    try:
        value = float(weight)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ValueError(f"--reward {text}: a weight must be a positive number, not {weight!r}")
    return value
