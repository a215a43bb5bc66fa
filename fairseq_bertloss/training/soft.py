"""The objective `soft`: BERTScore of soft predictions, differentiable in the model's logits."""

from torch import Tensor, nn

from fairseq_bertloss.loss.bertscore_loss import BERTScoreLoss
from fairseq_bertloss.loss.cross_entropy import TokenStatistics
from fairseq_bertloss.loss.expected_embeddings import TokenPredictions
from fairseq_bertloss.loss.matching import Scores
from fairseq_bertloss.loss.soft_predictions import DEFAULT_TEMPERATURE
from fairseq_bertloss.loss.temperature import TemperatureSchedule
from fairseq_bertloss.training.candidates import Translator
from fairseq_bertloss.training.config import BERTScoreCriterionConfig
from fairseq_bertloss.training.decoder_output import DecoderOutput, decoder_output
from fairseq_bertloss.training.log import updates_so_far
from fairseq_bertloss.training.objective import Objective, Scored, sentences
from fairseq_bertloss.training.reading import Reader
from fairseq_bertloss.training.sums import SOFT_SUMS


class SoftObjective(Objective):
    """Minus BERTScore of soft predictions; its kinds differ in what the predictions follow.

    Args:
        cfg: the criterion's options.
        bertscore: makes the soft predictions and scores them.
    """

    sums = SOFT_SUMS

    def __init__(self, cfg: BERTScoreCriterionConfig, bertscore: BERTScoreLoss):
        self.temperature = TemperatureSchedule.parse(
            cfg.soft_temperature or str(DEFAULT_TEMPERATURE[bertscore.soft_prediction])
        )
        self._bertscore = bertscore
        self._with_uniform = cfg.label_smoothing > 0

    def _present_temperature(self) -> float:
        """The schedule's value in training, and its end in validation, whose figures must stay comparable."""
        return self.temperature.at(updates_so_far()) if self._bertscore.training else self.temperature.end

    def _scored(self, scores: Scores, predictions: TokenPredictions, references: TokenStatistics) -> Scored:
        return Scored(self._bertscore.objective(scores.rewarded), references, soft_sums(scores, predictions))


class TeacherForcing(SoftObjective):
    """Each soft prediction follows the reference up to there."""

    def __call__(self, model: nn.Module, sample: dict, chosen: Tensor) -> Scored:
        forced = decoder_output(model, sample["net_input"])
        scores, predictions = self._predicted(forced, sample, chosen, self._with_uniform)
        references = TokenStatistics(predictions.nll, predictions.uniform, predictions.correct, predictions.p_eos)
        return self._scored(scores, predictions, references)

    def logged_sums(self, model: nn.Module, sample: dict, chosen: Tensor, forced: DecoderOutput) -> dict[str, Tensor]:
        """As in Objective, without another pass of the model."""
        return soft_sums(*self._predicted(forced, sample, chosen, with_uniform=False))

    def _predicted(
        self, forced: DecoderOutput, sample: dict, chosen: Tensor, with_uniform: bool
    ) -> tuple[Scores, TokenPredictions]:
        return self._bertscore.score_features(
            sentences(forced.features, chosen),
            sentences(sample["target"], chosen),
            forced.projection,
            temperature=self._present_temperature(),
            with_uniform=with_uniform,
        )


class FreeRunning(SoftObjective):
    """Each soft prediction follows what the model itself has translated so far, not the reference.

    Training sees what happens after the model's own mistakes. A translation is drawn symbol by symbol from the model
    in evaluation mode and then decoded as if it were the reference; no gradient flows through what has been drawn.
    Where gumbel_softmax predicts, its noise is the noise that draws this translation. That is exact where the model is
    the same in training and --candidate-generation-args changes nothing; with dropout, top-k or a temperature the noise
    is a little higher for the symbols drawn than the model's distribution has it.

    Args:
        cfg: the criterion's options.
        bertscore: makes the soft predictions and scores them.
        translator: draws one translation of each sentence.
        reader: has the model decode it.
    """

    def __init__(self, cfg: BERTScoreCriterionConfig, bertscore: BERTScoreLoss, translator: Translator, reader: Reader):
        super().__init__(cfg, bertscore)
        self.translator = translator
        self._reader = reader

    def __call__(self, model: nn.Module, sample: dict, chosen: Tensor) -> Scored:
        drawn = self.translator.draw(model, sample)
        reading = self._reader(model, sample, chosen, drawn)
        scores, predictions = self._bertscore.score_features(
            reading.features_of(reading.sides.candidates),
            reading.candidates,
            reading.projection,
            temperature=self._present_temperature(),
            reference=reading.references,
        )
        references = self._reader.statistics_of_references(reading, self._with_uniform)
        return self._scored(scores, predictions, references)


def soft_sums(scores: Scores, predictions: TokenPredictions) -> dict[str, Tensor]:
    """Sums over the sentences and their predicted tokens for the log: SOFT_SUMS."""
    reported = scores.reported
    sums = (
        reported.f1.sum(),
        reported.precision.sum(),
        reported.recall.sum(),
        predictions.entropy.sum(),
        predictions.support.sum(),
        reported.f1.new_tensor(len(predictions.entropy)),
    )
    return dict(zip(SOFT_SUMS, sums, strict=True))
