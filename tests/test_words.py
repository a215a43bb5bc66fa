"""words.py: the positions that stand for words, in tokenizers of every kind."""

import string

import lms
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from fairseq_bertloss.evaluation.words import WordFinder
from fairseq_bertloss.language_model.vocabulary import load_tokenizer


def found(tokenizer, text):
    ids = tokenizer(text)["input_ids"]
    positions = WordFinder(tokenizer)(ids)
    assert positions[0] == 0 and positions[-1] == len(ids) - 1
    return [tokenizer.convert_ids_to_tokens(ids[position]) for position in positions[1:-1]]


def test_word_pieces_as_the_package_finds_them(minilm, real_pairs):
    tokenizer = load_tokenizer(minilm)
    find_words = WordFinder(tokenizer)
    for text in [*lms.TEXT, *real_pairs[1], "“naïve” — 日本 x2 (unleashed) U.S. …"]:
        encoding = tokenizer(text)
        left_out = [piece.startswith("##") or piece in set(string.punctuation) for piece in encoding.tokens()]
        assert find_words(encoding["input_ids"]) == [i for i, left in enumerate(left_out) if not left]


def test_byte_level_words(tiny_lm):
    tokenizer = load_tokenizer(tiny_lm("roberta"))
    text = "The woman is (house) roof's a-b"
    assert found(tokenizer, text) == ["The", "Ġwoman", "Ġis", "h", "Ġroof", "s", "Ġa", "b"]


VOCABULARY = [
    "▁the",
    "▁dog",
    "s",
    "▁(",
    "word",
    ")",
    "'",
    "t",
    "▁isn",
    "▁",
    "日本",
    "語",
    "は",
    "...",
    "▁“",
    "ไป",
    "quote",
]


@pytest.fixture(scope="module")
def sentence_piece():
    """A tokenizer such as XLM-R's, whose pieces are known."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    model = models.Unigram([(piece, -len(special)) for piece in special + VOCABULARY + ["▁a", "▁b"]], 3, False)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, cls_token="<s>", sep_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


@pytest.mark.parametrize(
    "pieces, words",
    [
        ("▁the ▁dog s", "▁the ▁dog"),
        ("▁the ▁( word s ) s", "▁the word s"),
        ("▁isn ' t", "▁isn t"),
        ("▁ 日本 語 は s ...", "日本 語 は s"),
        ("▁dog ... 日本", "▁dog 日本"),
        ("▁“ quote s", "▁“ quote"),
        ("▁ ไป ไป", "ไป ไป"),
        ("▁ word s", "word"),
        ("▁ ...", ""),
    ],
)
def test_words_after_marks(pieces, words, sentence_piece):
    pieces = pieces.split()
    ids = sentence_piece.convert_tokens_to_ids(["<s>", *pieces, "</s>"])
    assert sentence_piece.unk_token_id not in ids
    positions = WordFinder(sentence_piece)(ids)
    assert [pieces[position - 1] for position in positions[1:-1]] == words.split()


def test_words_without_marks_are_refused():
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "[UNK]": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(ValueError, match="marks neither"):
        WordFinder(PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]"))
