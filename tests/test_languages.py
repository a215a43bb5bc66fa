"""What each language needs to survive preparation: Turkish i, Spanish accents, Chinese punctuation."""

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from fairseq_bertloss.corpus.prepare import PairTokenizer, Settings
from fairseq_bertloss.corpus.source import SourceText
from fairseq_bertloss.language_model.tokenization import detokenize
from fairseq_bertloss.language_model.vocabulary import load_tokenizer

TURKISH = "IŞIK İSTANBUL ışık istanbul, çığ düştü."
SPANISH = "¿Él habló mañana con el pingüino?"
CHINESE = "价格是１００元，（今天）Google说：“好”！"


@pytest.fixture
def language_model(tmp_path):
    """A function from BertNormalizer's options to the folder of a WordPiece tokenizer with that normaliser."""

    def save(**normalizer) -> str:
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(**normalizer)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=specials, show_progress=False)
        tokenizer.train_from_iterator([TURKISH, SPANISH], trainer)
        names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), specials, strict=True))
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(tmp_path)
        return str(tmp_path)

    return save


def prepared_target(text: str, language: str, lm: str, lowercase: bool) -> str:
    """A target line after preparation, put back together from its pieces."""
    settings = Settings("en", language, lm, lowercase=lowercase)
    [(_, pieces)] = PairTokenizer(settings)([("A source.", text)])
    return detokenize(load_tokenizer(lm), pieces)


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize(
    "normalizer, expected",
    [
        (dict(lowercase=False), TURKISH),
        (dict(lowercase=True, strip_accents=False), "işik i̇stanbul ışık istanbul, çığ düştü."),
        (dict(lowercase=True), "isik istanbul ısık istanbul, cıg dustu."),
    ],
)
def test_the_language_models_normaliser_decides_on_turkish(language_model, normalizer, expected, lowercase):
    """--lowercase is the source's: it never touches a target."""
    assert prepared_target(TURKISH, "tr", language_model(**normalizer), lowercase) == expected


@pytest.mark.parametrize(
    "normalizer, expected",
    [
        (dict(lowercase=False), "¿ Él habló mañana con el pingüino?"),
        (dict(lowercase=True, strip_accents=False), "¿ él habló mañana con el pingüino?"),
        (dict(lowercase=True), "¿ el hablo manana con el pinguino?"),
    ],
)
def test_spanish_keeps_its_accents_where_the_language_model_does(language_model, normalizer, expected):
    assert prepared_target(SPANISH, "es", language_model(**normalizer), lowercase=True) == expected


@pytest.mark.parametrize("text, language", [(TURKISH, "tr"), (SPANISH, "es")])
def test_a_real_cased_language_model_gives_the_text_back(shared, text, language):
    assert prepared_target(text, language, str(shared / "models" / "e5-small-en-es-tr"), lowercase=True) == text


def test_a_turkish_source_is_lower_cased_as_turkish():
    assert SourceText("tr", lowercased=True).words("IŞIK İSTANBUL") == ["ışık", "istanbul"]


def test_full_width_punctuation_and_latin_words_survive_in_chinese():
    words = SourceText("zh", lowercased=True).words(CHINESE)
    assert "".join(words) == CHINESE.lower()
    assert {"，", "（", "）", "：", "“", "”", "！", "google", "今天"} <= set(words)
