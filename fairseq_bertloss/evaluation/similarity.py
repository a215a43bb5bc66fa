"""The matrix behind the BERTScore of one sentence: cosines between the tokens of a hypothesis and its reference."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from fairseq_bertloss.evaluation.f_bert import match
from fairseq_bertloss.evaluation.references import References
from fairseq_bertloss.evaluation.results import Similarity, System
from fairseq_bertloss.language_model.frozen import FrozenLanguageModel
from fairseq_bertloss.language_model.tokenization import encode
from fairseq_bertloss.language_model.vocabulary import load_tokenizer

LEGIBLE_TOKENS = 24
"""More on one axis are too small to read in a figure."""


def largest_gain(system: System, baseline: System, references: References, tokenizer) -> int | None:
    """The sentence whose F_BERT gained most over the baseline, in the first runs, among those short enough to draw."""
    ours = system.runs[0]
    theirs = baseline.runs[0]
    gains = np.subtract(ours.sentences["f_bert"], theirs.sentences["f_bert"]).tolist()
    for i in sorted(range(len(gains)), key=gains.__getitem__, reverse=True):
        lines = ours.hypotheses[i], theirs.hypotheses[i], *references.by_sentence[i]
        if all(2 < len(ids) <= LEGIBLE_TOKENS for ids in encode(tokenizer, lines)):
            return i
    return None


def similarities(
    systems: Sequence[System], sentence: int, references: References, lm: str, layer: int | None
) -> list[Similarity]:
    """The matrix of one sentence for each system, from its first run.

    Args:
        systems: whose translation of the sentence is compared with its reference, of several that of the best F_BERT.
        sentence: its index in the test set.
        references: of the test set.
        lm: hub name or folder of the language model.
        layer: its scoring layer; None: bert-score's choice for a known name.
    """
    tokenizer = load_tokenizer(lm)
    language_model = FrozenLanguageModel.from_pretrained(lm, layer)
    encoded = [_encode(line, tokenizer, language_model) for line in references.by_sentence[sentence]]
    matrices = []
    for system in systems:
        tokens, hypothesis = _encode(system.runs[0].hypotheses[sentence], tokenizer, language_model)
        reference_tokens, reference = max(encoded, key=lambda side: match(hypothesis, side[1])[-1])
        cosine = [[round(value, 4) for value in values] for values in (hypothesis @ reference.T).tolist()]
        matrices.append(Similarity(system.name, sentence, tokens, reference_tokens, cosine))
    return matrices


@torch.no_grad()
def _encode(line: str, tokenizer, language_model: FrozenLanguageModel) -> tuple[list[str], torch.Tensor]:
    """A line's tokens, markers included since BERTScore may match them, and unit vectors, (tokens, dim)."""
    (ids,) = encode(tokenizer, [line], language_model.max_length)
    embeddings = language_model.embedding_table[torch.tensor([ids])]
    contextual = language_model(embeddings, torch.ones(1, len(ids), dtype=torch.bool))
    return tokenizer.convert_ids_to_tokens(ids), F.normalize(contextual[0], dim=-1)
