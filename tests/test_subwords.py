"""subwords.py and unjoined.py: text that is no text yet."""

import pytest
from prepared import PAIRS

from fairseq_bertloss.evaluation.hypotheses import read_references, read_translations
from fairseq_bertloss.language_model.vocabulary import load_tokenizer
from fairseq_bertloss.text.subwords import kind_of

GERMAN, ENGLISH = (list(side) for side in zip(*PAIRS, strict=True))
SUBWORDS = {
    "@@": "Zwei un@@ gel@@ ein@@ te Hunde laufen .",
    "##": "two un ##lea ##shed dogs are running .",
    "▁": "▁Two ▁un leash ed ▁dogs ▁are ▁running .",
    "Ġ": "Two Ġun le ashed Ġdogs Ġare Ġrunning .",
    "</w>": "two</w> un lea shed</w> dogs</w> .</w>",
    "￭": "Two un￭ leashed dogs are running ￭.",
    "■": "Two un■ leashed dogs are running ■.",
}


@pytest.mark.parametrize("read", [read_translations, read_references])
@pytest.mark.parametrize("mark", SUBWORDS)
def test_subwords_are_warned_of_in_one_line(mark, read, write, caplog):
    path = write("hyp", "\n".join([*ENGLISH, *[SUBWORDS[mark]] * 5]))
    read(path, None)
    assert caplog.text.count("\n") == 1 and f"the subword mark {mark} (" in caplog.text
    assert f"{path}: " in caplog.text and "join the subwords to words first" in caplog.text


def test_pieces_of_chinese_have_a_mark_a_line(write, caplog):
    read_translations(write("hyp", "▁我们 试 试看 ！\n▁我 该 去 睡觉 了 。\n"), None)
    assert "mark ▁" in caplog.text


@pytest.mark.parametrize(
    "line",
    [
        *SUBWORDS.values(),
        "@@ -1,3 +1,4 @@ is the head of a hunk",
        "## A heading",
        "■ An item of a list\n■ Another\n■ A third",
        "write <unk> for a word that is not known",
        "ĠURNATA TA' RAĠEL BLA ĠENB",
        "L-Imnarja hija festa f'Malta li tiġi ċċelebrata f'Ġunju, u Ġorġ jiġi dejjem.",
    ],
)
def test_one_such_line_among_many_is_text(line, write, caplog):
    text = [other for other in [*ENGLISH * 3, *GERMAN * 12] if "<unk>" not in other]
    read_translations(write("hyp", "\n".join([*text, line])), None)
    assert not caplog.text


def test_one_such_word_is_text(write, caplog):
    read_translations(write("hyp", "C@@ is no language\nA ▁ is a block\n"), None)
    assert not caplog.text


def test_what_fairseq_generate_printed_is_made_of_pieces(write, caplog, minilm):
    read_translations(write("gen", "S-0\tun@@ gel@@ einte\nH-0\t-1\tun ##lea ##shed dogs\n"), load_tokenizer(minilm))
    assert not caplog.text


def test_marks_in_the_place_of_spaces(write, caplog):
    read_translations(write("hyp", "TwoĠunleashedĠdogsĠareĠrunning.\nTheĠdogĠisĠblack.\n"), None)
    assert "2 of 2 words have the subword mark Ġ (TwoĠunleashedĠdogsĠareĠrunning)" in caplog.text


@pytest.mark.parametrize("read", [read_translations, read_references])
@pytest.mark.parametrize("line", ["the <unk> is blue", "<unk>, <<unk>>", "我<unk>你 <unk>。"])
def test_fairseqs_unknown_symbol_is_warned_of_in_one_line(line, read, write, caplog):
    path = write("hyp", "\n".join([*ENGLISH * 3, line, line]))
    read(path, None)
    assert caplog.text.count("\n") == 1 and "words have fairseq's unknown symbol (" in caplog.text
    assert f"{path}: " in caplog.text and "pass all that fairseq-generate printed" in caplog.text


def generated(target: str, hypothesis: str) -> str:
    return f"T-0\t{target}\nH-0\t-1\t{hypothesis}\n"


@pytest.mark.parametrize("line", [*SUBWORDS.values(), "ora@@ nge", "▁neither", "ora@@ <<unk>>"])
@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "electra"])
def test_targets_of_other_pieces_are_refused(line, family, tiny_lm, write):
    path = write("gen", generated(line, line.replace("<<unk>>", "<unk>")))
    for read in (read_translations, read_references):
        with pytest.raises(
            ValueError, match="gen: sentence 0 has '.*which is no piece of .*name the model .* --word-pieces-lm"
        ):
            read(path, load_tokenizer(tiny_lm(family)))


@pytest.mark.parametrize("hypothesis", [*SUBWORDS.values(), "Two dogs of -- unleashed -- kind run."])
def test_targets_that_are_text_already(hypothesis, minilm, write, caplog):
    """As by --tokenizer word_pieces or --remove-bpe, whatever the hypotheses are made of."""
    target = "Two unleashed dogs aren't running -- @ 8% or # 5."
    assert read_references(write("gen", generated(target, hypothesis)), load_tokenizer(minilm)) == [target]
    assert not caplog.text


@pytest.mark.parametrize("hypothesis", ["two un ##lea ##shed dogs", "", "▁Two ▁dogs"])
def test_targets_of_other_pieces_than_the_hypotheses(hypothesis, minilm, write, caplog):
    """No run prints that; what the targets are cannot be told."""
    read_references(write("gen", generated("zwei oran@@ ge hunde", hypothesis)), load_tokenizer(minilm))
    assert caplog.text.count("\n") == 1 and "the subword mark @@ (oran@@)" in caplog.text


KINDS = {"@@": "subword_nmt", "▁": "sentencepiece"}
SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "madeupword0000", "[en_XX]"]


@pytest.mark.parametrize("mark", SUBWORDS)
def test_what_fairseq_calls_the_marks(mark):
    words = " ".join([*ENGLISH, *[SUBWORDS[mark]] * 5]).split()
    assert kind_of(words) == KINDS.get(mark), "of a text"
    assert kind_of([*SPECIALS, *dict.fromkeys(words)]) == KINDS.get(mark), "of a dictionary"


def test_what_fairseq_calls_characters():
    """Of a hundred symbols one is the space, which half of all words have."""
    text = " ".join(GERMAN).replace(" ", "▁")
    assert kind_of(text) == "sentencepiece"
    assert kind_of([*SPECIALS, *dict.fromkeys(text)]) == "sentencepiece"
    assert kind_of(dict.fromkeys(text.replace("▁", ""))) is None


def test_words_have_no_marks():
    assert kind_of(" ".join([*ENGLISH, "C@@ is no language"]).split()) is None
    assert kind_of([]) is None
