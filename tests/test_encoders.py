"""encoders.py: the three ways by which fairseq uses --tokenizer word_pieces."""

import itertools
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import fairseq_cli.generate
import fairseq_cli.interactive
import fairseq_cli.train
import pytest
from fairseq import options
from fairseq.data import encoders
from prepared import PAIRS
from sacrebleu import corpus_bleu
from test_surface import CHINESE, JAPANESE, THAI

from fairseq_bertloss.encoders import WordPieces, WordPiecesConfig
from fairseq_bertloss.evaluation.target_language import words_apart
from fairseq_bertloss.language_model.tokenization import tokenize
from fairseq_bertloss.language_model.vocabulary import load_tokenizer
from fairseq_bertloss.text.unspaced import apart

PACKAGE = str(Path(__file__).resolve().parent.parent / "fairseq_bertloss")


def build(**options):
    """The tokenizer as the translation task builds it for --eval-bleu."""
    return encoders.build_tokenizer(Namespace(tokenizer="word_pieces", **options))


@pytest.fixture(scope="module")
def word_pieces(minilm):
    return build(word_pieces_lm=minilm)


@pytest.mark.parametrize(
    "line, text",
    [
        ("two dogs , one un ##lea ##shed .", "two dogs, one unleashed."),
        ("it ' s <unk> !", "it's <unk>!"),
        ("a <<unk>> of UNKNOWNTOKENINREF ##s", "a <<unk>> of UNKNOWNTOKENINREFs"),
        ("", ""),
    ],
)
def test_decode_joins_pieces(word_pieces, line, text):
    assert word_pieces.decode(line) == text


def test_decode_makes_source_lines_readable(word_pieces):
    assert word_pieces.decode("zwei un@@ gel@@ einte hunde &quot; .") == 'zwei ungeleinte hunde " .'


def test_pieces_that_record_spaces(shared):
    name = str(shared / "models" / "e5-small-en-es-tr")
    tokenizer = build(word_pieces_lm=name)
    text = "İki köpek, biri tasmasız: 'hav'!"
    (pieces,) = tokenize(load_tokenizer(name), [text])
    assert tokenizer.decode(" ".join(pieces)) == text
    assert tokenizer.decode("two un@@ lea@@ shed dogs &apos;s .") == "two unleashed dogs 's ."
    assert tokenizer.decode("two dogs") == "two dogs"


@pytest.mark.parametrize(
    "family, text",
    [
        *itertools.product(["roberta", "deberta", "multilingual-e5"], ["The roof", "roof"]),
        *itertools.product(["roberta", "deberta"], ["Größe"]),  # the small multilingual-e5 has no ö
    ],
)
def test_a_translation_of_few_words(family, text, tiny_lm):
    """DeBERTa's first piece records no space before it, and a line of one word has no other."""
    (pieces,) = tokenize(load_tokenizer(tiny_lm(family)), [text])
    assert build(word_pieces_lm=tiny_lm(family)).decode(" ".join(pieces)) == text


def test_encode_without_a_folder_only_normalises_white_space(word_pieces):
    assert word_pieces.encode(" Zwei\u2028 Hunde\tlaufen. ") == "Zwei Hunde laufen."


def test_encode_repeats_prepare(prepared):
    tokenizer = build(word_pieces_lm=prepared.lm, word_pieces_source=str(prepared.destdir))
    lines = (prepared.destdir / "text" / "test.de").read_text(encoding="utf-8").splitlines()
    assert [tokenizer.encode(source) for source, _ in PAIRS[3:]] == lines


@pytest.mark.parametrize("lines", [CHINESE, JAPANESE, THAI], ids=["zh", "ja", "th"])
def test_validation_by_bleu_finds_words_where_none_are_written(lines, tmp_path, tiny_lm):
    """fairseq's --eval-bleu has sacrebleu's default tokenizer, and its own --eval-tokenized-bleu none."""
    changed = [line.replace("。", "!").replace("ไป", "มา").replace("18", "19") for line in lines]
    hypotheses, references = ([words_apart(line) for line in text] for text in (changed, lines))
    expected = corpus_bleu([apart(line) for line in changed], [[apart(line) for line in lines]], tokenize="zh")
    for tokenizer in ("13a", "none"):
        bleu = corpus_bleu(hypotheses, [references], tokenize=tokenizer, force=True)
        assert (bleu.score, bleu.ref_len) == (expected.score, expected.ref_len)
    if lines is CHINESE:
        assert expected.score == corpus_bleu(changed, [lines], tokenize="zh").score


def test_only_validation_takes_words_apart(tiny_lm):
    name = tiny_lm("xlm-roberta")
    validation, generation = build(word_pieces_lm=name), WordPieces(WordPiecesConfig("word_pieces", name))
    assert (validation.decode("▁我在北京。"), generation.decode("▁我在北京。")) == ("我 在 北 京 。", "我在北京。")
    assert validation.decode("▁The ▁roof") == generation.decode("▁The ▁roof") == "The roof"


def test_language_model_must_be_named():
    with pytest.raises(ValueError, match="--word-pieces-lm NAME"):
        build()


def test_import_loads_no_transformers():
    program = "import sys, fairseq_bertloss.encoders; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(PACKAGE).parent).returncode == 0


@pytest.fixture(scope="module")
def checkpoint(prepared, tmp_path_factory):
    """One update of a tiny model through fairseq-train, validated with BLEU on detokenized text."""
    folder = tmp_path_factory.mktemp("checkpoint")
    arguments = f"{prepared.destdir} --user-dir {PACKAGE} --save-dir {folder} --task translation --cpu"
    arguments += " --arch transformer_iwslt_de_en --encoder-layers 1 --decoder-layers 1"
    arguments += " --encoder-embed-dim 16 --encoder-ffn-embed-dim 16 --encoder-attention-heads 2"
    arguments += " --decoder-embed-dim 16 --decoder-ffn-embed-dim 16 --decoder-attention-heads 2"
    arguments += " --share-decoder-input-output-embed --optimizer adam --lr 1e-3 --max-tokens 400 --max-update 1"
    arguments += " --required-batch-size-multiple 1"  # fairseq's 8 drops what is left over of the 6 sentences
    arguments += " --no-epoch-checkpoints --no-progress-bar --eval-bleu --eval-bleu-detok word_pieces"
    detok = ["--eval-bleu-detok-args", f'{{"word_pieces_lm": "{prepared.lm}"}}', "--eval-bleu-print-samples"]
    decoding = ["--eval-bleu-args", '{"beam": 1, "max_len_b": 5}']
    argv = sys.argv
    sys.argv = ["fairseq-train", *arguments.split(), *detok, *decoding]
    try:
        fairseq_cli.train.cli_main()
    finally:
        sys.argv = argv
    return folder / "checkpoint_last.pt"


def decoding_arguments(parser, prepared, checkpoint, *more):
    """The parsed command line of fairseq-generate or fairseq-interactive."""
    arguments = [str(prepared.destdir), "--user-dir", PACKAGE, "--path", str(checkpoint), "--cpu", "--beam", "1"]
    arguments += ["--max-len-b", "5", "--tokenizer", "word_pieces", "--word-pieces-lm", prepared.lm]
    arguments += ["--required-batch-size-multiple", "1", *more]
    return options.parse_args_and_arch(parser, arguments)


def lines_of(output: str, kind: str) -> dict[int, str]:
    """The last column of the output's S-, T-, H- or D- lines, by sentence."""
    lines = [line.split("\t") for line in output.splitlines() if line.startswith(f"{kind}-")]
    return {int(columns[0][2:]): columns[-1] for columns in lines}


def test_generate(prepared, checkpoint, capsys, word_pieces):
    parser = options.get_generation_parser()
    fairseq_cli.generate.main(decoding_arguments(parser, prepared, checkpoint, "--no-progress-bar"))
    output = capsys.readouterr().out
    targets, sources = lines_of(output, "T"), lines_of(output, "S")
    assert targets[0] == "a woman is standing with three other people in a store."
    assert targets[2].startswith("\" how's it going?")
    assert sources[1] == "die leute reparieren das dach eines hauses ."
    hypotheses, decoded = lines_of(output, "H"), lines_of(output, "D")
    assert decoded == {i: word_pieces.decode(line) for i, line in hypotheses.items()} and len(decoded) == 5


def test_interactive_reads_raw_text(prepared, checkpoint, capsys, tmp_path):
    (tmp_path / "raw.de").write_text(f"{PAIRS[5][0]}\n", encoding="utf-8")
    parser = options.get_interactive_generation_parser()
    more = ["--word-pieces-source", str(prepared.destdir), "--input", str(tmp_path / "raw.de")]
    fairseq_cli.interactive.main(decoding_arguments(parser, prepared, checkpoint, *more))
    source = lines_of(capsys.readouterr().out, "S")[0]
    assert source == (prepared.destdir / "text" / "test.de").read_text(encoding="utf-8").splitlines()[2]
    assert "<unk>" not in source
