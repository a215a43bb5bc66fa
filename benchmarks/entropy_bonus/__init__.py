"""bertscore_loss minus a share of the entropy of the model's own distribution, a plug-in for fairseq of its own.

    fairseq-train DIR --user-dir benchmarks/entropy_bonus --criterion entropy_bonus --entropy-bonus 0.01 ...

Against predictions that sharpen (Pereyra et al., 2017), for effect.py. The model reads each batch a second time.
"""

from dataclasses import dataclass, field

from fairseq.criterions import register_criterion

import fairseq_bertloss
from fairseq_bertloss.training.config import BERTScoreCriterionConfig
from fairseq_bertloss.training.criterion import BERTScoreCriterion

fairseq_bertloss.register()


@dataclass
class EntropyBonusConfig(BERTScoreCriterionConfig):
    entropy_bonus: float = field(
        default=0.0, metadata={"help": "weight of the mean entropy of a token's distribution, in nats"}
    )


@register_criterion("entropy_bonus", dataclass=EntropyBonusConfig)
class EntropyBonus(BERTScoreCriterion):
    """The loss of bertscore_loss, in training without entropy_bonus times the mean entropy of a batch's tokens."""

    def __init__(self, cfg: EntropyBonusConfig, task):
        super().__init__(cfg, task)
        self._bonus = cfg.entropy_bonus

    def forward(self, model, sample, reduce=True):
        """Computes the loss as bertscore_loss; the log has its loss, without the bonus."""
        loss, sample_size, logging_output = super().forward(model, sample, reduce)
        if self.training:
            lprobs = model.get_normalized_probs(model(**sample["net_input"]), log_probs=True)
            lprobs = lprobs[sample["target"].ne(self.padding_idx)]
            # torch.special.entr, of `bertloss entropy`, has no gradient where a probability is 0 in float32.
            entropy = -(lprobs.exp() * lprobs).sum(dim=-1).mean()
            loss = loss - self._bonus * (sample_size if reduce else 1) * entropy
        return loss, sample_size, logging_output
