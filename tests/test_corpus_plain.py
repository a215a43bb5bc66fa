"""corpus/plain.py: files in a folder, gzipped or not, and Moses tokens put back together."""

import gzip

import pytest
from archives import write_tree
from sacremoses import MosesTokenizer

from fairseq_bertloss.corpus.lines import read_lines
from fairseq_bertloss.corpus.plain import PlainText, moses_detokenizer
from fairseq_bertloss.files import checksum

FILES = {
    "train.de": "Guten  Tag!\r\nAuf &amp; ab.\n",
    "train.en.gz": gzip.compress(b"Hello!\nUp &amp; down.\n"),
    "test.2016.de.gz": gzip.compress("\ufeffZwei Hunde.\n".encode()),
    "test.2016.en": "Two dogs.\n",
    "valid.en": "Nobody knows.\n",
    "notes.txt": "",
}


def corpus(folder, files=FILES, **options) -> PlainText:
    return PlainText(write_tree(folder, files), "de", "en", **options)


def test_sets_have_both_sides(tmp_path):
    assert corpus(tmp_path).sets() == ["test.2016", "train"]


def test_text_is_taken_as_it_is(tmp_path):
    text = corpus(tmp_path)
    assert text.pairs("train") == [("Guten Tag!", "Hello!"), ("Auf &amp; ab.", "Up &amp; down.")]
    assert text.pairs("test.2016") == [("Zwei Hunde.", "Two dogs.")]
    assert text.checksums(["train"]) == {name: checksum(str(tmp_path / name)) for name in ("train.de", "train.en.gz")}


@pytest.mark.parametrize(
    "files, name, message",
    [
        ({}, "valid", "valid.de is missing, and so is its .gz"),
        ({}, "dev", "no set 'dev'; its sets: test.2016, train"),
        ({"train.de.gz": b""}, "train", "train.de and .*train.de.gz both exist; remove one"),
        ({"train.de": "ein\nzwei\ndrei\n"}, "train", "train.de has 3 lines but .*train.en.gz has 2"),
        ({"train.de": b"gut\n\xff\n"}, "train", "train.de:2: not UTF-8"),
        ({"train.en.gz": FILES["train.en.gz"][:-9]}, "train", "train.en.gz:3: damaged or truncated"),
    ],
)
def test_bad_sets(files, name, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        corpus(tmp_path, FILES | files).pairs(name)


def test_no_folder(tmp_path):
    with pytest.raises(ValueError, match="train.de is not a folder: name one with train.de in it"):
        PlainText(write_tree(tmp_path, FILES) + "/train.de", "de", "en")


@pytest.mark.parametrize(
    "language, tokens, text",
    [
        ("en", "i &apos;ll show you , &quot; reg e . &quot;", 'i\'ll show you, "reg e."'),
        ("en", "that &apos;s &#91; laughter &#93; at &amp; t", "that's [laughter] at & t"),
        ("en", "&amp;lt; &amp;apos; stays escaped once", "&lt; &apos; stays escaped once"),
        ("de", "ich wusste nicht , wohin . ich ahnte nichts .", "ich wusste nicht, wohin . ich ahnte nichts."),
        ("de", "Ich weiß . Er auch .", "Ich weiß. Er auch."),
        ("de", "1990 . 2000 . <x>", "1990. 2000. <x>"),
        ("de", ".", "."),
        ("de", "", ""),
    ],
)
def test_moses_tokens_become_text(language, tokens, text):
    assert moses_detokenizer(language)(tokens) == text


def test_moses_tokenized_corpus(tmp_path):
    files = {"train.de": "wie geht &apos;s ?\n", "train.en": "how &apos;s it going ?\n"}
    text = corpus(tmp_path, files, moses_tokenized=True)
    assert text.pairs("train")[0][1] == "how's it going?"
    assert text.settings != corpus(tmp_path, files).settings


@pytest.mark.parametrize("language", ["de", "en"])
def test_real_tokens_survive_the_round_trip(language, shared):
    plain = moses_detokenizer(language)
    tokenize = MosesTokenizer(lang=language).tokenize
    lines = list(read_lines(str(shared / "data" / "iwslt14.de-en" / f"valid.{language}.gz")))[::7]
    texts = [plain(line) for line in lines]
    assert not any(escape in text for text in texts for escape in ("&apos;", "&quot;", "&amp;", "&#"))
    same = sum(tokenize(text, return_str=True) == line for text, line in zip(texts, lines, strict=True))
    assert same / len(lines) > 0.99
