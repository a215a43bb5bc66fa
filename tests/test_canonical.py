"""Texts that Unicode holds to be the same, however their accents are stored, are the same everywhere they enter."""

import json
import unicodedata
import zipfile

import pytest
from prepared import command, contents, run, write_corpus

from fairseq_bertloss.corpus.entities import plain_text
from fairseq_bertloss.corpus.extraction import Splits, extract
from fairseq_bertloss.corpus.homeassistant import parallel_sentences
from fairseq_bertloss.corpus.lines import lowercase
from fairseq_bertloss.corpus.plain import PlainText
from fairseq_bertloss.corpus.prepare import PairTokenizer
from fairseq_bertloss.corpus.settings import Settings
from fairseq_bertloss.corpus.source import SourceText
from fairseq_bertloss.encoders import WordPieces, WordPiecesConfig
from fairseq_bertloss.evaluation.f_bert import FBertScorer
from fairseq_bertloss.evaluation.hypotheses import read_references, read_translations
from fairseq_bertloss.evaluation.metrics import Evaluator
from fairseq_bertloss.evaluation.moverscore import MoverScorer
from fairseq_bertloss.language_model.frozen import idf_weights
from fairseq_bertloss.language_model.tokenization import detokenize, encode, tokenize
from fairseq_bertloss.language_model.vocabulary import load_tokenizer
from fairseq_bertloss.scorers import BERTScoreLMScorer, BERTScoreScorerConfig

TEXTS = {
    "de": "Die Tür fällt ins Schloß.",
    "vi": "Tiếng Việt có những dấu chồng lên nhau: ộ, ặ, ữ.",
    "hi": "\u0958लम और \u095bमीन ब\u095cी प\u095dाई।",  # which NFC, too, takes apart
    "bn": "বাংলা ভাষায় \u09dc আর \u09dd আছে।",
    "ar": "قالَ إنَّ الأَمرَ مُهِمٌّ، آه.",
    "he": "שָּׁלוֹם עֲלֵיכֶם",
    "tr": "İSTANBUL'da IŞIK çığ gibi.",
    "el": "Ο \u1f0cνθρωπος κα\u1f77 ᾧ τ\u1f79 φῶς\u0387 τι\u037e",  # oxia, and marks of their own code
    "sv": "\u212bngström är 10 \u212b lång, 5 \u212a, 3 \u2126.",
    "ko": "저는 한국어를 공부합니다.",
    "ja": "ガラスのパイプがある。",
    "zh": "北京\uf914 清华 Tür，\ufa19。",  # compatibility ideographs
    "yo": "ọ́kùnrin náà ẹ̀kọ́",
    "ta": "கொடி போனது",
    "lt": "J̌ ǰ Į̃ H̱ ẖ",
}


LENGTH = ("--max-length", "300")
"""A byte-level language model that knows little German makes many pieces of it."""


def spellings(text: str) -> list[str]:
    """The text as it stands, composed, taken apart, and with marks in another order where that does not count."""
    apart = unicodedata.normalize("NFD", text)
    return [text, unicodedata.normalize("NFC", text), apart, reordered(apart)]


def reordered(text: str) -> str:
    """The text with its runs of combining marks sorted by falling class: canonically the same."""
    letters = []
    for char in text:
        if unicodedata.combining(char):
            letters[-1].append(char)
        else:
            letters.append([char])
    # sorted() is stable: marks of one class, whose order counts, keep it.
    return "".join(one + "".join(sorted(marks, key=unicodedata.combining, reverse=True)) for one, *marks in letters)


def word_pieces(**options) -> WordPieces:
    return WordPieces(WordPiecesConfig(**options))


def apart(text: str) -> str:
    return unicodedata.normalize("NFD", text)


@pytest.mark.parametrize("lowercased", [False, True])
@pytest.mark.parametrize("language", TEXTS)
def test_one_text_has_one_list_of_words(language, lowercased):
    words = SourceText(language, lowercased).words
    (only,) = {tuple(words(text)) for text in spellings(TEXTS[language])}
    assert all(unicodedata.is_normalized("NFC", word) for word in only)


def test_every_character_that_can_be_taken_apart():
    german = SourceText("de", lowercased=True).words
    chinese = SourceText("zh").words
    characters = [char for char in map(chr, range(0xAC00)) if apart(char) != char]
    characters += [char for char in map(chr, range(0xAC00, 0x30000)) if apart(char) != char][::50]
    assert len(characters) > 1000
    for words in (german, chinese):
        assert [words(f"a{char}b") for char in characters] == [words(f"a{apart(char)}b") for char in characters]


def test_the_words_are_the_composed_ones():
    assert SourceText("de").words(apart("Die Tür")) == ["Die", "Tür"]
    assert SourceText("tr", lowercased=True).words("I\u0307STANBUL I") == ["istanbul", "ı"]
    assert SourceText("ko").words(apart("한국어")) == SourceText("ko").words("한국어")


def test_lower_case_of_what_composes_only_there():
    assert lowercase("J\u030c", "en") == "\u01f0" == lowercase("\u01f0", "en")
    assert lowercase("I\u0307", "tr") == lowercase("İ", "tr") == "i"


def test_what_is_alike_but_not_canonically_stays():
    assert plain_text("ﬁn ① Ａｂｃ ½ ™ ﷺ") == "ﬁn ① Ａｂｃ ½ ™ ﷺ"


def test_references_of_characters_compose():
    assert plain_text("Tu&#776;r&#x301;") == "Tüŕ"


@pytest.mark.parametrize("language", ["de", "vi", "tr", "el", "ko"])
def test_target_pieces(language, tiny_lm):
    """Byte-level pieces tell every spelling apart."""
    settings = Settings("en", language, tiny_lm("roberta"))
    tokenizer = load_tokenizer(settings.lm)
    text = TEXTS[language]
    assert "".join(tokenizer.tokenize(text)) != "".join(tokenizer.tokenize(apart(text)))
    [(_, pieces)] = PairTokenizer(settings)([("A source.", text)])
    assert detokenize(tokenizer, pieces) == unicodedata.normalize("NFC", text)


def test_pieces_that_are_taken_apart_become_composed_text(tiny_lm):
    tokenizer = load_tokenizer(tiny_lm("roberta"))
    assert detokenize(tokenizer, tokenizer.tokenize(apart("Die Tür"))) == "Die Tür"


@pytest.fixture(scope="module")
def folders(tiny_lm, tmp_path_factory):
    """One corpus prepared from composed and from decomposed text, German on both sides: folders, and options."""
    made = []
    for form in ("NFC", "NFD"):
        folder = tmp_path_factory.mktemp(form)
        corpus = write_corpus(folder, repeats=2)
        for side in ("", "valid-", "test-"):
            text = (folder / f"{side}source.txt").read_text(encoding="utf-8")
            for name in ("source", "target"):
                lines = unicodedata.normalize(form, text)
                (folder / f"{side}{name}.txt").write_text(lines, encoding="utf-8")
        done = run(command(corpus, tiny_lm("roberta"), folder / "data", *LENGTH))
        assert done.returncode == 0, done.stderr
        made.append((folder / "data", corpus))
    return made


def test_prepared_folders_have_the_same_bytes(folders):
    composed, decomposed = (contents(folder) for folder, _ in folders)
    records = [json.loads(files.pop("prepare.json")) for files in (composed, decomposed)]
    assert composed == decomposed
    assert records[0]["counts"] == records[1]["counts"] and records[0]["inputs"] != records[1]["inputs"]


def test_a_folder_of_an_earlier_version_is_taken_only_where_its_text_is_the_same(folders, tiny_lm, tmp_path):
    for (folder, corpus), status in zip(folders, (0, 2), strict=True):
        record = json.loads((folder / "prepare.json").read_text(encoding="utf-8"))
        earlier = tmp_path / f"earlier-{status}"
        earlier.mkdir()
        record["settings"].pop("unicode", None)  # earlier versions knew nothing of it
        (earlier / "prepare.json").write_text(json.dumps(record), encoding="utf-8")
        done = run(command(corpus, tiny_lm("roberta"), earlier, *LENGTH))
        assert done.returncode == status, done.stderr
    assert "was built with other settings: settings.unicode was absent, now NFC. Choose another" in done.stderr


def test_raw_source_lines_of_every_spelling(folders, tiny_lm):
    for folder, _ in folders:
        tokenizer = word_pieces(word_pieces_lm=tiny_lm("roberta"), word_pieces_source=str(folder))
        (line,) = {tokenizer.encode(text) for text in spellings("Ein weißer Hund läuft; die Tür ist zu.")}
        assert "ä" in line and "\u0308" not in line


def test_symbols_are_not_touched(tiny_lm):
    """Without a source folder the lines are symbols of a dictionary, which knows their spelling."""
    tokenizer = word_pieces(word_pieces_lm=tiny_lm("roberta"))
    assert tokenizer.encode(apart("Tür@@  zu")) == apart("Tür@@ zu")


@pytest.mark.parametrize("moses_tokenized", [False, True])
def test_extract(moses_tokenized, tmp_path):
    text = {}
    for form in ("NFC", "NFD"):
        corpus = tmp_path / form
        corpus.mkdir()
        for code in ("vi", "tr"):
            (corpus / f"train.{code}").write_text(unicodedata.normalize(form, TEXTS[code]) + "\n", encoding="utf-8")
        extract(PlainText(str(corpus), "vi", "tr", moses_tokenized), Splits(), str(tmp_path / f"{form}.out"))
        text[form] = [(tmp_path / f"{form}.out" / f"train.{code}").read_bytes() for code in ("vi", "tr")]
    assert text["NFC"] == text["NFD"]


def test_homeassistant(tmp_path):
    with zipfile.ZipFile(tmp_path / "h.whl", "w") as archive:
        for component, form in (("a", "NFC"), ("b", "NFD")):
            for code in ("vi", "sv"):
                strings = {"x": unicodedata.normalize(form, TEXTS[code])}
                archive.writestr(f"homeassistant/components/{component}/translations/{code}.json", json.dumps(strings))
    assert len(parallel_sentences(str(tmp_path / "h.whl"), "vi", "sv")) == 1


def written(folder, name: str, lines: list[str]) -> str:
    (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(folder / name)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_every_metric_gives_the_same(family, tiny_lm, tmp_path):
    texts = [TEXTS[language] for language in ("de", "vi", "tr", "el", "sv")]
    evaluator = Evaluator(tiny_lm(family), 2)
    references = read_references(written(tmp_path, "ref", texts), evaluator.tokenizer)
    assert read_references(written(tmp_path, "ref-apart", list(map(apart, texts))), evaluator.tokenizer) == references
    outputs = [[text.replace("i", "o") for text in texts], [apart(text.replace("i", "o")) for text in texts]]
    files = [written(tmp_path, f"hyp{i}", lines) for i, lines in enumerate(outputs)]
    systems = [read_translations(file, evaluator.tokenizer) for file in files]
    composed, decomposed = evaluator.score(systems, references).runs
    assert composed.corpus == decomposed.corpus and composed.sentences == decomposed.sentences


def test_output_of_fairseq_generate(tiny_lm, tmp_path):
    """Its symbols stay as the dictionary has them, its text is composed, whoever joined it."""
    tokenizer = load_tokenizer(tiny_lm("roberta"))
    pieces = " ".join(tokenizer.tokenize(apart("Die Tür")))
    path = written(tmp_path, "out", [f"T-0\t{apart('Die Tür')}", f"H-0\t-1\t{pieces}", f"D-0\t-1\t{apart('Die Tür')}"])
    translations = read_translations(path, tokenizer)
    assert translations.text == ["Die Tür"] and translations.generated.hypotheses == [pieces]
    assert read_references(path, tokenizer) == ["Die Tür"]


def test_idf(tiny_lm, tmp_path):
    tokenizer = load_tokenizer(tiny_lm("roberta"))
    forms = ([unicodedata.normalize(form, TEXTS[language]) for language in ("de", "vi")] for form in ("NFC", "NFD"))
    composed, decomposed = (idf_weights(written(tmp_path, "text", lines), tokenizer) for lines in forms)
    assert dict(composed) == dict(decomposed)


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta"])
@pytest.mark.parametrize("language", TEXTS)
def test_language_models_read_one_text(language, family, tiny_lm):
    """Whoever calls them."""
    tokenizer = load_tokenizer(tiny_lm(family))
    texts = spellings(TEXTS[language])
    for read in (encode, tokenize):
        first, *others = read(tokenizer, texts)
        assert others == [first] * (len(texts) - 1)


def test_scorers_in_python(tiny_lm):
    text = TEXTS["de"]
    assert MoverScorer(tiny_lm("roberta")).score([apart(text)], [text]) == [1.0]
    f_bert = FBertScorer(tiny_lm("roberta"), 2)
    assert f_bert.score([text[4:]], [apart(text)]) == f_bert.score([apart(text[4:])], [text])


def test_scoring_of_fairseq_generate(tiny_lm):
    """Of text, as --tokenizer makes it of symbols that are taken apart."""
    config = BERTScoreScorerConfig(
        bertscore_lm=tiny_lm("roberta"), bertscore_lm_layer=2, tokenizer="space", bpe=None, post_process=None
    )
    scorer = BERTScoreLMScorer(config)
    scorer.add_string(TEXTS["de"], apart(TEXTS["de"]))
    assert scorer.score() == pytest.approx(100, abs=1e-3)
