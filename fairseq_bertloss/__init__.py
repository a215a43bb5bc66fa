"""BERTScore as the training objective of fairseq translation models.

    fairseq-train DIR --user-dir fairseq_bertloss --criterion bertscore_loss --bert-model NAME ...

    from fairseq_bertloss import BERTScoreLoss
"""

import sys

__all__ = ["BERTScoreLoss"]

if "fairseq" in sys.modules:
    # Imported by fairseq's --user-dir, or beside fairseq: register what fairseq finds by name.
    from fairseq_bertloss import checkpoints, criterion, encoders  # noqa: F401

    checkpoints.allow_fairseq_classes()


def __getattr__(name: str):
    # On first use: the `bertloss` command and fairseq-generate do without it.
    if name == "BERTScoreLoss":
        from fairseq_bertloss.loss import BERTScoreLoss

        return BERTScoreLoss
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
