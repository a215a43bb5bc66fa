"""subwords.py and unjoined.py: text that is no text yet."""

import pytest
from fairseq.data.data_utils import post_process
from prepared import PAIRS

from fairseq_bertloss.evaluation.hypotheses import read_references, read_translations
from fairseq_bertloss.language_model.tokenization import UNKNOWN, UNKNOWN_IN_REFERENCE
from fairseq_bertloss.language_model.vocabulary import load_tokenizer
from fairseq_bertloss.text.subwords import join, kind_of

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

KINDS = {"@@": "subword_nmt", "▁": "sentencepiece"}
SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "madeupword0000", "[en_XX]"]


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


FOREIGN = [
    *(line for mark, line in SUBWORDS.items() if mark not in KINDS),
    "the ##nge",
    "Ġneither",
    "ora</w> <<unk>>",
]


@pytest.mark.parametrize("line", FOREIGN)
@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "electra"])
@pytest.mark.parametrize("has_detokenized", [False, True])
def test_targets_of_other_pieces_are_refused(line, family, has_detokenized, tiny_lm, write):
    """D- lines that repeat the hypotheses make no text of them."""
    hypothesis = line.replace("<<unk>>", "<unk>")
    detokenized = f"D-0\t-1\t{hypothesis}\n" if has_detokenized else ""
    path = write("gen", generated(line, hypothesis) + detokenized)
    for read in (read_translations, read_references):
        with pytest.raises(
            ValueError, match="gen: sentence 0 has '.*which is no piece of .*name the model .* --word-pieces-lm"
        ):
            read(path, load_tokenizer(tiny_lm(family)))


JOINED = {
    "Zwei un@@ gel@@ ein@@ te Hunde <<unk>> laufen .": f"Zwei ungeleinte Hunde {UNKNOWN_IN_REFERENCE} laufen .",
    "▁Two ▁un leash ed ▁dogs ▁are ▁running .": "Two unleashed dogs are running.",
    "ora@@ nge": "orange",
    "▁neither": "neither",
    "T w o ▁ d o g s 7": "Two dogs7",
}


@pytest.mark.parametrize("line", JOINED)
@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "electra"])
@pytest.mark.parametrize("has_detokenized", [False, True])
def test_marks_that_cannot_be_mistaken_are_undone(line, family, has_detokenized, tiny_lm, write, caplog):
    hypothesis = line.replace("<<unk>>", "<unk>")
    detokenized = f"D-0\t-1\t{hypothesis}\n" if has_detokenized else ""
    path = write("gen", generated(line, hypothesis) + detokenized)
    tokenizer = load_tokenizer(tiny_lm(family))
    assert read_references(path, tokenizer) == [JOINED[line]]
    assert read_translations(path, tokenizer).text == [JOINED[line].replace(UNKNOWN_IN_REFERENCE, UNKNOWN)]
    lines = "D" if has_detokenized else "H"
    for kind, said in zip(("T", lines), caplog.messages, strict=True):
        assert said.startswith(f"{path}, {kind}- lines: ") and "joined here, as --post-process " in said


@pytest.mark.parametrize("kind", KINDS.values())
def test_marks_are_undone_as_fairseq_does_it(kind):
    for line in [*SUBWORDS.values(), *JOINED, "", " ora@@ nge  ora@@", "▁ ▁▁a"]:
        assert join(line, kind) == post_process(line, kind)


@pytest.mark.parametrize("detokenized", ["Two unleashed dogs aren't <unk>.", "two unlea"])
def test_what_fairseq_detokenized_is_text(detokenized, minilm, write, caplog):
    """Whatever the hypotheses are."""
    for hypothesis in SUBWORDS["@@"], "zwei ungeleinte", SUBWORDS["</w>"]:
        path = write("gen", generated("a dog", hypothesis) + f"D-0\t-1\t{detokenized}\n")
        assert read_translations(path, load_tokenizer(minilm)).text == [detokenized.replace("<unk>", UNKNOWN)]
    assert not caplog.text


def test_pieces_of_gpt_2_are_numbers(minilm, write):
    path = write("gen", generated("464 3290 <<unk>>", "464 3290 <unk>") + "D-0\t-1\t464 3290 <unk>\n")
    for read, lines in (read_translations, "D"), (read_references, "T"):
        with pytest.raises(ValueError, match=f"gen, {lines}- lines: these are numbers of pieces, .*--bpe gpt2"):
            read(path, load_tokenizer(minilm))


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
