"""BERTScore as a loss: soft predictions and references in, precision, recall and F1 out. No fairseq here.

loss = BERTScoreLoss.from_pretrained("bert-base-uncased", symbols)
loss.objective(loss(logits, target)).mean().backward()
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from fairseq_bertloss.choices import END_OF_SENTENCE, SOFT_PREDICTIONS, check_choice
from fairseq_bertloss.language_model.frozen import FrozenLanguageModel, adjustments
from fairseq_bertloss.language_model.symbol_pieces import SymbolPieces, pieces_of
from fairseq_bertloss.language_model.vocabulary import Dictionary, SpecialIds, Specials, load_tokenizer, symbol_names
from fairseq_bertloss.loss.expected_embeddings import TokenPredictions, check_vocabulary, expected_embeddings
from fairseq_bertloss.loss.layout import SentenceLayout
from fairseq_bertloss.loss.matching import BERTScore, Scores
from fairseq_bertloss.loss.output_layer import Projection
from fairseq_bertloss.loss.reference_scorer import ReferenceScorer
from fairseq_bertloss.loss.soft_predictions import DEFAULT_TEMPERATURE, SoftPrediction


class BERTScoreLoss(ReferenceScorer):
    """BERTScore of a model's soft predictions against references, differentiable in the logits.

    The language model sees [CLS], the predictions and, where the reference ends, what `end_of_sentence` says. In train
    mode gumbel_softmax draws noise from torch's generator; in eval mode it draws none. Like ReferenceScorer this module
    has no parameters and an empty state_dict.
    """

    def __init__(
        self,
        language_model: FrozenLanguageModel,
        pieces: SymbolPieces,
        specials: SpecialIds,
        *,
        soft_prediction: str = "gumbel_softmax",
        temperature: float | None = None,
        gumbel_hard: bool = False,
        score: str = "f1",
        matching: str = "greedy",
        end_of_sentence: str = "scored",
        idf: Tensor | None = None,
        baseline: tuple[float, float, float] | None = None,
        chunk_tokens: int | None = None,
    ):
        """See from_pretrained, which makes the arguments from names and files.

        Args:
            language_model: the frozen encoder.
            pieces: the language model's, of every target symbol.
            specials: indices of the four specials among the symbols.
            soft_prediction: "gumbel_softmax" (default), "softmax", "sparsemax" or "entmax15".
            temperature: of the soft prediction; 0.1 by default for gumbel_softmax, 1.0 for the others.
            gumbel_hard: one-hot samples with the gradient of soft ones (straight-through).
            score: what `objective` negates: "f1" (default), "precision" or "recall".
            matching: what scores are computed by: "greedy" (default), bert-score's, or "one-to-one".
            end_of_sentence: what stands at the reference's </s>. "scored" (default): the soft
                prediction, which counts like any other. "context": the soft prediction, with weight
                0. "gold": [SEP]'s own embedding, with weight 0, as in bert-score.
            idf: weight of every symbol, (vocabulary,); None weighs all alike.
            baseline: what to rescale precision, recall and F1 with; None: do not rescale.
            chunk_tokens: as for expected_embeddings.

        Raises:
            ValueError: an option that is not among its choices.
        """
        check_choice("soft_prediction", soft_prediction, SOFT_PREDICTIONS)
        check_choice("end_of_sentence", end_of_sentence, END_OF_SENTENCE)
        super().__init__(
            language_model,
            pieces,
            specials,
            score=score,
            matching=matching,
            end_of_sentence=end_of_sentence,
            idf=idf,
            baseline=baseline,
        )
        self.soft_prediction = soft_prediction
        self.temperature = DEFAULT_TEMPERATURE[soft_prediction] if temperature is None else temperature
        self.gumbel_hard = gumbel_hard
        self.chunk_tokens = chunk_tokens

    @classmethod
    def from_pretrained(
        cls,
        lm: str,
        symbols: Sequence[str] | Dictionary,
        layer: int | None = None,
        *,
        specials: Specials | None = None,
        idf_references: str | None = None,
        rescale_with_baseline: bool = False,
        baseline_path: str | None = None,
        lang: str | None = None,
        lm_dtype: str | None = None,
        symbols_as: str = "pieces",
        **options: Any,
    ) -> "BERTScoreLoss":
        """The loss through a pretrained language model.

        Args:
            lm: hub name or folder of an encoder (BERT, DistilBERT, RoBERTa, XLM-R, ELECTRA, ALBERT, MPNet, DeBERTa).
            symbols: the target vocabulary: a fairseq Dictionary, or a list of the model's own pieces and four specials.
            layer: the scoring layer; None: bert-score's choice for a known name.
            specials: how a list of symbols spells beginning, padding, end and unknown; fairseq's way by default.
            idf_references: file of reference sentences to compute idf weights from; None: no idf.
            rescale_with_baseline: rescale as bert-score does, for the language `lang`.
            baseline_path: a baseline file of one's own, in bert-score's format.
            lang: the target language, for bert-score's baselines.
            lm_dtype: precision of the language model, as for FrozenLanguageModel; None: that of this module.
            symbols_as: "pieces" (default): every symbol is a piece of the language model. "spelling": where one is not,
                each is read as the mean of the pieces that spell it, which is no longer exact (docs/any_model.md).
            options: soft_prediction and the other options of the constructor.

        Raises:
            ValueError: the model cannot be loaded or used, or symbols are not in its vocabulary.
        """
        names, own_specials = symbol_names(symbols)
        specials = specials or own_specials
        tokenizer = load_tokenizer(lm)
        pieces = pieces_of(names, tokenizer, specials, symbols_as)
        language_model = FrozenLanguageModel.from_pretrained(lm, layer, lm_dtype)
        idf, baseline = adjustments(
            language_model,
            tokenizer,
            idf_references=idf_references,
            rescale_with_baseline=rescale_with_baseline,
            baseline_path=baseline_path,
            lang=lang,
        )
        if idf is not None:
            idf = pieces.mean(idf)
        places = SpecialIds(*(names.index(special) for special in specials))
        return cls(language_model, pieces, places, idf=idf, baseline=baseline, **options)

    def objective(self, score: BERTScore) -> Tensor:
        """What training minimises: -F1, -precision or -recall of each sentence, (batch,)."""
        return -self.maximised(score)

    def forward(self, logits: Tensor, target: Tensor) -> BERTScore:
        """BERTScore of the soft predictions that the logits become.

        Args:
            logits: (batch, length, vocabulary), one row a target position (teacher forcing); gradients flow.
            target: (batch, length) symbol indices; every row ends with </s>, padding on either side.

        Returns:
            precision, recall and f1, (batch,) each, fractions as in bert-score.

        Raises:
            ValueError: shapes disagree, a target does not end with </s>, or one exceeds max_target_length.
        """
        return self.score_features(logits, target)[0].rewarded

    def score_features(
        self,
        features: Tensor,
        target: Tensor,
        projection: Projection | None = None,
        *,
        temperature: float | None = None,
        with_uniform: bool = False,
        reference: Tensor | None = None,
    ) -> tuple[Scores, TokenPredictions]:
        """Scores what `forward` scores, but from the output layer's inputs, with statistics of the same logits.

        Args:
            features: (batch, length, dim), or (tokens, dim) of the real tokens alone, row by row; logits where there is
                no projection. Gradients flow.
            target: (batch, length), as for forward.
            projection: the output layer; gradients flow to its weight and bias.
            temperature: of the soft prediction; None: this module's.
            with_uniform: whether TokenPredictions.uniform is wanted, for label smoothing.
            reference: (batch, l), to score against in place of the target, which the model itself has then drawn.

        Returns:
            Scores, and TokenPredictions of the real tokens, in the order of target's rows.

        Raises:
            ValueError: as in forward, also for the reference.
        """
        layout = self._layout(target)
        temperature = self.temperature if temperature is None else temperature
        predictions = expected_embeddings(
            features if features.dim() == 2 else _packed(features, target, layout),
            layout.packed(target),
            self.embedding_table,
            SoftPrediction(self.soft_prediction, temperature, self.gumbel_hard, noise=self.training),
            projection=projection,
            symbol_weights=self.idf,
            eos=self.specials.eos,
            with_uniform=with_uniform,
            target_is_drawn=reference is not None,
            chunk_tokens=self.chunk_tokens,
        )
        predicted = self._sentences(predictions.embeddings, predictions.weights, target, layout)
        if reference is not None:
            target = reference
            layout = self._layout(reference)
        return self._score(predicted, target, layout), predictions

    def score_predictions(self, probabilities: Tensor, target: Tensor) -> BERTScore:
        """BERTScore of soft predictions of any origin.

        Args:
            probabilities: (batch, length, vocabulary), each a point on the simplex; gradients flow.
            target: as for forward.

        Returns:
            precision, recall and f1, (batch,) each.

        Raises:
            ValueError: as in forward.
        """
        layout = self._layout(target)
        probabilities = _packed(probabilities, target, layout)
        check_vocabulary(probabilities.size(-1), self.embedding_table)
        embeddings = probabilities.to(self.embedding_table.dtype) @ self.embedding_table
        weights = None if self.idf is None else probabilities @ self.idf.to(probabilities.dtype)
        return self._score(self._sentences(embeddings, weights, target, layout), target, layout).rewarded


def _packed(predictions: Tensor, target: Tensor, layout: SentenceLayout) -> Tensor:
    """What predictions (batch, length, size) hold at the target's real tokens, (tokens, size)."""
    if predictions.shape[:2] != target.shape:
        raise ValueError(f"predictions {tuple(predictions.shape)} and target {tuple(target.shape)} disagree")
    return layout.packed(predictions)
