"""--cross-entropy-weight 1: what label_smoothed_cross_entropy learns, beside the figures of an objective."""

import torch
from torch import Tensor, nn

from fairseq_bertloss.cross_entropy import token_statistics
from fairseq_bertloss.decoder_output import decoder_output, unwrapped
from fairseq_bertloss.loss import BERTScoreLoss
from fairseq_bertloss.objective import Scored


class CrossEntropyAlone:
    """Cross-entropy of every reference, those too long for the language model too; the objective is for the log alone.

    The model's pass that learns comes first, and what the objective draws leaves torch's generators as they were: dropout
    is that of fairseq's criterion.

    Args:
        objective: of the criterion, which says what is logged.
        bertscore: whose symbols count.
        with_uniform: whether TokenStatistics.uniform is wanted, for label smoothing.
    """

    def __init__(self, objective, bertscore: BERTScoreLoss, with_uniform: bool):
        self._objective = objective
        self._bertscore = bertscore
        self._with_uniform = with_uniform

    def __call__(self, model: nn.Module, sample: dict, chosen: Tensor) -> Scored:
        """As the objective, but with the statistics of all of the batch's sentences.

        Args:
            model: a fairseq encoder-decoder, as it comes or wrapped for distributed training.
            sample: of the translation task.
            chosen: indices of the sentences that the objective scores, perhaps none.
        """
        features, projection = decoder_output(model, sample["net_input"])
        target, specials = sample["target"], self._bertscore.specials
        real = target.ne(specials.pad)
        tokens = token_statistics(
            features[real],
            target[real],
            projection,
            eos=specials.eos,
            with_uniform=self._with_uniform,
            chunk_tokens=self._bertscore.chunk_tokens,
        )
        sums = self._logged(model, sample, chosen) if len(chosen) else {}
        return Scored(tokens.nll.new_zeros(len(target)), tokens, sums)

    @torch.no_grad()
    def _logged(self, model: nn.Module, sample: dict, chosen: Tensor) -> dict[str, Tensor]:
        """The objective's sums, from the model itself: a wrapper may wait for other workers at each pass."""
        device = sample["target"].device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            return self._objective(unwrapped(model)[0], sample, chosen).sums
