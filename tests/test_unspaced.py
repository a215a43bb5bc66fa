"""unspaced.py: text without spaces between words, and text that merely has a few of its characters."""

import pytest

from fairseq_bertloss.text.unspaced import close_up, is_unspaced, join, language_of_text, words


@pytest.mark.parametrize(
    "line, expected",
    [
        ("我喜欢 iPad。", "我 喜 欢 iPad 。"),
        ("東京タワーへ行く", "東 京 タ ワ ー へ 行 く"),
        ("ไป 7-Eleven", "ไ ป 7-Eleven"),
        ("No spaces, two words.", "No spaces, two words."),
        ("한국어 문장", "한국어 문장"),
    ],
)
def test_words(line, expected):
    assert words(line) == expected.split()


@pytest.mark.parametrize(
    "line, text",
    [
        ("我 喜 欢 ipad 。", "我喜欢 ipad。"),
        ("他 说 ： “ new york 很 大 ” 。", "他说：“new york 很大”。"),
        ("3. 5 万 人 得 了 covid - 19 。", "3. 5 万人得了 covid - 19。"),
        ("用 lshw -C 看 ， 不 是 … 真 的", "用 lshw -C 看，不是…真的"),
        ("東 京 の 人 は 元 気 で す 。", "東京の人は元気です。"),
        ("สวัสดี ครับ", "สวัสดี ครับ"),
        ("བོད ་ ཡིག ་", "བོད་ཡིག་"),
        ("ខ្ញុំ ស្រឡាញ់ អ្នក ។", "ខ្ញុំ ស្រឡាញ់ អ្នក។"),
        ("the word 中 国 means china.", "the word 中国 means china."),
        ("a well - known hat, 3. 5 euros.", "a well - known hat, 3. 5 euros."),
    ],
)
def test_join_closes_the_spaces_that_a_tokenizer_made(line, text):
    assert join(line) == text and join(text) == text


def test_close_up_does_not_see_how_latin_words_were_spaced():
    assert close_up("我有 iPad 和 new hat 。") == close_up("我有iPad和new hat。") == "我有iPad和new hat。"


@pytest.mark.parametrize(
    "language, lines",
    [
        ("zh", ["我在北京工作。", "请使用 configuration 文件。"]),
        ("zh", ["他喜欢の字。我在北京工作，周末去上海。"]),
        ("ja", ["私は東京に住んでいます。"]),
        ("ja", ["カタカナ"]),
        ("th", ["ฉันรักแมว"]),
        ("lo", ["ຂ້ອຍຮັກແມວ"]),
        ("km", ["ខ្ញុំស្រឡាញ់ឆ្មា"]),
        ("my", ["ကျွန်တော်ကြောင်ကိုချစ်တယ်"]),
        ("bo", ["བོད་སྐད་"]),
        (None, ["나는 고양이를 좋아한다."]),
        (None, ["The city of 北京 is large.", "It is called Beijing."]),
        (None, ["Привет, мир", "γειά σου"]),
        (None, ["123 ?", ""]),
    ],
)
def test_language_of_text(language, lines):
    assert language_of_text(lines) == language
    assert is_unspaced(lines) == (language is not None)
