"""Symbols meet ids by name, whatever their order, and text survives the way there and back."""

import pytest
from fairseq.data import Dictionary

from fairseq_bertloss.language_model.tokenization import detokenize, encode, tokenize
from fairseq_bertloss.language_model.vocabulary import (
    Specials,
    align,
    dictionary_symbols,
    load_tokenizer,
    special_ids,
    symbol_names,
    write_dictionary,
)


@pytest.fixture(scope="module")
def tokenizer(minilm):
    return load_tokenizer(minilm)


@pytest.fixture(scope="module")
def turkish(shared):
    folder = shared / "models" / "e5-small-en-es-tr"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    return load_tokenizer(str(folder))


def test_symbols_align_by_name_in_any_order(tokenizer):
    symbols = ["dog", "</s>", "##ing", "<pad>", "a", "<unk>", "<s>"]
    expected = tokenizer.convert_tokens_to_ids(["dog", "[SEP]", "##ing", "[PAD]", "a", "[UNK]", "[CLS]"])
    assert align(symbols, tokenizer).tolist() == expected


def test_specials_may_have_other_names(tokenizer):
    specials = Specials(bos="[B]", pad="[P]", eos="[E]", unk="[U]")
    ids = align(["[U]", "[E]", "[P]", "[B]"], tokenizer, specials).tolist()
    assert ids == [tokenizer.unk_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id, tokenizer.cls_token_id]


def test_missing_special_is_named(tokenizer):
    with pytest.raises(ValueError, match="pad='<pad>'"):
        align(["<s>", "</s>", "<unk>", "dog"], tokenizer)


def test_padding_of_finalize_becomes_unknown(tokenizer):
    dictionary = Dictionary()
    for word in ("dog", "cat", "the"):
        dictionary.add_symbol(word)
    dictionary.finalize(padding_factor=8)
    assert "madeupword0000" in dictionary.symbols
    symbols, specials = symbol_names(dictionary)
    by_symbol = dict(zip(symbols, align(symbols, tokenizer, specials).tolist(), strict=True))
    assert by_symbol["madeupword0000"] == tokenizer.unk_token_id
    assert by_symbol["dog"] == tokenizer.convert_tokens_to_ids("dog")


def test_unknown_symbols_are_counted_shown_and_the_command_named(tokenizer):
    foreign = [f"hund@@{i}" for i in range(7)]
    with pytest.raises(ValueError) as error:
        align([*Specials(), "dog", *foreign], tokenizer)
    message = str(error.value)
    assert "7 of the target dictionary's 12 symbols" in message
    assert sum(repr(symbol) in message for symbol in foreign) == 5
    assert f"bertloss vocabulary --lm {tokenizer.name_or_path}" in message


def test_whole_vocabulary_round_trip_through_fairseq(tokenizer, tmp_path):
    path = str(tmp_path / "dict.txt")
    write_dictionary(path, dictionary_symbols(tokenizer))
    dictionary = Dictionary.load(path)
    assert len(dictionary) == len(tokenizer.get_vocab()) == 30522
    ids = align(*symbol_names(dictionary)[:1], tokenizer).tolist()
    assert sorted(ids) == sorted(tokenizer.get_vocab().values())
    assert list(tmp_path.iterdir()) == [tmp_path / "dict.txt"]


def test_counts_reach_the_dictionary(tmp_path):
    path = str(tmp_path / "dict.txt")
    write_dictionary(path, ["dog", "##s"], {"dog": 12})
    dictionary = Dictionary.load(path)
    assert [dictionary.get_count(dictionary.index(symbol)) for symbol in ("dog", "##s")] == [12, 1]


@pytest.mark.parametrize("text", ["the end </s> .", "a [SEP] b", "[PAD] [CLS]", "<unk> <s>"])
def test_text_that_spells_a_special_is_ordinary_text(tokenizer, text):
    (pieces,) = tokenize(tokenizer, [text])
    assert len(pieces) > len(text.split())
    assert not {*tokenizer.all_special_tokens, *Specials()} & set(pieces)


def test_character_that_the_pieces_cannot_spell_is_unknown(tokenizer):
    assert tokenize(tokenizer, ["a ☃"]) == [["a", "[UNK]"]]


@pytest.mark.parametrize("text", ["a ⁇ b", "a ⍰ b", "a [UNK] b", "a [unk] b"])
def test_the_unknown_token_is_the_special_that_counts(tokenizer, text):
    assert tokenize(tokenizer, [text]) == [["a", "[UNK]", "b"]]
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    assert encode(tokenizer, [f" {text} ", ""]) == [tokenizer("a [UNK] b")["input_ids"], [cls, sep]]


def test_ids_are_cut_before_the_end(tokenizer):
    assert encode(tokenizer, ["a dog runs"], 4) == [tokenizer("a dog")["input_ids"]]


@pytest.mark.parametrize(
    "text", ["two dogs, one cat.", "it's the neighbour's dog, isn't it?", "overwintering unphotographable wildlife!"]
)
def test_english_text_survives_pieces(tokenizer, text):
    (pieces,) = tokenize(tokenizer, [text])
    assert len(pieces) > len(text.split())
    assert detokenize(tokenizer, pieces) == text


def test_decoder_only_tokenizer_is_refused(tokenizer):
    decoder_only = load_tokenizer(tokenizer.name_or_path)
    decoder_only.cls_token = None
    with pytest.raises(ValueError, match=r"\[CLS\].*encoder"):
        special_ids(decoder_only)


def test_absent_model_names_the_remedy(tmp_path):
    with pytest.raises(ValueError, match="config.json"):
        load_tokenizer(str(tmp_path))


def test_turkish_text_survives_sentence_pieces(turkish):
    text = "İstanbul'da ışıklar söndü, çığlık duyuldu; ılık bir IŞIK."
    (pieces,) = tokenize(turkish, [text])
    assert "<unk>" not in pieces
    assert detokenize(turkish, pieces) == text


def test_turkish_vocabulary_round_trip(turkish, tmp_path):
    path = str(tmp_path / "dict.txt")
    symbols = dictionary_symbols(turkish)
    write_dictionary(path, symbols)
    dictionary = Dictionary.load(path)
    assert dictionary.symbols[dictionary.nspecial :] == symbols
    ids = align(dictionary.symbols, turkish).tolist()
    assert turkish.convert_ids_to_tokens(ids[4:]) == symbols
    assert len(set(ids)) == len(ids)


def test_turkish_unknown_keeps_its_space(turkish):
    """A character without a piece, with and without a space before it, and what may stand for it."""
    odd = ["bu \U00013000 bir", "bu \U00013000.", "bu\U00013000bir"]
    for spelling in ("⁇", "⍰", "<unk>"):
        assert encode(turkish, [line.replace("\U00013000", spelling) for line in odd]) == encode(turkish, odd)


def test_turkish_text_that_spells_a_special_ends_no_sentence(turkish):
    (pieces,) = tokenize(turkish, ["bu </s> bir <pad> deneme"])
    assert not {"</s>", "<s>", "<pad>"} & set(pieces)
