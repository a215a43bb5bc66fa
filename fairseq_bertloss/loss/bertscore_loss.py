"""BERTScore as a loss: soft predictions and references in, precision, recall and F1 out. No fairseq here.

loss = BERTScoreLoss.from_pretrained("bert-base-uncased", symbols)
loss.objective(loss(logits, target)).mean().backward()
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fairseq_bertloss.language_model.frozen import FrozenLanguageModel, idf_weights, rescaling_baseline
from fairseq_bertloss.language_model.vocabulary import Specials, align, load_tokenizer, symbol_names
from fairseq_bertloss.loss.expected_embeddings import (
    Projection,
    TokenPredictions,
    check_vocabulary,
    expected_embeddings,
)
from fairseq_bertloss.loss.layout import SentenceLayout
from fairseq_bertloss.loss.matching import BERTScore, Scores
from fairseq_bertloss.loss.sentences import MATCHINGS, ReadSentences, ReferenceCaches, Sentences, matched
from fairseq_bertloss.loss.soft_predictions import DEFAULT_TEMPERATURE, SOFT_PREDICTIONS, SoftPrediction

END_OF_SENTENCE = ("scored", "context", "gold")


class BERTScoreLoss(nn.Module):
    """BERTScore of a model's soft predictions against references, differentiable in the logits.

    The language model sees [CLS], the predictions and, where the reference ends, what `end_of_sentence` says. In train
    mode gumbel_softmax draws noise from torch's generator; in eval mode it draws none. The language model is frozen and
    no submodule: this module has no parameters and an empty state_dict, and hands changes of device and precision on.
    """

    def __init__(
        self,
        language_model: FrozenLanguageModel,
        symbol_ids: Tensor,
        specials: Specials,
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
            symbol_ids: the language model's id of every target symbol, (vocabulary,).
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
        super().__init__()
        given = dict(soft_prediction=soft_prediction, score=score, matching=matching, end_of_sentence=end_of_sentence)
        choices = SOFT_PREDICTIONS, BERTScore._fields, MATCHINGS, END_OF_SENTENCE
        for (option, value), known in zip(given.items(), choices):
            if value not in known:
                raise ValueError(f"unknown {option} {value!r}: choose one of {', '.join(known)}")
        self.language_model = language_model
        self.specials = specials
        self.soft_prediction = soft_prediction
        self.temperature = DEFAULT_TEMPERATURE[soft_prediction] if temperature is None else temperature
        self.gumbel_hard = gumbel_hard
        self.score = score
        self.matching = matching
        self.end_of_sentence = end_of_sentence
        self._symbol_ids = symbol_ids.cpu()
        self.register_buffer("embedding_table", self._table(), persistent=False)  # (vocabulary, embedding size)
        self.idf = idf  # no buffer: half precision would round it
        self.baseline = baseline
        self.chunk_tokens = chunk_tokens
        self.reference_caches: ReferenceCaches | None = None

    @classmethod
    def from_pretrained(
        cls,
        lm: str,
        symbols,
        layer: int | None = None,
        *,
        specials: Specials | None = None,
        idf_references: str | None = None,
        rescale_with_baseline: bool = False,
        baseline_path: str | None = None,
        lang: str | None = None,
        lm_dtype: str | None = None,
        **options,
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
            options: soft_prediction and the other options of the constructor.

        Raises:
            ValueError: the model cannot be loaded or used, or symbols are not in its vocabulary.
        """
        names, own_specials = symbol_names(symbols)
        specials = specials or own_specials
        tokenizer = load_tokenizer(lm)
        symbol_ids = align(names, tokenizer, specials)
        language_model = FrozenLanguageModel.from_pretrained(lm, layer, lm_dtype)
        idf = None
        baseline = rescaling_baseline(lm, language_model.layer, lang, baseline_path) if rescale_with_baseline else None
        if idf_references is not None:
            weights = idf_weights(idf_references, tokenizer)
            idf = torch.tensor([weights[i] for i in symbol_ids.tolist()])
        places = Specials(*(names.index(special) for special in specials))
        return cls(language_model, symbol_ids, places, idf=idf, baseline=baseline, **options)

    def objective(self, score: BERTScore) -> Tensor:
        """What training minimises: -F1, -precision or -recall of each sentence, (batch,)."""
        return -getattr(score, self.score)

    @property
    def max_target_length(self) -> int:
        """The longest target that the language model has positions for, </s> included."""
        return self.language_model.max_length - 1

    def forward(self, logits: Tensor, target: Tensor) -> BERTScore:
        """BERTScore of the soft predictions that the logits become.

        Args:
            logits: (batch, length, vocabulary), one row a target position (teacher forcing); gradients flow.
            target: (batch, length) symbol indices; every row ends with </s>, padding on either side.

        Returns:
            precision, recall and f1, (batch,) each.

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
        with_uniform: bool = False,
        reference: Tensor | None = None,
    ) -> tuple[Scores, TokenPredictions]:
        """As forward, from what the decoder's output layer gets, and the statistics of the same logits.

        Args:
            features: (batch, length, dim), or (tokens, dim) of the real tokens alone, row by row; logits where there is
                no projection. Gradients flow.
            target: (batch, length).
            projection: the output layer; gradients flow to its weight and bias.
            with_uniform: whether TokenPredictions.uniform is wanted, for label smoothing.
            reference: (batch, l), to score against in place of the target, which the model itself has then drawn.

        Returns:
            Scores, and TokenPredictions of the real tokens, in the order of target's rows.
        """
        layout, features = self._laid_out(features, target, packed=features.dim() == 2)
        predictions = expected_embeddings(
            features,
            target.flatten()[layout.tokens],
            self.embedding_table,
            SoftPrediction(self.soft_prediction, self.temperature, self.gumbel_hard, noise=self.training),
            projection=projection,
            symbol_weights=self.idf,
            eos=self.specials.eos,
            with_uniform=with_uniform,
            target_is_drawn=reference is not None,
            chunk_tokens=self.chunk_tokens,
        )
        predicted = self._sentences(predictions.embeddings, predictions.weights, target, layout)
        if reference is not None:
            target, layout = reference, self._layout(reference)
        return self._score(predicted, target, layout), predictions

    def score_predictions(self, probabilities: Tensor, target: Tensor) -> BERTScore:
        """As forward, from soft predictions of any origin, (batch, length, vocabulary)."""
        layout, probabilities = self._laid_out(probabilities, target)
        check_vocabulary(probabilities.size(-1), self.embedding_table)
        embeddings = probabilities.to(self.embedding_table.dtype) @ self.embedding_table
        weights = None if self.idf is None else probabilities @ self.idf.to(probabilities.dtype)
        return self._score(self._sentences(embeddings, weights, target, layout), target, layout).rewarded

    def score_ids(self, hypothesis: Tensor, target: Tensor, of: Sequence[int] | None = None) -> BERTScore:
        """As score_candidates, by the objective's matching alone."""
        return self.score_candidates(hypothesis, target, of).rewarded

    @torch.no_grad()
    def score_candidates(self, hypothesis: Tensor, target: Tensor, of: Sequence[int] | None = None) -> Scores:
        """Scores of hard predictions, (hypotheses,) each, without gradient.

        Args:
            hypothesis: (hypotheses, k) symbol indices; every row ends with </s>, padding on either side.
            target: (batch, l), the same.
            of: the row of target that each hypothesis is scored against; None: each its own.

        Raises:
            ValueError: as in forward.
        """
        predicted = self._sentences_of_ids(hypothesis, self._layout(hypothesis))
        return self._score(predicted, target, self._layout(target), of)

    def cache_references(self, folder: str, limit: int) -> ReferenceCaches:
        """From now on keeps the references' contextual embeddings, normalised, in float16.

        Args:
            folder: of caches; any number of processes may share it.
            limit: bytes that this language model's may take there, in each precision.
        """
        self.reference_caches = ReferenceCaches(self.language_model, folder, limit)
        return self.reference_caches

    def _laid_out(self, predictions: Tensor, target: Tensor, packed: bool = False) -> tuple[SentenceLayout, Tensor]:
        """The target's layout, and what predictions (batch, length, size) hold at its real tokens, (tokens, size)."""
        layout = self._layout(target)
        if len(predictions) != len(layout.tokens) if packed else predictions.shape[:2] != target.shape:
            raise ValueError(f"predictions {tuple(predictions.shape)} and target {tuple(target.shape)} disagree")
        return layout, predictions if packed else predictions.flatten(0, 1)[layout.tokens]

    def _layout(self, ids: Tensor) -> SentenceLayout:
        layout = SentenceLayout.of(ids, self.specials.pad, self.specials.eos)
        if max(layout.lengths) > self.max_target_length:
            raise ValueError(
                f"a sentence of {max(layout.lengths)} symbols is longer than the {self.max_target_length} that "
                f"the language model {self.language_model.name!r} has positions for"
            )
        if self.embedding_table.device != ids.device:
            self.to(ids.device)  # fairseq does not move criteria that have no parameters when distributed
        return layout

    def _sentences(self, embeddings: Tensor, weights: Tensor | None, ids: Tensor, layout: SentenceLayout) -> Sentences:
        """What the language model reads, from embeddings (tokens, size) and weights (tokens,) of real tokens."""
        weights = embeddings.new_ones(len(embeddings), dtype=torch.float32) if weights is None else weights.float()
        if self.end_of_sentence != "scored":
            weights = weights.masked_fill(ids.flatten()[layout.tokens] == self.specials.eos, 0.0)
        if self.end_of_sentence == "gold":
            layout = layout.with_marker_at_end()
        markers = torch.stack([self.embedding_table[self.specials.bos], self.embedding_table[self.specials.eos]])
        return Sentences(torch.cat([markers, embeddings]), torch.cat([weights.new_zeros(2), weights]), layout)

    def _sentences_of_ids(self, ids: Tensor, layout: SentenceLayout) -> Sentences:
        real = ids.flatten()[layout.tokens]
        return self._sentences(self.embedding_table[real], None if self.idf is None else self.idf[real], ids, layout)

    def _score(
        self, predicted: Sentences, target: Tensor, layout: SentenceLayout, of: Sequence[int] | None = None
    ) -> Scores:
        """Against references, each its own or those of `of`."""
        reference = self._sentences_of_ids(target, layout)
        if self.reference_caches is not None:
            reference = self.reference_caches.read(reference, self._language_model_ids(target, layout))
        if of is not None:  # which may name one again and again
            reference = ReadSentences.of(reference, self.language_model)
        of = range(len(target)) if of is None else of
        scores = matched(predicted, reference, of, self.language_model, self.matching)
        return scores if self.baseline is None else scores.rescaled(self.baseline)

    def _language_model_ids(self, ids: Tensor, layout: SentenceLayout) -> list[tuple[int, ...]]:
        """Of each sentence, start marker included."""
        tokens = iter(self._symbol_ids[ids.flatten()[layout.tokens].cpu()].tolist())
        start = self._symbol_ids[self.specials.bos].item()
        return [(start, *itertools.islice(tokens, length)) for length in layout.lengths]

    def _table(self) -> Tensor:
        """The language model's embeddings in the order of the symbols."""
        table = self.language_model.embedding_table.detach()
        return table[self._symbol_ids.to(table.device)]

    def _apply(self, fn, recurse=True):
        self.language_model.apply(fn)
        super()._apply(fn, recurse)
        if self.language_model.dtype is not None:
            self.embedding_table = self._table()  # as exact as the language model, which keeps its precision
        if self.idf is not None:
            self.idf = self.idf.to(self.embedding_table.device)
        return self
