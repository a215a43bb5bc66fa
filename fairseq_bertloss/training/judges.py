"""How BERTScore reads candidates: their symbols as pieces of the language model, or their text."""

from torch import nn

from fairseq_bertloss.loss.bertscore_loss import BERTScoreLoss
from fairseq_bertloss.loss.matching import Scores
from fairseq_bertloss.loss.text_reward import TextReward
from fairseq_bertloss.training.reading import Reading
from fairseq_bertloss.training.texts import Texts


class PieceJudge(nn.Module):
    """Reads symbols, which are pieces of the language model: no text is made.

    Args:
        bertscore: of the target's symbols.
    """

    def __init__(self, bertscore: BERTScoreLoss):
        super().__init__()
        self.bertscore = bertscore

    def forward(self, reading: Reading, texts: Texts | None) -> Scores:
        """Scores of the candidates, (candidates,) each."""
        sentences = reading.sides.sentence_of_candidate
        return self.bertscore.score_candidates(reading.candidates, reading.references, sentences)


class TextJudge(nn.Module):
    """Reads text by the language model's own tokenizer, as `bertloss score` does.

    Args:
        bertscore: of texts.
    """

    def __init__(self, bertscore: TextReward):
        super().__init__()
        self.bertscore = bertscore

    def forward(self, reading: Reading, texts: Texts) -> Scores:
        """Scores of the candidates, (candidates,) each."""
        device = reading.features.device
        if self.bertscore.embedding_table.device != device:
            self.to(device)  # fairseq does not move criteria that have no parameters when distributed
        return self.bertscore(texts.hypotheses, texts.references, texts.sentence_of_candidate)
