"""subwords.py: text that is no text yet."""

import pytest
from prepared import PAIRS

from fairseq_bertloss.evaluation.hypotheses import read_references, read_translations

GERMAN, ENGLISH = (list(side) for side in zip(*PAIRS))
SUBWORDS = {
    "@@": "Zwei un@@ gel@@ ein@@ te Hunde laufen .",
    "##": "two un ##lea ##shed dogs are running .",
    "▁": "▁Two ▁un leash ed ▁dogs ▁are ▁running .",
    "Ġ": "Two Ġun le ashed Ġdogs Ġare Ġrunning .",
    "</w>": "two</w> un lea shed</w> dogs</w> .</w>",
    "￭": "Two un￭ leashed dogs are running ￭.",
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
        "L-Imnarja hija festa f'Malta li tiġi ċċelebrata f'Ġunju, u Ġorġ jiġi dejjem.",
    ],
)
def test_one_such_line_among_many_is_text(line, write, caplog):
    read_translations(write("hyp", "\n".join([*ENGLISH * 3, *GERMAN * 12, line])), None)
    assert not caplog.text


def test_one_such_word_is_text(write, caplog):
    read_translations(write("hyp", "C@@ is no language\nA ▁ is a block\n"), None)
    assert not caplog.text


def test_what_fairseq_generate_printed_is_made_of_pieces(write, caplog, minilm):
    from fairseq_bertloss.vocabulary import load_tokenizer

    read_translations(write("gen", "S-0\tun@@ gel@@ einte\nH-0\t-1\tun ##lea ##shed dogs\n"), load_tokenizer(minilm))
    assert not caplog.text
