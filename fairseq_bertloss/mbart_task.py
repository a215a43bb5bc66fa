"""fairseq's task translation_from_pretrained_bart, which fairseq 0.12 cannot start.

    fairseq-train DIR --user-dir fairseq_bertloss --task translation_from_mbart --langs ... --arch mbart_large ...

It has the options of fairseq's own. That one asks for its options under a name that they no longer have
(fairseq#3169), in training and translation alike.
"""

from fairseq.tasks import register_task
from fairseq.tasks.translation_from_pretrained_bart import TranslationFromPretrainedBARTTask


@register_task("translation_from_mbart")
class TranslationFromMBARTTask(TranslationFromPretrainedBARTTask):
    """Translates by a model that begins as mBART does, whose sentences end with their language's symbol."""

    @property
    def args(self):
        """The options."""
        return self.cfg
