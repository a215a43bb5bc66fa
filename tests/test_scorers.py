"""--scoring bertscore_lm and --scoring moverscore, through fairseq-generate and as fairseq builds them."""

import re

import pytest
from fairseq import options, scoring
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from training import fairseq, train

import fairseq_bertloss.scorers  # noqa: F401, registers the scorers
from fairseq_bertloss.evaluation.moverscore import MoverScorer
from fairseq_bertloss.language_model.tokenization import detokenize, tokenize
from fairseq_bertloss.language_model.vocabulary import load_tokenizer

HYPOTHESES = ["Two men are on the roof of the house!", "a dog isn't running", "", "People, fixing the roof of it"]
REFERENCES = [
    "Two men are sitting on the roof of a house.",
    "A black and white dog is running in a garden.",
    "A woman is standing with three other people in a store.",
    "People are fixing the roof of a house, aren't they?",
]


@pytest.fixture
def build(tmp_path):
    """A function that builds a scorer as fairseq-generate does from its command line."""

    def build_from(*arguments):
        line = [str(tmp_path), "--path", "none", *map(str, arguments)]
        args = options.parse_args_and_arch(options.get_generation_parser(), input_args=line)
        return scoring.build_scorer(convert_namespace_to_omegaconf(args).scoring, None)

    return build_from


def bert_score(lm, layer, hypotheses, references) -> float:
    """The package's own figure, in percent."""
    import bert_score as package

    *_, f1 = package.score(hypotheses, references, model_type=lm, num_layers=layer)
    return 100 * f1.mean().item()


def test_fairseq_generate_prints_bert_scores_figure(corpus, tiny_lm, tmp_path):
    """Of the best translation of each sentence, where it prints two."""
    lm = tiny_lm("bert")
    train(corpus, tmp_path, "--criterion", "label_smoothed_cross_entropy", "--max-update", "15", "--lr", "1e-2",
          "--disable-validation")  # fmt: skip
    output = fairseq("generate", corpus, "--path", tmp_path / "checkpoint_last.pt", "--cpu", "--max-len-b", "20",
                     "--nbest", "2", "--batch-size", "2", "--required-batch-size-multiple", "1", "--tokenizer",
                     "word_pieces", "--word-pieces-lm", lm, "--scoring", "bertscore_lm", "--bertscore-lm", lm,
                     "--bertscore-lm-layer", "2").stdout  # fmt: skip
    two_each = re.findall(r"^D-(\d+)\t\S+\t(.*)$", output.replace("<unk>", "[UNK]"), re.M)
    best, second = dict(reversed(two_each)), dict(two_each)  # of equal keys the last stays
    references = dict(re.findall(r"^T-(\d+)\t(.*)$", output.replace("<<unk>>", "[UNK]"), re.M))
    assert len(two_each) == 10 and len(set(best.values())) > 1 and "##" not in "".join(best.values())
    figure, other = (
        bert_score(lm, 2, [side[i] for i in references], list(references.values())) for side in (best, second)
    )
    assert abs(figure - other) > 0.01
    name = "/".join(lm.split("/")[-2:])
    (printed,) = re.findall(
        rf"^Generate test with beam=5: F_BERT = (\d+\.\d\d) \({name}_L2_no-idf_version=\S+\)$", output, re.M
    )
    assert float(printed) == pytest.approx(figure, abs=0.0051)  # two digits, and what batches round


def symbols(tokenizer, sentences: list[str], unknown: str):
    """The symbols of each sentence as fairseq prints them, which does not know what is not in the dictionary."""
    vocabulary = tokenizer.get_vocab()
    for pieces in tokenize(tokenizer, sentences):
        yield [piece if piece in vocabulary and piece != tokenizer.unk_token else unknown for piece in pieces]


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta"])
@pytest.mark.parametrize("given", ["text", "pieces"])
def test_figures_are_those_of_the_text(build, tiny_lm, family, given):
    lm = tiny_lm(family)
    tokenizer = load_tokenizer(lm)
    as_text = ["--tokenizer", "word_pieces", "--word-pieces-lm", lm] if given == "text" else []
    f_bert = build("--scoring", "bertscore_lm", "--bertscore-lm", lm, "--bertscore-lm-layer", "2", *as_text)
    mover = build(
        "--scoring", "moverscore", "--moverscore-lm", lm, "--moverscore-version", "v1", "--moverscore-idf", *as_text
    )
    pieces = [list(symbols(tokenizer, *side)) for side in ((HYPOTHESES, "<unk>"), (REFERENCES, "<<unk>>"))]
    texts = [[detokenize(tokenizer, line) for line in side] for side in pieces]
    sides = texts if given == "text" else [list(map(" ".join, side)) for side in pieces]
    for hypothesis, reference in zip(*sides, strict=True):
        for scorer in (f_bert, mover):
            scorer.add_string(reference, hypothesis)
    assert f_bert.score() == pytest.approx(bert_score(lm, 2, HYPOTHESES, REFERENCES), abs=1e-4)
    by_hand = MoverScorer(lm, "v1", True)
    assert mover.score() == pytest.approx(100 * sum(by_hand.score(HYPOTHESES, REFERENCES)) / 4, abs=1e-4)
    assert mover.result_string() == f"MoverScore = {mover.score():.2f} ({by_hand.signature})"


@pytest.mark.parametrize("given", ["text", "pieces"])
def test_unknown_symbols_are_the_language_models(build, tiny_lm, given):
    as_text = ["--tokenizer", "word_pieces", "--word-pieces-lm", tiny_lm("bert")] if given == "text" else []
    scorer = build(
        "--scoring", "bertscore_lm", "--bertscore-lm", tiny_lm("bert"), "--bertscore-lm-layer", "2", *as_text
    )
    scorer.add_string("the <<unk>> is on the roof", "the <unk> on the roof")
    expected = bert_score(tiny_lm("bert"), 2, ["the [UNK] on the roof"], ["the [UNK] is on the roof"])
    assert scorer.score() == pytest.approx(expected, abs=1e-4)


def test_an_unknown_symbol_is_a_word_without_a_piece(build, minilm):
    scorer = build("--scoring", "moverscore", "--moverscore-lm", minilm)
    scorer.add_string("the <<unk>> is blue", "the <unk> is blue")
    assert scorer.score() == 100


def test_an_empty_translation_scores_0(build, tiny_lm):
    scorer = build("--scoring", "bertscore_lm", "--bertscore-lm", tiny_lm("bert"), "--bertscore-lm-layer", "2")
    scorer.add_string("the roof", "the roof")
    assert scorer.score() == pytest.approx(100, abs=1e-3)
    scorer.add_string("a house", "")
    assert scorer.score() == pytest.approx(50, abs=1e-3)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["bertscore_lm"], "--scoring bertscore_lm needs the language model that scores: --bertscore-lm NAME"),
        (["moverscore"], "--scoring moverscore needs the language model that scores: --moverscore-lm NAME"),
        (["bertscore_lm", "--bertscore-lm", "/nowhere"], "cannot load the language model's tokenizer from '/nowhere'"),
        (["moverscore", "--moverscore-lm", "/nowhere"], "cannot load the language model's tokenizer from '/nowhere'"),
        (["bertscore_lm", "--bertscore-lm", "TINY"], "names no scoring layer for"),
        (
            ["bertscore_lm", "--bertscore-lm", "TINY", "--bertscore-lm-layer", "4"],
            r"layers 0 \(its embeddings\) to 3, no layer 4",
        ),
    ],
)
def test_bad_options(build, tiny_lm, arguments, message):
    with pytest.raises(ValueError, match=message):
        build("--scoring", *(argument.replace("TINY", tiny_lm("bert")) for argument in arguments))


def test_pieces_of_another_language_model_are_refused(build, tiny_lm):
    scorer = build("--scoring", "bertscore_lm", "--bertscore-lm", tiny_lm("roberta"), "--bertscore-lm-layer", "2")
    with pytest.raises(
        ValueError, match="a reference has '##ing', which is no word piece of --bertscore-lm .*--tokenizer word_pieces"
    ):
        scorer.add_string("##ing", "##ing")


@pytest.mark.parametrize("options", [[], ["--tokenizer", "space"], ["--bpe", "bert"]])
def test_marks_that_nothing_undid_are_said_once(build, tiny_lm, options, caplog):
    """--tokenizer does not join them, nor does the wrong --bpe."""
    lm = tiny_lm("bert")
    scorer = build("--scoring", "bertscore_lm", "--bertscore-lm", lm, "--bertscore-lm-layer", "2", *options)
    for reference, hypothesis in zip(REFERENCES, HYPOTHESES, strict=True):
        scorer.add_string(reference.replace("on", "o@@ n"), hypothesis.replace("on", "o@@ n"))
    assert scorer.score() == pytest.approx(bert_score(lm, 2, HYPOTHESES, REFERENCES), abs=1e-4)
    (said,) = (message for message in caplog.messages if "--scoring bertscore_lm: " in message)
    assert said.endswith("as --post-process subword_nmt does")
