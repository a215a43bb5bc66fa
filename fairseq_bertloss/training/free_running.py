"""Soft predictions free-running: each follows what the model itself has translated so far, not the reference.

    fairseq-train DIR --user-dir fairseq_bertloss --criterion bertscore_loss --bert-model NAME --objective soft \
        --free-running ...

Training sees what happens after the model's own mistakes. A translation is drawn symbol by symbol from the model in
evaluation mode and then decoded as if it were the reference; no gradient flows through what has been drawn. Where
gumbel_softmax predicts, it has the noise that draws this translation. That is exact where the model is the same in
training and --candidate-generation-args changes nothing; with dropout, top-k or a temperature the noise is a little
higher for the symbols drawn than the model's distribution has it.
"""

from omegaconf import DictConfig
from torch import Tensor, nn

from fairseq_bertloss.loss.bertscore_loss import BERTScoreLoss
from fairseq_bertloss.loss.cross_entropy import TokenStatistics
from fairseq_bertloss.loss.expected_embeddings import TokenPredictions
from fairseq_bertloss.loss.matching import Scores
from fairseq_bertloss.training.sampling import ANCESTRAL, Drawing, DrawingConfig, deterministic, generation


def free_running_generation(cfg: DrawingConfig, task) -> dict[str, list[DictConfig]]:
    """How a sentence's translation is drawn, arguments of Drawing: validation takes the most probable symbols.

    Raises:
        ValueError: an option in --candidate-generation-args that cannot be.
    """
    given = generation(cfg, task, 1, "--free-running draws one translation of a sentence", ANCESTRAL)
    return {"training": [given], "validation": [deterministic(given)]}


class FreeRunning:
    """Scores the soft predictions that follow a sampled translation.

    Args:
        drawing: of the translation.
        bertscore: its soft predictions and scores.
        with_uniform: whether TokenStatistics.uniform is wanted, for label smoothing.
    """

    def __init__(self, drawing: Drawing, bertscore: BERTScoreLoss, with_uniform: bool):
        self._drawing = drawing
        self._bertscore = bertscore
        self._with_uniform = with_uniform

    def __call__(
        self, model: nn.Module, sample: dict, chosen: Tensor
    ) -> tuple[Scores, TokenPredictions, TokenStatistics]:
        """Of some of a batch's sentences.

        Args:
            model: a fairseq encoder-decoder, as it comes or wrapped for distributed training.
            sample: of the translation task.
            chosen: indices of the sentences, one at least.

        Returns:
            Their scores; the predictions that were scored; and the statistics of the references' tokens, in teacher
            forcing.
        """
        decoded = self._drawing(model, sample, chosen)
        scores, predictions = self._bertscore.score_features(
            decoded.features_of(decoded.rows.candidates),
            decoded.translations,
            decoded.projection,
            reference=decoded.references,
        )
        return scores, predictions, self._drawing.of_references(decoded, self._with_uniform)
