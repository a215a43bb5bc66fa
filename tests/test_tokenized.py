"""tokenized.py: translations and references of two kinds."""

import foreign
import pytest
from lms import TEXT
from sacremoses import MosesTokenizer

from fairseq_bertloss.evaluation.generated import Generated
from fairseq_bertloss.evaluation.hypotheses import Translations
from fairseq_bertloss.evaluation.references import ReferenceFile
from fairseq_bertloss.evaluation.tokenized import ENOUGH, warn_of_tokenized
from fairseq_bertloss.language_model.tokenization import tokenize
from fairseq_bertloss.language_model.vocabulary import load_tokenizer

RAW = [*foreign.ENGLISH, *TEXT]
MOSES = [MosesTokenizer("en").tokenize(line, return_str=True) for line in RAW]


def warn(text: list[str], references: list[str], more: int = 0) -> None:
    systems = [Translations(f"{i}.out", text, None) for i in range(1 + more)]
    warn_of_tokenized(systems, [ReferenceFile("test.en", references)], None)


def test_tokenized_translations(caplog):
    warn(MOSES, RAW, more=2)
    (said,) = caplog.messages
    assert said.startswith("0.out is tokenized, and the references are not (13 of 14 commas and full stops stand apart")
    assert said.endswith("generate with the --tokenizer that undoes it (moses), or pass text")


def test_tokenized_references(caplog):
    warn(RAW, MOSES)
    (said,) = caplog.messages
    assert said.startswith("0.out is not tokenized, and the references are (")


def test_escapes_alone(caplog):
    """Translations without a comma or full stop."""
    warn(["&quot; How &apos;s it going"], ["\"How's it going"])
    assert "0 of 0 commas and full stops stand apart, 2 escapes; test.en" in caplog.text


@pytest.mark.parametrize(
    "text, references",
    [
        (RAW, RAW),
        (MOSES, MOSES),
        (MOSES[:3], RAW[:3]),
        (["Tu viens ? Oui !"] * ENOUGH, ["Tu viens? Oui!"] * ENOUGH),
        (["Hunde & Katzen, z. B. am Abend."] * ENOUGH, ["Hunde & Katzen, zum Beispiel am Abend."] * ENOUGH),
        ([], []),
    ],
)
def test_text_of_one_kind(text, references, caplog):
    warn(text, references)
    assert not caplog.text


def test_pieces_that_their_tokenizer_joined(minilm, caplog):
    """Its spaces are the same for all systems, and lost before."""
    tokenizer = load_tokenizer(minilm)
    generated = Generated([" ".join(pieces) for pieces in tokenize(tokenizer, RAW)], None, None)
    warn_of_tokenized([Translations("gen.out", RAW, generated)], [ReferenceFile("test.en", MOSES)], tokenizer)
    assert not caplog.text
