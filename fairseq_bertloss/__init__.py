"""BERTScore as the training objective of fairseq translation models.

fairseq-train DIR --user-dir fairseq_bertloss --criterion bertscore_loss --bert-model NAME ...

from fairseq_bertloss import BERTScoreLoss, TextReward, minimum_risk
"""

import importlib
import sys

__version__ = "0.1.0"

__all__ = ["BERTScoreLoss", "TextReward", "minimum_risk", "register"]

PLACES = {
    "BERTScoreLoss": "fairseq_bertloss.loss.bertscore_loss",
    "TextReward": "fairseq_bertloss.loss.text_reward",
    "minimum_risk": "fairseq_bertloss.loss.minimum_risk",
}
"""Where public names are that need no fairseq. They are loaded on first use: the `bertloss` command and
fairseq-generate do without them."""


def register() -> None:
    """Makes fairseq know what this package adds, and torch's safe loading know fairseq's checkpoints.

    Importing the package beside fairseq does it, as --user-dir has it; a program that imports
    fairseq later calls it.
    """
    from fairseq_bertloss import encoders, mbart_task, scorers  # noqa: F401
    from fairseq_bertloss.checkpoints.loading import allow_fairseq_classes
    from fairseq_bertloss.training import criterion  # noqa: F401

    allow_fairseq_classes()


if "fairseq" in sys.modules:
    register()


def __getattr__(name: str):
    if name in PLACES:
        return getattr(importlib.import_module(PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
