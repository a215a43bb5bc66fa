"""Text -> what a language model reads of it, and its pieces -> text.

Whoever reads text does it by `encode` or `tokenize`: the corpus, idf weights, BERTScore and MoverScore.
"""

import functools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fairseq_bertloss.language_model.spaces import loses_spaces
from fairseq_bertloss.language_model.vocabulary import special_ids
from fairseq_bertloss.text import unspaced
from fairseq_bertloss.text.canonical import composed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

UNKNOWN = "⁇"
"""Text of an unknown symbol, as SentencePiece has it: a word to BLEU, the unknown token to every language model."""
UNKNOWN_IN_REFERENCE = "⍰"
"""The same in a reference, which must not match a translation's in BLEU, chrF and TER."""


def encode(
    tokenizer: "PreTrainedTokenizerBase", lines: Sequence[str], max_length: int | None = None
) -> list[list[int]]:
    """What a language model reads of each line: token ids, its markers of beginning and end included.

    Everything that reads text does it by this rule: the corpus, idf weights, BERTScore and MoverScore. Text that
    spells a special token ("</s>", "[SEP]") is split like other text, or becomes the unknown token where the model's
    pieces cannot spell it, so that it never ends a sentence. One special counts: the unknown token, spelt as the
    tokenizer spells it, as UNKNOWN or as UNKNOWN_IN_REFERENCE.

    Args:
        tokenizer: the language model's, as from `load_tokenizer`.
        lines: text; white space around it does not count, nor how its accents are stored.
        max_length: ids that a line may have, markers included; the last ones before the end are cut off.
    """
    roles = special_ids(tokenizer)
    specials = set(tokenizer.all_special_ids)
    room = None if max_length is None else max_length - 2
    inner = (_read(tokenizer, composed(line).strip())[:room] for line in lines)
    return [[roles.bos, *(roles.unk if i in specials else i for i in ids), roles.eos] for ids in inner]


def tokenize(tokenizer: "PreTrainedTokenizerBase", lines: Sequence[str]) -> list[list[str]]:
    """Word pieces of each line by the rule of `encode`, without sentence markers."""
    return [tokenizer.convert_ids_to_tokens(ids[1:-1]) for ids in encode(tokenizer, lines)]


def detokenize(tokenizer: "PreTrainedTokenizerBase", pieces: Sequence[str]) -> str:
    """The text of word pieces, composed like all text.

    Where the pieces do not record spaces (WordPiece), the spaces before punctuation and English
    clitics are taken out again, as transformers' clean_up_tokenization does, and those between ideographs.
    """
    text = composed(tokenizer.convert_tokens_to_string(list(pieces)))
    return unspaced.join(tokenizer.clean_up_tokenization(text)) if loses_spaces(tokenizer) else text.strip()


def respaced(tokenizer: "PreTrainedTokenizerBase", line: str) -> str:
    """A line with the spaces that `detokenize` gives its pieces, and otherwise spelt as it is.

    It stays what it is where its pieces record spaces, or its tokenizer (a slow one) cannot say where they stand.
    """
    if not loses_spaces(tokenizer) or not tokenizer.is_fast:
        return line
    options = dict(add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True, verbose=False)
    encoding = tokenizer(line, **options)
    pieces = tokenizer.convert_ids_to_tokens(encoding["input_ids"])
    spans = (line[start:end] for start, end in encoding["offset_mapping"])
    spelt = [f"##{span}" if piece.startswith("##") else span for piece, span in zip(pieces, spans, strict=True)]
    return detokenize(tokenizer, spelt)


def _read(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    """Ids of a line without markers; a special token may be among them where the pieces can spell it."""
    unknown = _unknown_spelling(tokenizer)
    word = _unknown_word(tokenizer)
    if word is not None:
        return _text_ids(tokenizer, unknown.sub(word, text))
    # Nothing is unknown to byte-level pieces: what stands between is read by itself.
    first, *others = (_text_ids(tokenizer, part) if part else [] for part in unknown.split(text))
    return first + [token_id for other in others for token_id in (tokenizer.unk_token_id, *other)]


def _text_ids(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]


@functools.lru_cache(maxsize=8)
def _unknown_spelling(tokenizer: "PreTrainedTokenizerBase") -> re.Pattern:
    """What finds the spellings, whatever their case, which `bertloss prepare --lowercase` takes away."""
    return re.compile("|".join(map(re.escape, (tokenizer.unk_token, UNKNOWN, UNKNOWN_IN_REFERENCE))), re.IGNORECASE)


@functools.lru_cache(maxsize=8)
def _unknown_word(tokenizer: "PreTrainedTokenizerBase") -> str | None:
    """A word that is read as the unknown token, but for a piece for the space before it; None: there is none."""
    for word in (UNKNOWN, UNKNOWN_IN_REFERENCE, "\U00013000"):
        ids = _text_ids(tokenizer, word)
        if ids and ids[-1] == tokenizer.unk_token_id and len(ids) <= 2:
            return word
    return None
