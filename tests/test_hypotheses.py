"""What is read from files of translations, and what is refused."""

import pytest
from prepared import PAIRS

from fairseq_bertloss.evaluation.hypotheses import (
    read_generated,
    read_references,
    read_translations,
    text_lines,
)
from fairseq_bertloss.evaluation.references import References
from fairseq_bertloss.evaluation.same_test_set import ENOUGH_SENTENCES, check_belongs
from fairseq_bertloss.language_model.tokenization import UNKNOWN, UNKNOWN_IN_REFERENCE
from fairseq_bertloss.language_model.vocabulary import load_tokenizer

REFERENCES = ["The dog isn't running, is it?", "Two men are sitting on a roof.", "A well-known hat."]
GENERATED = """\
S-2\tein bekannter hut
T-2\ta well - known hat .
H-2\t-0.3\ta famous un ##lea ##shed hat .
D-2\t-0.3\twhatever the tokenizer made of it
P-2\t-0.1 -0.2
T-0\tthe dog isn ' t <<unk>>, is it ?
H-0\t-0.2\tthe dog isn ' t running , is it ?
H-0\t-0.9\tsecond best
T-1\ttwo men are sitting on a roof.
H-1\t-0.4\t
2026-11-22 | INFO | fairseq_cli.generate | NOTE: hypothesis and token scores are output in base 2
Generate test with beam=5: BLEU4 = 12.34
"""


@pytest.fixture
def tokenizer(minilm):
    return load_tokenizer(minilm)


def test_generated_output_is_put_in_order_and_joined(write, tokenizer):
    translations = read_translations(write("gen", GENERATED), tokenizer)
    assert translations.text == ["the dog isn't running, is it?", "", "a famous unleashed hat."]
    assert translations.generated.hypotheses == [
        "the dog isn ' t running , is it ?",
        "",
        "a famous un ##lea ##shed hat .",
    ]
    assert translations.generated == read_generated(translations.path)
    assert translations.generated.positions is None, "a sentence has none"


def test_plain_text_stays_as_it_is(write):
    text = ["A  line\u2028with its own spaces. ", "", "H-1 is no hypothesis"]
    path = write("plain", "\ufeff" + "\r\n".join(text) + "\r\n")
    assert text_lines(path) == text
    assert read_translations(path, None) == (path, text, None)


def test_references_are_text_or_the_targets_of_generated_output(write, tokenizer):
    assert read_references(write("ref", "\n".join(REFERENCES) + "\n"), tokenizer) == REFERENCES
    targets = [f"the dog isn't {UNKNOWN_IN_REFERENCE}, is it?", "two men are sitting on a roof.", "a well - known hat."]
    assert read_references(write("gen", GENERATED), tokenizer) == targets
    without_targets = "".join(line for line in GENERATED.splitlines(True) if not line.startswith("T-"))
    with pytest.raises(ValueError, match="without targets"):
        read_references(write("gen", without_targets), tokenizer)


def test_targets_of_pieces_with_marks(write, shared):
    tokenizer = load_tokenizer(str(shared / "models" / "e5-small-en-es-tr"))
    pieces = " ".join(tokenizer.tokenize("Merhaba dünya, nasılsın?"))
    content = f"T-0\t{pieces}\nH-0\t-1\t▁a\nT-1\tMerhaba dünya, nasılsın?\nH-1\t-1\t▁a\n"
    assert read_references(write("gen", content), tokenizer) == ["Merhaba dünya, nasılsın?"] * 2


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "cannot read .*gen: No such file"),
        (b"", "gen is empty"),
        (b"one\ntw\xff\n", "gen:2: not UTF-8: .* at byte 3"),
        (b"H-0\t-1\ta\nH-2\t-1\tb\n", "2 sentences but not number 1"),
    ],
)
def test_unreadable_files(content, message, write, tmp_path, tokenizer):
    path = str(tmp_path / "gen") if content is None else write("gen", content)
    for read in (read_translations, read_references):
        with pytest.raises(ValueError, match=message):
            read(path, tokenizer)


def check(write, tokenizer, content: str, references: list[str]) -> None:
    check_belongs(read_translations(write("gen", content), tokenizer), References.of(references), "test.en", tokenizer)


def test_translations_of_the_test_set_are_accepted(write, tokenizer):
    check(write, tokenizer, GENERATED, REFERENCES)
    as_pieces = GENERATED.replace("two men are sitting on a roof.", "two men are sit ##ting on a roof .")
    check(write, tokenizer, as_pieces, REFERENCES)


PIECES = {
    "bert": ("the {} is", "the {} is"),
    "xlm-roberta": ("▁the ▁ {} ▁is", "the {} is"),
    "roberta": ("Ġthe Ġ {} Ġis", "the {} is"),
}


@pytest.mark.parametrize("family", PIECES)
def test_unknown_symbols(family, write, tiny_lm, monkeypatch):
    """fairseq's spelling of them gives way to one word, which a reference does not share with a translation."""
    monkeypatch.setattr("fairseq_bertloss.evaluation.pieces.foreign_symbol", lambda *args: None)
    tokenizer, (pieces, text) = load_tokenizer(tiny_lm(family)), PIECES[family]
    lines = [
        f"H-0\t-1\t{pieces.format('<unk>')}",
        f"T-0\t{pieces.format('<<unk>>')}",
        "H-1\t-1\t",
        f"T-1\t{text.format('<<unk>>')}",
    ]
    path = write("gen", "\n".join(lines))
    assert read_translations(path, tokenizer).text == [text.format(UNKNOWN), ""]
    assert read_references(path, tokenizer) == [text.format(UNKNOWN_IN_REFERENCE)] * 2


def test_another_number_of_sentences(write, tokenizer):
    with pytest.raises(ValueError, match="gen has 3 sentences and the reference test.en has 2"):
        check(write, tokenizer, GENERATED, REFERENCES[:2])


@pytest.mark.parametrize("hypotheses, references, shorter", [(2, 3, "gen"), (3, 2, "test.en")])
@pytest.mark.parametrize("is_generated", [False, True])
def test_the_shorter_one_lacks_sentences(is_generated, hypotheses, references, shorter, write, tokenizer):
    """Whichever it is, text that was cut out of fairseq's output too."""
    lines = [f"H-{i}\t-1\ta dog" if is_generated else "a dog" for i in range(hypotheses)]
    message = rf"both must be of one test set. \S*{shorter}: was it made with --skip-invalid-size-inputs-valid-test"
    with pytest.raises(ValueError, match=message):
        check(write, tokenizer, "\n".join(lines), REFERENCES[:references])


def test_generated_output_of_another_test_set(write, tokenizer):
    with pytest.raises(ValueError, match="another test set than test.en: its line T-1 is 'two men .*'Else"):
        check(write, tokenizer, GENERATED, ["Something.", "Else.", "Entirely."])


class TestPlainText:
    """Lines of their own references, of others, and of nobody."""

    references = [f"{english} Number {i}." for i in range(5) for _, english in PAIRS]
    translations = [f"{english.lower().replace('the', 'a')} number {i}" for i in range(5) for _, english in PAIRS]

    def test_own(self, write, tokenizer):
        assert len(self.references) >= ENOUGH_SENTENCES
        check(write, tokenizer, "\n".join(self.translations), self.references)

    @pytest.mark.parametrize("shift", [1, 3, 20])
    def test_shifted(self, shift, write, tokenizer):
        shifted = self.translations[shift:] + self.translations[:shift]
        with pytest.raises(ValueError, match="gen is of another test set than test.en, or in another order"):
            check(write, tokenizer, "\n".join(shifted), self.references[:-1] + ["The end."])

    def test_a_collapsed_system_is_a_result(self, write, tokenizer):
        check(write, tokenizer, "the the the\n" * len(self.references), self.references)

    def test_few_lines_do_not_tell(self, write, tokenizer):
        check(write, tokenizer, "\n".join(REFERENCES[1:] + REFERENCES[:1]), REFERENCES)
