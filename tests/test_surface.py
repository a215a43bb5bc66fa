"""surface.py: what compares words, in languages that write none: sacrebleu's own figures of the plain text."""

import pytest
import sacrebleu
from sacrebleu.metrics import TER
from sacrebleu.tokenizers import tokenizer_ja_mecab
from transformers import BertTokenizerFast

from fairseq_bertloss.evaluation.generated import Generated
from fairseq_bertloss.evaluation.hypotheses import Translations
from fairseq_bertloss.evaluation.references import References
from fairseq_bertloss.evaluation.surface import SurfaceMetrics
from fairseq_bertloss.evaluation.target_language import unspaced_language
from fairseq_bertloss.language_model.tokenization import detokenize
from fairseq_bertloss.language_model.vocabulary import load_tokenizer
from fairseq_bertloss.text import unspaced

CHINESE = [
    "我们试试看！",
    "我该去睡觉了。",
    "今天是６月１８号，也是Muiriel的生日！",
    "密码是“Muiriel”，有 3.5 万人知道。",
    "你在干什么啊？我在用 iPhone 15 Pro 看 COVID-19 的新闻——真的。",
]
JAPANESE = [
    "私は東京タワーへ行きます。",
    "これはiPadのケースです。",
    "何してるの？",
    "今日は６月１８日で、ムーリエルの誕生日です！",
]
THAI = ["ฉันต้องไปนอนแล้ว", "วันนี้เป็นวันที่ 18 มิถุนายน และเป็นวันเกิดของ Muiriel", "คุณกำลังทำอะไรอยู่"]
SOFTWARE = [
    "时间为12:30-13:45，共1,234元，是 8%。",
    "E-mail：foo@bar.com，见 http://example.com/a_b?c=1",
    "C++、C#、.NET 和 'D', 'F' 的“文件”(%s)",
    "敏捷-2，参见 -X 选项，用 lshw -C 打开 Firefox……",
    "OK 完成",
    "OK完成",
]
LANGUAGES = {"zh": CHINESE, "ja": JAPANESE, "th": THAI}
TERS = {"zh": TER(normalized=True, asian_support=True), "en": TER()}


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    """A function: lines as the pieces of a cased BERT that knows every word of them, and its tokenizer."""

    def split(lines):
        path = tmp_path_factory.mktemp("lm") / "vocab.txt"
        path.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", encoding="utf-8")
        options = {"do_lower_case": False, "strip_accents": False}
        backend = BertTokenizerFast(str(path), **options).backend_tokenizer
        text = backend.normalizer.normalize_str(" ".join(lines))
        with path.open("a", encoding="utf-8") as file:
            file.writelines(
                f"{word}\n" for word in dict.fromkeys(w for w, _ in backend.pre_tokenizer.pre_tokenize_str(text))
            )
        tokenizer = BertTokenizerFast(str(path), **options)
        return [tokenizer.tokenize(line) for line in lines], tokenizer

    return split


def translations(pieces, tokenizer) -> Translations:
    generated = Generated([" ".join(line) for line in pieces], None, None)
    return Translations("gen.out", [detokenize(tokenizer, line) for line in pieces], generated)


def changed(lines: list[str]) -> list[str]:
    """Lines with one character in the middle replaced."""
    return [f"{line[: len(line) // 2]}鼠{line[len(line) // 2 + 1 :]}" for line in lines]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("tokenized", [False, True])
def test_a_perfect_system_of_word_pieces(language, tokenized, pieces):
    split, tokenizer = pieces(LANGUAGES[language])
    assert "[UNK]" not in sum(split, [])
    metrics = SurfaceMetrics(tokenizer, language, tokenized=tokenized)
    corpus, sentences = metrics.score(translations(split, tokenizer), References.of(LANGUAGES[language]))
    assert corpus["bleu"] == pytest.approx(100) and sentences == pytest.approx([100] * len(split))
    assert (corpus["ter"], corpus["length_ratio"]) == (0, 1) and corpus["chrf"] == pytest.approx(100)


@pytest.mark.parametrize("language", ["zh", None])
def test_how_software_writes(language, pieces):
    """Pieces do not tell where Latin letters, numbers and their marks had spaces: no system is blamed for them."""
    split, tokenizer = pieces(SOFTWARE)
    corpus, _ = SurfaceMetrics(tokenizer, language).score(translations(split, tokenizer), References.of(SOFTWARE))
    assert corpus["bleu"] == pytest.approx(100) and (corpus["ter"], corpus["length_ratio"]) == (0, 1)


def test_an_uncased_model_has_the_case_that_it_has(minilm):
    tokenizer, reference = load_tokenizer(minilm), "日本 の iPad - 8 %"
    system = translations([tokenizer.tokenize(reference)], tokenizer)
    scores = {
        lower: SurfaceMetrics(tokenizer, "ja", lowercase=lower).score(system, References.of([reference]))[0]
        for lower in (True, False)
    }
    assert scores[True]["bleu"] == pytest.approx(100) and scores[False]["bleu"] < 99


@pytest.mark.parametrize("line, words", [("⁇ ⁇ ⁇ 的 中 文", 6), ("⁇ ⁇ ⁇ ⁇", 4), ("我 ⁇ ⁇ ， ⁇ ！", 6)])
def test_each_unknown_counts(line, words, pieces):
    _, tokenizer = pieces(CHINESE)
    system = Translations(
        "gen.out", [detokenize(tokenizer, line.split())], Generated([line.replace("⁇", "<unk>")], None, None)
    )
    corpus, _ = SurfaceMetrics(tokenizer, "zh").score(system, References.of(["中" * words]))
    assert corpus["length_ratio"] == 1


def test_real_chinese(shared, pieces):
    import gzip

    with gzip.open(shared / "data" / "ted.zh-en" / "valid.zh.gz", "rt", encoding="utf-8") as file:
        references = file.read().splitlines()[:300]
    split, tokenizer = pieces(references)
    metrics = SurfaceMetrics(tokenizer, unspaced_language(None, [], references))
    corpus, _ = metrics.score(translations(split, tokenizer), References.of(references))
    assert corpus["bleu"] == pytest.approx(100) and (corpus["ter"], corpus["length_ratio"]) == (0, 1)


class TestPlainText:
    """One changed character a line: the figures that sacrebleu has for the language."""

    def score(self, language, references):
        metrics = SurfaceMetrics(None, language)
        return metrics, metrics.score(Translations("x", changed(references), None), References.of(references))[0]

    def test_chinese(self):
        metrics, corpus = self.score("zh", CHINESE)
        assert corpus["bleu"] == sacrebleu.corpus_bleu(changed(CHINESE), [CHINESE], tokenize="zh").score
        assert corpus["ter"] == TERS["zh"].corpus_score(changed(CHINESE), [CHINESE]).score
        assert "tok:zh" in metrics.signatures["BLEU"] and "asian:yes" in metrics.signatures["TER"]
        assert "norm:yes" in metrics.signatures["TER"]

    def test_japanese(self):
        pytest.importorskip("MeCab", reason="needs sacrebleu[ja]")
        metrics, corpus = self.score("ja", JAPANESE)
        assert corpus["bleu"] == sacrebleu.corpus_bleu(changed(JAPANESE), [JAPANESE], tokenize="ja-mecab").score
        assert corpus["ter"] == TERS["zh"].corpus_score(changed(JAPANESE), [JAPANESE]).score
        assert "tok:ja-mecab-" in metrics.signatures["BLEU"]

    def test_japanese_without_mecab_says_what_to_install(self, monkeypatch, caplog):
        monkeypatch.setattr(tokenizer_ja_mecab, "MeCab", None)
        metrics, corpus = self.score("ja", JAPANESE)
        assert corpus["bleu"] == sacrebleu.corpus_bleu(changed(JAPANESE), [JAPANESE], tokenize="char").score
        assert "tok:char" in metrics.signatures["BLEU"]
        assert caplog.text.count("\n") == 1 and "pip install 'sacrebleu[ja]'" in caplog.text

    def test_thai(self):
        metrics, corpus = self.score("th", THAI)
        assert corpus["bleu"] == sacrebleu.corpus_bleu(changed(THAI), [THAI], tokenize="char").score
        # A word each of Latin letters and of digits in the second line, a character each in the rest.
        length = sum(len("".join(line.split())) for line in THAI) - (len("Muiriel") - 1) - (len("18") - 1)
        assert corpus["ter"] == pytest.approx(100 * len(THAI) / length)
        assert "tok:char" in metrics.signatures["BLEU"] and "tok:tercom-char" in metrics.signatures["TER"]

    @pytest.mark.parametrize(
        "language, spaced, close",
        [
            ("zh", "我 在 用 iPhone 看 新闻 。", "我在用iPhone看新闻。"),
            ("ja", "これ は iPad の ケース です 。", "これはiPadのケースです。"),
            ("th", "ฉัน ใช้ iPad", "ฉันใช้iPad"),
        ],
    )
    def test_spaces_do_not_matter(self, language, spaced, close):
        corpus, _ = SurfaceMetrics(None, language).score(Translations("x", [spaced], None), References.of([close]))
        assert corpus["bleu"] == pytest.approx(100) and (corpus["ter"], corpus["length_ratio"]) == (0, 1)

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_lengths_and_repetitions_are_of_characters(self, language):
        reference = LANGUAGES[language][0].rstrip("！。？")
        corpus, _ = SurfaceMetrics(None, language).score(
            Translations("x", [reference * 2], None), References.of([reference])
        )
        assert corpus["length_ratio"] == 2
        bigrams = 2 * len(reference) - 1
        assert corpus["repeated"] >= 100 * (len(reference) - 1) / bigrams


def test_several_references_without_spaces(pieces):
    """sacrebleu's of several streams, and the length of BLEU's in characters: the closest, the shorter of two."""
    lines, first = changed(CHINESE), [f"{line}我们" for line in CHINESE]
    second = [line[:-1] for line in CHINESE]
    second[0] = ""
    metrics = SurfaceMetrics(None, "zh")
    corpus, sentences = metrics.score(Translations("x", lines, None), References.of(first, second))
    streams = [first, [None, *second[1:]]]
    assert corpus["bleu"] == sacrebleu.corpus_bleu(lines, streams, tokenize="zh").score
    assert corpus["chrf"] == sacrebleu.corpus_chrf(lines, streams).score
    assert corpus["ter"] == TERS["zh"].corpus_score(lines, streams).score
    assert all("nrefs:var" in signature for signature in metrics.signatures.values())
    lengths = [[len(unspaced.words(line)) for line in side] for side in (lines, first, second)]
    closest = [
        sacrebleu.BLEU()._get_closest_ref_len(own, [length for length in expected if length])
        for own, *expected in zip(*lengths, strict=True)
    ]
    assert closest not in lengths[1:]
    assert corpus["length_ratio"] == sum(lengths[0]) / sum(closest)
    expected = sacrebleu.sentence_bleu(lines[1], [first[1], second[1]], tokenize="zh").score
    assert sentences[1] == expected

    split, tokenizer = pieces(CHINESE)
    corpus, _ = SurfaceMetrics(tokenizer, "zh").score(translations(split, tokenizer), References.of(first, CHINESE))
    assert corpus["bleu"] == pytest.approx(100) and (corpus["ter"] > 0, corpus["length_ratio"]) == (False, 1)


def test_european_text_with_ideographs_stays_european():
    references = ["The city of 北京 is large, isn't it?", "It was called 大都.", "Nobody wrote its name."]
    lines = ["The city of 北 京 is big, isn't it?", "It was called 大都.", "Nobody wrote this."]
    language = unspaced_language(None, [], references)
    metrics = SurfaceMetrics(None, language)
    corpus, _ = metrics.score(Translations("x", lines, None), References.of(references))
    bleu = sacrebleu.corpus_bleu(lines, [references])
    assert language is None and (corpus["bleu"], corpus["length_ratio"]) == (bleu.score, bleu.sys_len / bleu.ref_len)
    assert corpus["ter"] == TERS["en"].corpus_score(lines, [references]).score
    assert "tok:13a" in metrics.signatures["BLEU"] and "norm:no" in metrics.signatures["TER"]


def test_tokenized_text_of_chinese(caplog):
    metrics = SurfaceMetrics(None, "zh", tokenized=True)
    segmented, references = ["我 该 去 睡觉 了 。"], ["我 该 去 睡觉 了 ！"]
    corpus, _ = metrics.score(Translations("x", segmented, None), References.of(references))
    bleu = sacrebleu.corpus_bleu(segmented, [references], tokenize="none", force=True, smooth_method="none")
    assert corpus["bleu"] == bleu.score > 0
    assert not caplog.text
    metrics.score(Translations("raw.zh", CHINESE[:2], None), References.of(CHINESE[:2]))
    assert "raw.zh: --tokenized takes words as they stand" in caplog.text


@pytest.mark.parametrize(
    "code, printed, references, expected",
    [
        (None, None, CHINESE, "zh"),
        (None, None, ["Two men are sitting on a roof."], None),
        ("zh_CN", None, CHINESE, "zh"),
        ("yue", None, CHINESE, "yue"),
        ("jpn_Jpan", None, ["東京大学"], "ja"),
        ("zh-Latn", None, ["wǒ ài nǐ"], None),
        ("nan", None, CHINESE, "zh"),
        ("nan", None, ["Góa ài lí"], None),
        ("en", None, CHINESE, None),
        (None, "ja", ["東京大学"], "ja"),
        (None, "ja", ["Tokyo University"], None),
        (None, "tgt", CHINESE, "zh"),
    ],
)
def test_the_language_without_spaces(code, printed, references, expected):
    system = Translations("gen.out", references, Generated(references, None, None, printed))
    assert unspaced_language(code, [Translations("text", references, None), system], references) == expected


def test_a_code_without_a_language():
    with pytest.raises(ValueError, match="--target-lang xx: no language has this code"):
        unspaced_language("xx", [], CHINESE)


def test_english_is_what_it_was(minilm):
    tokenizer = load_tokenizer(minilm)
    references, lines = ["The dog isn't running, is it?"], ["the dog isn't running."]
    corpus, _ = SurfaceMetrics(tokenizer).score(Translations("x", lines, None), References.of(references))
    bleu = sacrebleu.corpus_bleu(lines, [references])
    assert (corpus["bleu"], corpus["length_ratio"]) == (bleu.score, bleu.sys_len / bleu.ref_len)
    assert corpus["ter"] == TERS["en"].corpus_score(lines, [references]).score
