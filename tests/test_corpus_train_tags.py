"""corpus/train_tags.py: which lines are sentences, and errors that name the talk."""

import io

import pytest
from archives import TRAIN, TRAIN_PAIRS

from fairseq_bertloss.corpus.train_tags import aligned_talks, read_talks

NAMES = "train.tags.de-en.de", "train.tags.de-en.en"


def talks(text: str | bytes, name: str = "t") -> list:
    return read_talks(io.BytesIO(text if isinstance(text, bytes) else text.encode()), name)


def pairs(de: str = TRAIN["de"], en: str = TRAIN["en"]) -> list:
    return aligned_talks(talks(de, NAMES[0]), talks(en, NAMES[1]), NAMES)


def test_titles_and_descriptions_are_sentences_and_other_tags_are_not():
    assert pairs() == TRAIN_PAIRS


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: "\n" + text,
        lambda text: text.replace("</title>", "</title> ").replace("<url>", "\t<url>"),
        lambda text: text.replace("<url>", '<doc docid="1" genre="lectures">\n<url>'),
        lambda text: "<doc>\n" + text.replace("\n<url>", "\n</doc>\n<doc>\n<url>") + "</doc>\n",
    ],
)
def test_other_ways_to_write_the_same(change):
    assert pairs(*map(change, TRAIN.values())) == TRAIN_PAIRS


def test_documents_without_url():
    text = '<doc docid="1">\n<talkid>5</talkid>\neins\n</doc>\n<doc docid="2">\nzwei\n</doc>\n'
    assert [(talk.identity, talk.sentences) for talk in talks(text)] == [("5", ["eins"]), ("?", ["zwei"])]


def test_markup_inside_a_sentence_stays():
    sentence = "<b>Das</b> ist <i>gut</i> und <b>neu</b>, <Lachen> 1 < 2 &c."
    whole = "<i>Das ist gut.</i>"
    assert talks(f"<url>x</url>\n{sentence}\n{whole}\n")[0].sentences == [sentence, whole]


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("Vielen Dank.\n", "", "tags.de-en.de: talk 344 .line 11. has 2 sentences, but train.tags.de-en.en has 3"),
        ("Vielen Dank.\n", "Vielen\nDank.\n", "de: talk 344 .line 11. has 4 sentences, but train.tags.de-en.en has 3"),
        (">344<", ">345<", "de: talk 345 .line 11. stands where train.tags.de-en.en has talk 344 .line 7."),
        ("<talkid>344</talkid>\n", "", r"de: talk \? .line 11. stands where"),
        (
            "Vielen Dank.\n",
            "Vielen Dank.\n<url>a</url>\n<talkid>9</talkid>\n",
            "de has 3 talks, but train.tags.de-en.en has 2: it ends before talk 9 .line 17.",
        ),
        (TRAIN["de"][TRAIN["de"].rindex("<url>") :], "", "en has 2 talks, but train.tags.de-en.de has 1: .* talk 344"),
        ("Tiefsee</title>", "Tiefsee", "de:5: <title> must be alone on its line, and closed"),
        ("Tiefsee</title>", "Tiefsee</title> und mehr", "de:5: <title> must be alone"),
        ("<title>Nur", "<title>A</title>\n<title>Nur", "de:14: second <title> of talk 344, which starts at line 11"),
        ("<url>http", "Vorweg\n<url>http", "de:1: text before the first <url>"),
        (TRAIN["de"], "", "de has no talks"),
        (TRAIN["de"], "nur ein Satz\n", "de:1: text before the first <url>"),
    ],
)
def test_what_is_not_parallel_is_an_error(old, new, message):
    assert old in TRAIN["de"]
    with pytest.raises(ValueError, match=message):
        pairs(TRAIN["de"].replace(old, new, 1))


def test_bytes_that_are_not_utf8_are_located():
    with pytest.raises(ValueError, match="t:5: not UTF-8: .* at byte 20"):
        talks(TRAIN["de"].encode().replace("über".encode(), b"\xfcber"))
