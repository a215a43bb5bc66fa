"""BERTScore of translations by the bert-score package: its figures, with clear errors and a short signature.

    FBertScorer("bert-base-uncased").score(hypotheses, references).f_bert
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from fairseq_bertloss.pretrained import encoder_config, max_length, position_table, scoring_layer, short_name
from fairseq_bertloss.vocabulary import load_tokenizer


class BERTScores(NamedTuple):
    """Precision, recall and F1 of every pair, fractions."""

    p_bert: list[float]
    r_bert: list[float]
    f_bert: list[float]


class FBertScorer:
    """BERTScore (Zhang et al., 2020) without idf and rescaling.

    Args:
        lm: hub name or folder of an encoder.
        layer: the scoring layer; None: bert-score's choice for a known name.
        device: where the language model goes; None: a GPU if there is one.

    Raises:
        ValueError: there is no such language model or layer, or it has no room for a sentence.
    """

    def __init__(self, lm: str, layer: int | None = None, device: str | None = None):
        from bert_score import BERTScorer

        load_tokenizer(lm)  # for its error, if there is no such model
        self.layer = scoring_layer(lm, layer, encoder_config(lm))
        self.lm = lm
        self._scorer = BERTScorer(model_type=lm, num_layers=self.layer, device=device)
        # bert-score cuts longer sentences where the tokenizer says so, which knows no end in some folders. Where positions are
        # relative there need be none.
        encoder, tokenizer = self._scorer._model, self._scorer._tokenizer
        if position_table(encoder) is not None:
            tokenizer.model_max_length = min(tokenizer.model_max_length, max_length(encoder, lm))

    @property
    def signature(self) -> str:
        """bert-score's hash, the model by its short name."""
        return self._scorer.hash.replace(self.lm, short_name(self.lm), 1)

    def score(self, hypotheses: Sequence[str], references: Sequence[str]) -> BERTScores:
        """Scores pairs; a pair with nothing on one side scores 0.

        Args:
            hypotheses: one a pair.
            references: one a pair.

        Raises:
            ValueError: as many of the one as of the other are needed; the language model gives no finite numbers.
        """
        if len(hypotheses) != len(references):
            raise ValueError(f"there are {len(hypotheses)} hypotheses and {len(references)} references")
        scores = BERTScores(*([0.0] * len(references) for _ in BERTScores._fields))
        # bert-score warns of empty sentences each time, and gives them 0 as well.
        full = [i for i, pair in enumerate(zip(hypotheses, references)) if all(side.strip() for side in pair)]
        if not full:
            return scores
        found = self._scorer.score([hypotheses[i] for i in full], [references[i] for i in full])
        for values, by_pair in zip(scores, found):
            for i, value in zip(full, by_pair.tolist()):
                if not math.isfinite(value):
                    raise ValueError(
                        f"BERTScore of {hypotheses[i]!r} is {value}: the language model {self.lm!r} gives no finite "
                        "embeddings; are its weights damaged?"
                    )
                values[i] = value
        return scores
