"""Whose rules make the words: the language of a code decides, however the code is spelt."""

import json
import zipfile

import pytest
from prepared import BERTLOSS, PAIRS, contents, run

from fairseq_bertloss import cli
from fairseq_bertloss.corpus.homeassistant import parallel_sentences, word_count
from fairseq_bertloss.corpus.lines import lowercase
from fairseq_bertloss.corpus.plain import PlainText, moses_detokenizer
from fairseq_bertloss.corpus.source import SourceText, moses_words, recorded_rules, rules_warning, spaces_warning
from fairseq_bertloss.language_model.frozen import rescaling_baseline
from fairseq_bertloss.text.languages import closest, script_of

CHINESE = "我 来到北京清华大学。"


@pytest.mark.parametrize("code", ["zh_CN", "zho_Hans", "cmn", "zh_TW", "chi", "ZH", "zh-Hant", "zho_Hant"])
def test_chinese_is_split_into_words(code):
    assert SourceText(code).words(CHINESE) == ["我", "来到", "北京", "清华大学", "。"]


@pytest.mark.parametrize(
    "code, line, words",
    [
        ("de_DE", "Das kostet ca. 5 Euro.", ["Das", "kostet", "ca.", "5", "Euro", "."]),
        ("deu_Latn", "Das kostet ca. 5 Euro.", ["Das", "kostet", "ca.", "5", "Euro", "."]),
        ("ger", "Das kostet ca. 5 Euro.", ["Das", "kostet", "ca.", "5", "Euro", "."]),
        ("fr_XX", "L'eau d'ici", ["L&apos;", "eau", "d&apos;", "ici"]),
        ("ita_Latn", "l'acqua", ["l&apos;", "acqua"]),
        ("eng", "it's", ["it", "&apos;s"]),
        ("ko_KR", "한국어를 공부", ["한국어를", "공부"]),
    ],
)
def test_moses_rules(code, line, words):
    assert SourceText(code).words(line) == words


@pytest.mark.parametrize("code", ["tr_TR", "tur_Latn", "tur", "az_AZ", "azj_Latn", "aze", "TR"])
def test_turkish_lower_case(code):
    assert lowercase("IŞIK İZMİR", code) == "ışık izmir"
    assert SourceText(code, lowercased=True).words("IŞIK İZMİR") == ["ışık", "izmir"]


def test_detokenizing():
    assert moses_detokenizer("fra_Latn")("l&apos; eau") == moses_detokenizer("fr")("l&apos; eau") == "l'eau"
    assert moses_detokenizer("en_XX")("it &apos;s") == "it's"


def test_an_extracted_folder_says_whose_rules(tmp_path):
    rules = [PlainText(str(tmp_path), "fr", code, moses_tokenized=True).settings for code in ("en", "en_XX")]
    assert "target_rules" not in rules[0] and rules[1]["target_rules"] == "en"
    assert "target_rules" not in PlainText(str(tmp_path), "fr", "en_XX").settings


FILES = ["de", "en", "en-GB", "es", "es-419", "iw", "nb", "pt", "pt-BR", "sr", "sr-Latn", "zh-Hans", "zh-Hant"]


@pytest.mark.parametrize(
    "code, file",
    [
        ("zh", "zh-Hans"), ("zh_CN", "zh-Hans"), ("cmn", "zh-Hans"), ("zho_Hant", "zh-Hant"), ("zh_TW", "zh-Hant"),
        ("zh_HK", "zh-Hant"), ("de_DE", "de"), ("de_AT", "de"), ("ger", "de"), ("en_XX", "en"), ("eng_Latn", "en"),
        ("en_GB", "en-GB"), ("pt_BR", "pt-BR"), ("por_Latn", "pt"), ("es_419", "es-419"), ("srp_Latn", "sr-Latn"),
        ("srp_Cyrl", "sr"), ("he", "iw"), ("nob_Latn", "nb"), ("da", None), ("yue", None), ("xx", None), ("fr", None),
    ],
)  # fmt: skip
def test_the_closest_code(code, file):
    assert closest(code, FILES) == file


def test_another_script_is_not_close():
    assert closest("zh_TW", ["zh-Hans"]) is None and closest("zho_Hans", ["zh-Hant"]) is None


def test_homeassistant_finds_the_language(tmp_path):
    with zipfile.ZipFile(tmp_path / "h.whl", "w") as archive:
        for code, text in (("zh-Hans", "请输入您的密码。"), ("en", "Enter your password now.")):
            archive.writestr(f"homeassistant/components/a/translations/{code}.json", json.dumps({"x": text}))
    for source, target in (("zh", "en"), ("zho_Hans", "eng_Latn"), ("zh_CN", "en_XX")):
        assert parallel_sentences(str(tmp_path / "h.whl"), source, target) == [
            ("请输入您的密码。", "Enter your password now.")
        ]
    assert word_count("请输入您的密码。", "cmn") == word_count("请输入您的密码。", "zh") > 1


def test_rescaling_baseline_of_bert_score():
    expected = rescaling_baseline("roberta-large", 17, "en")
    assert all(rescaling_baseline("roberta-large", 17, code) == expected for code in ("en_XX", "eng_Latn"))
    assert rescaling_baseline("allenai/scibert_scivocab_uncased", 8, "en-sci") != expected
    with pytest.raises(ValueError, match="no rescaling baseline for the model 'roberta-large' and the language 'xx'"):
        rescaling_baseline("roberta-large", 17, "xx")


@pytest.mark.parametrize(
    "code, script",
    [("zh", "Hans"), ("zh_TW", "Hant"), ("jpn", "Jpan"), ("tha_Thai", "Thai"), ("nan_Latn", "Latn"), ("xx", None)],
)
def test_scripts(code, script):
    assert script_of(code) == script


@pytest.mark.parametrize(
    "code", ["ja_XX", "jpn_Jpan", "th_TH", "lo", "khm_Khmr", "mya", "bo", "yue_Hant", "lzh", "nod"]
)
def test_languages_that_nobody_here_can_split(code):
    assert f"{code!r} is written without spaces" in spaces_warning(code)


@pytest.mark.parametrize("code", ["zh_TW", "cmn", "ko", "vi", "de_DE", "nan_Latn"])
def test_no_warning(code):
    assert rules_warning(code) is None and spaces_warning(code) is None


def prepare(folder, lm: str, code: str, text: str, *more: str) -> list[str]:
    """The command line that prepares text, a line often, with a source of this code."""
    for name, line in (("source", text), ("target", PAIRS[0][1])):
        (folder / name).write_text(f"{line}\n" * 40, encoding="utf-8")
    files = ["--source", str(folder / "source"), "--target", str(folder / "target")]
    more = ["--merges", "5", "--source-lang", code, "--target-lang", "en", "--destdir", str(folder / "data"), *more]
    return ["prepare", *files, "--lm", lm, *more]


def test_prepare_splits_chinese_under_every_code(tiny_lm, tmp_path, capfd):
    folders = {}
    for code in ("zh", "zh_CN"):
        (tmp_path / code).mkdir()
        assert cli.main(prepare(tmp_path / code, tiny_lm("bert"), code, CHINESE)) == 0
        assert "warning" not in capfd.readouterr().err
        folders[code] = contents(tmp_path / code / "data")
    assert folders["zh_CN"]["text/train.zh_CN"] == folders["zh"]["text/train.zh"]
    assert folders["zh_CN"]["bpe.codes"] == folders["zh"]["bpe.codes"]
    assert "train.zh_CN-en.zh_CN.bin" in folders["zh_CN"]


def test_an_unknown_code_is_said_once(tiny_lm, tmp_path):
    """By the command, not by each of its processes."""
    arguments = prepare(tmp_path, tiny_lm("bert"), "xx", "Das kostet ca. 5 Euro.", "--workers", "2")
    done = run([*BERTLOSS, *arguments])
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("warning: no language has the code 'xx', so Moses' general rules apply\n") == 1
    assert "ca ." in (tmp_path / "data" / "text" / "train.xx").read_text(encoding="utf-8").replace("@@ ", "")


def test_a_language_without_spaces_is_said_once(tiny_lm, tmp_path):
    arguments = prepare(tmp_path, tiny_lm("bert"), "th_TH", "ฉันไปกรุงเทพฯ แล้วกลับบ้าน", "--workers", "2")
    done = run([*BERTLOSS, *arguments])
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("warning: 'th_TH' is written without spaces") == 1


def test_extract_says_an_unknown_code(tmp_path, capfd):
    for code in ("xx", "en"):
        (tmp_path / f"train.{code}").write_text("it &apos;s .\n", encoding="utf-8")
    line = f"extract {tmp_path} --corpus plain --source-lang xx --target-lang en --destdir {tmp_path / 'out'}"
    assert cli.main(line.split()) == 0
    assert "warning" not in capfd.readouterr().err, "no rules are taken"
    assert cli.main([*line.split(), "--moses-tokenized", "--overwrite"]) == 0
    assert capfd.readouterr().err.count("warning: no language has the code 'xx'") == 1


def test_folders_of_an_earlier_version(tiny_lm, tmp_path, capfd):
    """It took the letters of the code for the language: where that came to the same, its folders stay good."""
    assert recorded_rules(source="de") == {} and recorded_rules(source="de_DE") == {"source_rules": "de"}
    for code, status in (("de", 0), ("de_DE", 2)):
        (tmp_path / code).mkdir()
        arguments = prepare(tmp_path / code, tiny_lm("bert"), code, PAIRS[0][0])
        assert cli.main(arguments) == 0
        record = tmp_path / code / "data" / "prepare.json"
        content = json.loads(record.read_text(encoding="utf-8"))
        content["settings"].pop("source_rules", None)
        record.write_text(json.dumps(content), encoding="utf-8")
        assert cli.main(arguments) == status
    assert "settings.source_rules was absent, now de" in capfd.readouterr().err
    assert SourceText.load(str(tmp_path / "de" / "data")).words("ca. 5") == ["ca.", "5"]
    with pytest.raises(ValueError, match="by an earlier version, which had other rules for the language code 'de_DE'"):
        SourceText.load(str(tmp_path / "de_DE" / "data"))


@pytest.mark.parametrize("code", ["tl", "iw", "in", "sh", "nob", "ji", "jw", "th_TH", "xx", "mul", "qaa", "he"])
def test_other_names_of_the_same_rules(code):
    """Moses splits by its general ones under either name."""
    assert recorded_rules(source=code, target=code) == {}
    line = "Dr. O'Neil's ca. 5 % Nr. 7, d'eau z.B. No. 3 I 1,000."
    assert moses_words(code)(line) == moses_words(SourceText(code).language)(line)


@pytest.mark.parametrize(
    "code, language",
    [("mo", "ro"), ("ger", "de"), ("kor", "ko"), ("tur", "tr"), ("azj", "az"), ("cmn", "zh"), ("german", "und")],
)
def test_other_names_of_other_rules(code, language):
    assert recorded_rules(source=code) == {"source_rules": language}
