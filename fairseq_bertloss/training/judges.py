"""How BERTScore reads candidates: as pieces of the language model, or as text."""

import logging
from collections import Counter
from collections.abc import Sequence

from torch import nn

from fairseq_bertloss.loss.bertscore_loss import BERTScoreLoss
from fairseq_bertloss.loss.matching import Scores
from fairseq_bertloss.loss.text_reward import TextReward
from fairseq_bertloss.training.reading import Reading
from fairseq_bertloss.training.texts import Texts
