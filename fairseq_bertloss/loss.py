"""BERTScore as a loss: soft predictions and references in, precision, recall and F1 out. No fairseq here.

    loss = BERTScoreLoss.from_pretrained("bert-base-uncased", symbols)
    loss.objective(loss(logits, target)).mean().backward()
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fairseq_bertloss.bertscore import BERTScore, greedy_cosine_match
from fairseq_bertloss.expected_embeddings import expected_embeddings
from fairseq_bertloss.language_model import FrozenLanguageModel, idf_weights, rescaling_baseline
from fairseq_bertloss.soft_predictions import DEFAULT_TEMPERATURE, SOFT_PREDICTIONS, soft_prediction
from fairseq_bertloss.vocabulary import Specials, align, load_tokenizer, symbol_names

END_OF_SENTENCE = ("scored", "context", "gold")


class BERTScoreLoss(nn.Module):
    """BERTScore of a model's soft predictions against references, differentiable in the logits.

    The language model sees [CLS], the predictions and, where the reference ends, what
    `end_of_sentence` says. In train mode gumbel_softmax draws noise from torch's generator; in eval
    mode it draws none. The language model is frozen and is no submodule: this module has no
    parameters and an empty state_dict, and hands changes of device and precision on.
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
        end_of_sentence: str = "scored",
        idf: Tensor | None = None,
        baseline: tuple[float, float, float] | None = None,
    ):
        """See from_pretrained, which makes the arguments from names and files.

        Args:
            language_model: the frozen encoder.
            symbol_ids: the language model's id of every target symbol, (vocabulary,).
            specials: indices of the four specials among the symbols.
            idf: weight of every symbol, (vocabulary,); None weighs all alike.
            baseline: what to rescale precision, recall and F1 with; None: do not rescale.

        Raises:
            ValueError: an option that is not among its choices.
        """
        super().__init__()
        _check_choice("soft_prediction", soft_prediction, SOFT_PREDICTIONS)
        _check_choice("score", score, BERTScore._fields)
        _check_choice("end_of_sentence", end_of_sentence, END_OF_SENTENCE)
        self.language_model = language_model
        self.specials = specials
        self.soft_prediction = soft_prediction
        self.temperature = DEFAULT_TEMPERATURE[soft_prediction] if temperature is None else temperature
        self.gumbel_hard = gumbel_hard
        self.score = score
        self.end_of_sentence = end_of_sentence
        table = language_model.embedding_table.detach()[symbol_ids.to(language_model.embedding_table.device)]
        self.register_buffer("embedding_table", table, persistent=False)  # (vocabulary, embedding size)
        self.idf = idf  # no buffer: half precision would round it
        self.baseline = baseline

    @classmethod
    def from_pretrained(
        cls,
        lm: str,
        symbols,
        layer: int | None = None,
        *,
        soft_prediction: str = "gumbel_softmax",
        temperature: float | None = None,
        gumbel_hard: bool = False,
        score: str = "f1",
        end_of_sentence: str = "scored",
        specials: Specials | None = None,
        idf_references: str | None = None,
        rescale_with_baseline: bool = False,
        baseline_path: str | None = None,
        lang: str | None = None,
    ) -> "BERTScoreLoss":
        """The loss through a pretrained language model.

        Args:
            lm: hub name or folder of an encoder (BERT, DistilBERT, RoBERTa, XLM-R, ELECTRA, ALBERT, MPNet, DeBERTa).
            symbols: the target vocabulary: a fairseq Dictionary, or a list of the language model's own
                pieces together with four specials.
            layer: the scoring layer; None: bert-score's choice for a known name.
            soft_prediction: "gumbel_softmax" (default), "softmax", "sparsemax" or "entmax15".
            temperature: of the soft prediction; 0.1 by default for gumbel_softmax, 1.0 for the others.
            gumbel_hard: one-hot samples with the gradient of soft ones (straight-through).
            score: what `objective` negates: "f1" (default), "precision" or "recall".
            end_of_sentence: what stands at the reference's </s>. "scored" (default): the soft
                prediction, which counts like any other. "context": the soft prediction, with weight
                0. "gold": [SEP]'s own embedding, with weight 0, as in bert-score.
            specials: how a list of symbols spells beginning, padding, end and unknown; fairseq's way by default.
            idf_references: file of reference sentences to compute idf weights from; None: no idf.
            rescale_with_baseline: rescale as bert-score does, for the language `lang`.
            baseline_path: a baseline file of one's own, in bert-score's format.
            lang: the target language, for bert-score's baselines.

        Raises:
            ValueError: the model cannot be loaded or used, or symbols are not in its vocabulary.
        """
        names, own_specials = symbol_names(symbols)
        specials = specials or own_specials
        tokenizer = load_tokenizer(lm)
        symbol_ids = align(names, tokenizer, specials)
        language_model = FrozenLanguageModel.from_pretrained(lm, layer)
        baseline, idf = None, None
        if rescale_with_baseline:
            baseline = rescaling_baseline(lm, language_model.layer, lang, baseline_path)
        if idf_references is not None:
            weights = idf_weights(idf_references, tokenizer)
            idf = torch.tensor([weights[i] for i in symbol_ids.tolist()])
        return cls(
            language_model,
            symbol_ids,
            Specials(*(names.index(special) for special in specials)),
            soft_prediction=soft_prediction,
            temperature=temperature,
            gumbel_hard=gumbel_hard,
            score=score,
            end_of_sentence=end_of_sentence,
            idf=idf,
            baseline=baseline,
        )

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
        return self.score_predictions(self.soft_predictions(logits), target)

    def soft_predictions(self, logits: Tensor) -> Tensor:
        """The soft prediction at every position, (batch, length, vocabulary), float32."""
        return soft_prediction(
            logits, self.soft_prediction, self.temperature, gumbel_hard=self.gumbel_hard, noise=self.training
        )

    def score_predictions(self, probabilities: Tensor, target: Tensor) -> BERTScore:
        """As forward, from soft predictions, (batch, length, vocabulary)."""
        if probabilities.shape[:2] != target.shape:
            raise ValueError(f"predictions {tuple(probabilities.shape)} and target {tuple(target.shape)} disagree")
        if probabilities.size(-1) != len(self.embedding_table):
            raise ValueError(
                f"the predictions have {probabilities.size(-1)} symbols, the dictionary has {len(self.embedding_table)}"
            )
        self._check_ends(target)
        self._follow(target)
        embeddings = expected_embeddings(probabilities, self.embedding_table)
        weights = None if self.idf is None else probabilities @ self.idf.to(probabilities.dtype)
        return self._score(embeddings, weights, target, target)

    @torch.no_grad()
    def score_ids(self, hypothesis: Tensor, target: Tensor) -> BERTScore:
        """BERTScore of hard predictions.

        Args:
            hypothesis: (batch, k) symbol indices; every row ends with </s>, padding on either side.
            target: (batch, l), the same.

        Returns:
            precision, recall and f1, (batch,) each, without gradient.

        Raises:
            ValueError: as in forward.
        """
        self._check_ends(hypothesis)
        self._check_ends(target)
        self._follow(target)
        weights = None if self.idf is None else self.idf[hypothesis]
        return self._score(self.embedding_table[hypothesis], weights, hypothesis, target)

    def _score(self, embeddings: Tensor, weights: Tensor | None, hypothesis: Tensor, target: Tensor) -> BERTScore:
        """Scores predicted embeddings, (batch, k, size), whose padding and </s> stand where hypothesis has them."""
        with torch.no_grad():
            reference_weights = None if self.idf is None else self.idf[target]
            reference = self._encode(self.embedding_table[target], reference_weights, target)
        predicted = self._encode(embeddings, weights, hypothesis)
        score = greedy_cosine_match(*(side for pair in zip(predicted, reference) for side in pair))
        return score if self.baseline is None else score.rescaled(self.baseline)

    def _encode(self, embeddings: Tensor, weights: Tensor | None, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Contextual embeddings, weights and mask of [CLS] and a sentence, (batch, 1 + length, ...)."""
        real = ids != self.specials.pad
        weights = real.to(torch.float32) if weights is None else weights.to(torch.float32) * real
        end = ids == self.specials.eos
        if self.end_of_sentence == "gold":
            embeddings = torch.where(end.unsqueeze(-1), self.embedding_table[self.specials.eos], embeddings)
        if self.end_of_sentence != "scored":
            weights = weights.masked_fill(end, 0.0)

        embeddings, weights, real = _without_padding(embeddings, weights, real)
        start = self.embedding_table[self.specials.bos].expand(len(ids), 1, -1)
        embeddings = torch.cat([start, embeddings], dim=1)
        weights = torch.cat([weights.new_zeros(len(ids), 1), weights], dim=1)
        mask = torch.cat([real.new_ones(len(ids), 1), real], dim=1)
        return self.language_model(embeddings, mask), weights, mask

    def _check_ends(self, ids: Tensor) -> None:
        real = ids != self.specials.pad
        last = real & ~nn.functional.pad(real, (0, 1))[:, 1:]  # followed by padding or by nothing
        if not ((last.sum(dim=1) == 1) & ((ids == self.specials.eos) & last).any(dim=1)).all():
            raise ValueError("every sentence must end with </s>, with padding only before or only after it")
        longest = int(real.sum(dim=1).max())
        if longest > self.max_target_length:
            raise ValueError(
                f"a sentence of {longest} symbols is longer than the {self.max_target_length} that "
                f"the language model {self.language_model.name!r} has positions for"
            )

    def _follow(self, tensor: Tensor) -> None:
        """Moves to the tensor's device: fairseq does not move criteria that have no parameters when distributed."""
        if self.embedding_table.device != tensor.device:
            self.to(tensor.device)

    def _apply(self, fn, recurse=True):
        self.language_model.apply(fn)
        super()._apply(fn, recurse)
        if self.idf is not None:
            self.idf = self.idf.to(self.embedding_table.device)
        return self


def _check_choice(option: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"unknown {option} {value!r}: choose one of {', '.join(choices)}")


def _without_padding(embeddings: Tensor, weights: Tensor, real: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Moves padding to the right and cuts what all rows have of it: the language model may lack positions for it."""
    order = (~real).to(torch.uint8).argsort(dim=1, stable=True)[:, : int(real.sum(dim=1).max())]
    embeddings = embeddings.gather(1, order.unsqueeze(-1).expand(-1, -1, embeddings.size(-1)))
    return embeddings, weights.gather(1, order), real.gather(1, order)
