"""bert-score 0.3.13 beside transformers 5, as it is beside transformers 4."""

from types import SimpleNamespace

import bert_score.utils
import transformers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, RobertaTokenizer


def mend_bert_score() -> None:
    """Gives the package back what it asks of a tokenizer and transformers 5 has no more.

    Left alone, it ends in an AttributeError at an empty text, and reads RoBERTa's first word without the space before
    it: the option that it passes for this is not heard any more.
    """
    if int(transformers.__version__.split(".")[0]) >= 5:
        bert_score.utils.sent_encode = _encode
        bert_score.utils.AutoTokenizer = SimpleNamespace(from_pretrained=_tokenizer)


def _encode(tokenizer: PreTrainedTokenizerBase, sentence: str) -> list[int]:
    return tokenizer.encode(sentence.strip(), max_length=tokenizer.model_max_length, truncation=True)


def _tokenizer(name: str, use_fast: bool = False) -> PreTrainedTokenizerBase:
    tokenizer = AutoTokenizer.from_pretrained(name)
    if isinstance(tokenizer, RobertaTokenizer):
        return AutoTokenizer.from_pretrained(name, add_prefix_space=True)
    return tokenizer
