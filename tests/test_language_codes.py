"""languages.py: what the codes of languages mean."""

import pytest

from fairseq_bertloss.text.languages import language_of


@pytest.mark.parametrize("code", ["zh", "zh_CN", "zh-Hans-CN", "zho", "chi", "zho_Hans", "cmn", "ZH_TW"])
def test_one_language_has_many_codes(code):
    assert language_of(code) == "zh"


@pytest.mark.parametrize(
    "code, language",
    [("en_XX", "en"), ("deu_Latn", "de"), ("ger", "de"), ("jpn", "ja"), ("tr_TR", "tr"), ("yue", "yue")],
)
def test_scripts_and_regions_do_not_matter(code, language):
    assert language_of(code) == language


@pytest.mark.parametrize(
    "code",
    [
        "mul",
        "mis",
        "und",
        "zxx",
        "art",
        "qaa",
        "qtz",
        "qab_XX",
        "und_Latn",
        "mul-Latn",
        "xx",
        "english",
        "de1",
        "sr@latin",
        "",
        "_",
    ],
)
def test_what_is_no_language_is_none(code):
    assert language_of(code) is None
