"""BERTScore of texts as a reward: translations of any vocabulary, read by the language model's own tokenizer.

reward = TextReward("bert-base-uncased", matching="one-to-one")
reward.maximised(reward(hypotheses, references).rewarded)
"""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fairseq_bertloss.language_model.frozen import FrozenLanguageModel, adjustments
from fairseq_bertloss.language_model.tokenization import encode
from fairseq_bertloss.language_model.vocabulary import load_tokenizer, special_ids
from fairseq_bertloss.loss.matching import Scores
from fairseq_bertloss.loss.reference_scorer import ReferenceScorer

PADDING = -1
"""No language model's id, so that none is taken for padding."""

REMEMBERED = 2**15
"""Texts whose ids are kept in memory, the last ones used: about 40 MB."""


class TextReward(ReferenceScorer):
    """BERTScore of hypotheses against references, both as text; nothing in it learns, and no gradient flows through it.

    F by greedy matching is that of FBertScorer: the markers of beginning and end have no weight, a pair with nothing on
    one side scores 0 (before any rescaling), and texts are cut where the language model has no positions left. Like
    ReferenceScorer this module has no parameters and an empty state_dict.
    """

    def __init__(
        self,
        lm: str,
        layer: int | None = None,
        *,
        matching: str = "greedy",
        score: str = "f1",
        lm_dtype: str | None = None,
        idf_references: str | None = None,
        rescale_with_baseline: bool = False,
        baseline_path: str | None = None,
        lang: str | None = None,
    ):
        """Loads the language model.

        Args:
            lm: hub name or folder of an encoder.
            layer: the scoring layer; None: bert-score's choice for a known name.
            matching: what Scores.rewarded is computed by: "greedy" (default), bert-score's, or "one-to-one".
            score: what `maximised` takes of it: "f1" (default), "precision" or "recall".
            lm_dtype: precision of the language model, as for FrozenLanguageModel; None: that of this module.
            idf_references: file of reference sentences to compute idf weights from; None: no idf.
            rescale_with_baseline: rescale as bert-score does, for the language `lang`.
            baseline_path: a baseline file of one's own, in bert-score's format.
            lang: the language of the texts, for bert-score's baselines.

        Raises:
            ValueError: the model cannot be loaded or used; an option that is not among its choices.
        """
        tokenizer = load_tokenizer(lm)
        language_model = FrozenLanguageModel.from_pretrained(lm, layer, lm_dtype)
        idf, baseline = adjustments(
            language_model,
            tokenizer,
            idf_references=idf_references,
            rescale_with_baseline=rescale_with_baseline,
            baseline_path=baseline_path,
            lang=lang,
        )
        super().__init__(
            language_model,
            None,
            special_ids(tokenizer)._replace(pad=PADDING),
            score=score,
            matching=matching,
            end_of_sentence="gold",
            idf=idf,
            baseline=baseline,
        )
        self._longest = language_model.longest_text(tokenizer)

        @functools.lru_cache(maxsize=REMEMBERED)
        def read(text: str) -> Tensor:
            (ids,) = encode(tokenizer, [text], self._longest)
            return torch.tensor(ids[1:])  # the layout puts the start marker first

        self._read = read

    @property
    def max_target_length(self) -> int:
        """The longest text that is read whole, the end marker included."""
        return self._longest - 1

    def forward(
        self, hypotheses: Sequence[str], references: Sequence[str], reference_index: Sequence[int] | None = None
    ) -> Scores:
        """Scores of the hypotheses, (hypotheses,) each, fractions, on the device of the language model.

        Args:
            hypotheses: one text or more.
            references: one a hypothesis, unless reference_index says otherwise.
            reference_index: which reference each hypothesis is scored against; None: each its own.

        Raises:
            ValueError: there are not as many references as hypotheses, or numbers in reference_index; or no text at
                all.
        """
        if reference_index is None and len(hypotheses) != len(references):
            raise ValueError(f"there are {len(hypotheses)} hypotheses and {len(references)} references")
        if not hypotheses:
            raise ValueError("there is no hypothesis to score")
        return self.score_candidates(self._ids(hypotheses), self._ids(references), reference_index)

    def _ids(self, texts: Sequence[str]) -> Tensor:
        """The language model's ids of texts, (texts, longest), each with its end marker."""
        ids = pad_sequence([self._read(text) for text in texts], batch_first=True, padding_value=PADDING)
        return ids.to(self.embedding_table.device)
