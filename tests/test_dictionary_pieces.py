"""Which dictionaries are read as the language model's own pieces: its tokenizer must split text into their symbols."""

import logging

import pytest
import text_models
from lms import make_tokenizer, save_tiny
from prepared import PAIRS
from text_models import Foreign, foreign, sentence_piece  # noqa: F401, foreign is a fixture
from tokenizers import models

from fairseq_bertloss.language_model.tokenization import tokenize
from fairseq_bertloss.training.dictionary_pieces import is_made_of_pieces

RISK = ["--candidates", "2", "--sampled-candidates", "0", "--objective", "risk"]


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A tokenizer that has words, characters and another tool's pieces, and a language model with it."""
    folder = tmp_path_factory.mktemp("large")
    lines = [line for pair in PAIRS for line in pair]
    encode, _ = sentence_piece(folder)
    words = {f"▁{word}" for line in lines for word in line.split()}
    others = {piece for line in lines for piece in (*encode(line).split(), *line.replace(" ", "▁"))}
    tokenizer = make_tokenizer("xlm-roberta")
    specials = [(special, 0.0) for special in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")]
    pieces = [(piece, -1.0 if piece in words else -9.0) for piece in sorted(words | others)]
    tokenizer.backend_tokenizer.model = models.Unigram([*specials, *pieces], 3, False)
    return tokenizer, save_tiny("xlm-roberta", str(folder / "lm"), tokenizer)


@pytest.fixture
def own(large, tmp_path, monkeypatch):
    """A corpus of that language model's pieces, on both sides."""
    tokenizer, _ = large
    pieces = (lambda line: " ".join(tokenize(tokenizer, [line])[0])), []
    monkeypatch.setitem(text_models.KINDS, "own", lambda folder: pieces)
    return Foreign("own", tmp_path)


@pytest.mark.parametrize("kind, read_as", [("characters", "text"), ("sentencepiece", "text"), ("own", "pieces")])
def test_pieces_are_what_the_language_model_splits_text_into(large, own, foreign, caplog, kind, read_as):  # noqa: F811
    caplog.set_level(logging.INFO)
    lm = large[1]
    criterion, network, task, sample = (own if kind == "own" else foreign(kind)).build(*RISK, lm=lm)
    symbols = len(task.target_dictionary)
    assert f"reads candidates as {read_as} (--candidates-as): {symbols} of the target dictionary's {symbols}" in (
        caplog.text
    )
    assert ("but it splits the training set's references otherwise" in caplog.text) == (read_as == "text")
    if read_as == "text":
        assert criterion.rewards.texts.references(sample, True) == [PAIRS[i][1] for i in sample["id"].tolist()]
    assert is_made_of_pieces(task.target_dictionary, lm) == (kind != "characters")


def test_who_reads_them_as_pieces_all_the_same_is_warned(large, foreign, caplog):  # noqa: F811
    foreign("characters").build("--objective", "soft", lm=large[1])
    assert "splits the training set's references into other symbols than theirs: F is not that of the text" in (
        caplog.text
    )


def test_sources_of_pieces_are_joined_by_the_language_model(large, own):
    arguments = ["--reward", "bertscore,builtins:len", "--tokenizer", "moses", "-s", "de", "-t", "en"]
    criterion, _, _, sample = own.build(*RISK, *arguments, lm=large[1])
    texts = criterion.rewards.texts
    assert str(texts._target) == f"the tokenizer of {large[1]} and --tokenizer moses"
    assert str(texts._source) == f"the tokenizer of {large[1]}"
    sources = texts._texts(texts._source, sample["net_input"]["src_tokens"])
    assert sources == [PAIRS[i][0] for i in sample["id"].tolist()]
