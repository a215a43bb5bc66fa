"""From symbols to text: which of fairseq's doors count, and what is in no text."""

import logging

import pytest
import torch
import yaml
from prepared import PAIRS
from test_criterion import PIECES, build, make_sample  # noqa: F401, build is a fixture
from text_models import foreign  # noqa: F401, a fixture
from training import PACKAGE, fairseq

from fairseq_bertloss.language_model.tokenization import UNKNOWN
from fairseq_bertloss.training.detokenizer import Detokenizer, Step, _finishing_for_bleu, without_text
from fairseq_bertloss.training.raw_references import RawReferences
from fairseq_bertloss.training.unjoined_texts import warn_of_tokens, warn_of_unjoined

RISK = ["--candidates", "2", "--sampled-candidates", "0", "--objective", "risk"]
MOSES = ["--eval-bleu-detok", "moses", "--eval-bleu-detok-args", '{"target_lang": "en"}']
KEPT = ["--post-process", "none"]


@pytest.mark.parametrize(
    "kind, arguments, joined_by",
    [
        ("subword_nmt", [], "--post-process subword_nmt"),
        ("subword_nmt", ["--eval-bleu-remove-bpe", *MOSES], "--eval-bleu-remove-bpe @@  and --eval-bleu-detok moses"),
        ("subword_nmt", ["--remove-bpe", "--eval-bleu-remove-bpe", "letter"], "--post-process subword_nmt"),
        ("subword_nmt", KEPT, "--post-process none"),
        ("sentencepiece", [], "--post-process sentencepiece"),
        ("characters", [], "--post-process sentencepiece"),
    ],
)
def test_the_doors(foreign, kind, arguments, joined_by):
    criterion, _, _, sample = foreign(kind).build(*RISK, "--reward", "chrf", *arguments)
    texts = criterion.rewards.texts
    assert str(texts._target) == joined_by
    if arguments != KEPT:
        assert texts.references(sample, True) == [PAIRS[i][1] for i in sample["id"].tolist()]


def test_options_of_bpe_and_tokenizer_come_first(foreign):
    corpus = foreign("subword_nmt")
    arguments = [*corpus.undo, "-s", "de", "-t", "en", "--tokenizer", "moses", "--eval-bleu-remove-bpe", "letter"]
    criterion = corpus.build(*RISK, "--reward", "chrf", *arguments)[0]
    assert str(criterion.rewards.texts._target) == "--bpe subword_nmt and --tokenizer moses"


def test_sources_are_detokenized_as_targets_are(foreign):
    criterion, _, task, sample = foreign("subword_nmt").build(*RISK, "--reward", "builtins:len", *MOSES)
    assert str(criterion.rewards.texts._source) == "--post-process subword_nmt and --eval-bleu-detok moses"
    (of_target,), (of_source,) = _finishing_for_bleu(task), _finishing_for_bleu(task, "fr")
    assert (of_target.decode("l' homme"), of_source.decode("l' homme")) == ("l' homme", "l'homme")


def test_options_reach_the_criterion_by_hydra(foreign, tiny_lm, tmp_path):
    corpus = foreign("sentencepiece")
    config = {
        "common": {"user_dir": str(PACKAGE), "cpu": True},
        "task": {"_name": "translation", "data": str(corpus.data)},
        "model": {"_name": "transformer_tiny"},
        "bpe": {"_name": "sentencepiece", "sentencepiece_model": corpus.undo[-1]},
        "dataset": {"batch_size": 8, "num_workers": 0, "required_batch_size_multiple": 1, "disable_validation": True},
        "optimization": {"max_update": 1, "lr": [0.001]},
        "optimizer": {"_name": "adam"},
        "lr_scheduler": {"_name": "fixed"},
        "checkpoint": {"save_dir": str(tmp_path), "no_save": True},
        "criterion": {
            **{"_name": "bertscore_loss", "bert_model": tiny_lm("bert"), "bert_layer": 2},
            **{"objective": "risk", "candidates": 2, "sampled_candidates": 0},
        },
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config))
    folder = ["--config-dir", tmp_path, "--config-name", "own", f"hydra.run.dir={tmp_path}"]
    fairseq("hydra_train", *folder)
    log = (tmp_path / "hydra_train.log").read_text()
    assert "symbols joined by --bpe sentencepiece" in log


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--post-process", "bpe"], "--post-process bpe: fairseq knows subword_nmt, sentencepiece, "),
        (["--bpe", "subword_nmt"], "--bpe subword_nmt: Missing mandatory value: bpe_codes"),
        (["--eval-bleu-detok", "moses", "--eval-bleu-detok-args", "{"], "--eval-bleu-detok-args is not JSON: "),
        (["--eval-bleu-detok", "moses", "--eval-bleu-detok-args", "3"], "args 3 is not a JSON object such as"),
        (["--raw-references", "no_such_file"], "cannot read no_such_file"),
        (["--candidates-as", "pieces"], "symbols are not in the vocabulary of .* Any other dictionary will do for"),
        (["--objective", "soft"], "Any other dictionary will do for --objective risk, with candidates as text"),
    ],
)
def test_bad_options(foreign, tiny_lm, arguments, message):
    start = [] if "soft" in arguments else RISK
    with pytest.raises(ValueError, match=message):
        foreign("subword_nmt").build(*start, *arguments, lm=tiny_lm("bert"))


@pytest.mark.parametrize("kind", ["sentencepiece", "subword_nmt"])
def test_a_post_process_of_other_marks_is_refused(build, kind):  # noqa: F811
    with pytest.raises(ValueError, match=f"--post-process {kind} does not undo pieces of .*: leave it out"):
        build(*RISK, "--reward", "bertscore,chrf", "--post-process", kind)


def test_the_log_says_what_is_read(foreign, build, tiny_lm, caplog):  # noqa: F811
    caplog.set_level(logging.INFO)
    build(*RISK)
    assert "BERTScore reads candidates as pieces (--candidates-as)" in caplog.text
    assert "symbols joined by" not in caplog.text
    foreign("subword_nmt").build(*RISK, lm=tiny_lm("bert"))
    assert "BERTScore reads candidates as text (--candidates-as): " in caplog.text
    assert "text of candidates and references: symbols joined by --post-process subword_nmt" in caplog.text


def test_pieces_read_as_text(build, tiny_lm):  # noqa: F811
    """The same F as by ids, but for [SEP], which bert-score does not count."""
    by_text, network, task = build(*RISK, "--candidates-as", "text")
    by_pieces = build(*RISK, "--end-of-sentence", "gold")[0]
    sample = make_sample(task, PIECES)
    words = task.target_dictionary.encode_line("a man is sit ##ting on the roof .", add_if_not_exist=False).tolist()
    for criterion in (by_text, by_pieces):
        criterion.objective.translator.draw = lambda *_: [[words, words[1:]]] * 3
    log, expected = by_text(network, sample)[2], by_pieces(network, sample)[2]
    for name in ("f_expected", "f_first", "f_best"):
        torch.testing.assert_close(log[name], expected[name], atol=1e-5, rtol=0)


def test_what_is_in_no_text(foreign):
    task = foreign("subword_nmt").build(*RISK, "--reward", "chrf")[2]
    dictionary = task.target_dictionary
    tags = [
        dictionary.add_symbol(symbol) for symbol in ("<mask>", "madeupword0001", "__de__", "[en_XX]", "[en_XX_mined]")
    ]
    words = [dictionary.add_symbol(symbol) for symbol in ("a@@", "b", "[de_DE]", "__init__")]
    task.langs = ["en_XX", "de"]
    ignored = without_text(dictionary, task)
    text = Detokenizer(dictionary, [Step("", lambda line: line.replace("@@ ", ""))], ignored, "<unk>")
    ids = [dictionary.bos(), *tags, *words, dictionary.unk(), dictionary.eos(), dictionary.pad()]
    assert text(ids) == f"ab [de_DE] __init__ {UNKNOWN}"


def test_raw_references(foreign, tiny_lm, write):
    lines = [f"Reference {number}." for number in range(7)]
    corpus = foreign("subword_nmt")
    path = write("raw", "".join(f"{line}\n" for line in lines))
    criterion, _, _, sample = corpus.build(*RISK, "--raw-references", path, lm=tiny_lm("bert"))
    texts = criterion.rewards.texts
    assert texts.references(sample, True) == [lines[i] for i in sample["id"].tolist()]
    assert texts.references(sample, False) == [PAIRS[i][1] for i in sample["id"].tolist()]
    short = write("short", "One line.\n")
    criterion, network, _, _ = corpus.build(*RISK, "--raw-references", short, lm=tiny_lm("bert"))
    with pytest.raises(ValueError, match="short has 1 lines, and the training set 7 sentences"):
        criterion(network, sample)


def test_raw_references_of_data_in_several_folders_are_refused(foreign, tiny_lm, write):
    task = foreign("subword_nmt").build(*RISK, lm=tiny_lm("bert"))[2]
    task.cfg.data = f"{task.cfg.data}:{task.cfg.data}"
    with pytest.raises(ValueError, match="--raw-references: the training set lies in several folders, .*: leave"):
        RawReferences(write("raw", "Words.\n" * 7), task)


def test_empty_references_are_skipped_and_counted(foreign, tiny_lm, write, caplog):
    raw = write("raw", "".join("Words.\n" if number % 2 else " \n" for number in range(7)))
    criterion, network, _, sample = foreign("subword_nmt").build(*RISK, "--raw-references", raw, lm=tiny_lm("bert"))
    for _ in range(2):
        _, size, log = criterion(network, sample)
        assert (size, log["skipped"], log["nsentences_scored"]) == (3, 4, 3)
    assert caplog.text.count("skipping references that have no text") == 1


def test_an_empty_candidate_has_f_0(foreign, tiny_lm, monkeypatch):
    criterion, network, task, sample = foreign("subword_nmt").build(*RISK, lm=tiny_lm("bert"))
    monkeypatch.setattr(criterion.objective.translator, "draw", lambda *_: [[[2]]] * 7)
    log = criterion(network, sample)[2]
    assert log["candidates"] == 7 and log["f_best"] == 0


def test_no_target_is_too_long_for_text(foreign, tiny_lm):
    criterion, network, _, sample = foreign("characters").build(*RISK, lm=tiny_lm("bert"))
    sample["target"] = torch.cat([sample["target"][:, :-1].clamp(min=4).repeat(1, 4), sample["target"]], dim=1)
    sample["net_input"]["prev_output_tokens"] = sample["target"].roll(1, dims=1)
    assert sample["target"].size(1) > criterion.bertscore.max_target_length
    assert len(criterion._fitting(sample, True)) == 7


def test_a_warning_of_texts_that_were_not_joined(caplog):
    warn_of_unjoined(["the man", "a dog", "th@@ e end"], "nothing")
    assert not caplog.text
    warn_of_unjoined(["th@@ e man", "a d@@ og", "end"], "--bpe gpt2")
    assert "2 of 3 texts of candidates and references still have the subword mark @@, as in 'th@@ e man'" in caplog.text
    assert "Symbols were joined by --bpe gpt2: take --post-process subword_nmt (said once)" in caplog.text
    warn_of_unjoined(["le ##rte ge", "dog ##s"], "nothing", "sources")
    assert "2 of 2 texts of sources still have the subword mark ##" in caplog.text
    assert "name the language model whose pieces they are with --bert-model" in caplog.text
    warn_of_unjoined(["▁the ▁man"], "nothing")
    assert "take --post-process sentencepiece" in caplog.text
    warn_of_unjoined(["262 313 11"], "nothing")
    assert "nothing but numbers, as in '262 313 11'" in caplog.text and "take --bpe gpt2" in caplog.text


def test_a_few_words_with_marks_are_enough_for_a_warning(caplog):
    """A large vocabulary has most words whole."""
    warn_of_unjoined([*["the man is on the roof"] * 8, "two un ##lea ##shed dogs"], "nothing")
    assert "1 of 9 texts of candidates and references still have the subword mark ##" in caplog.text


def test_a_warning_of_tokens(caplog):
    text = ["The man, who is tall, sits.", "A dog runs, and barks."] * 5
    warn_of_tokens(text, "nothing")
    assert not caplog.text
    warn_of_tokens([line.replace(",", " ,").replace(".", " .") for line in text], "--remove-bpe")
    assert (
        "(25 of 25 commas and full stops stand apart, 0 escapes), as 'The man , who is tall , sits .' is" in caplog.text
    )
    assert (
        "Symbols were joined by --remove-bpe: if words came from Moses' tokenizer, add --tokenizer moses" in caplog.text
    )


def test_the_warning_comes_once(foreign, caplog):
    criterion, network, _, sample = foreign("subword_nmt").build(*RISK, "--reward", "chrf", *KEPT)
    criterion(network, sample), criterion(network, sample)
    assert caplog.text.count("still have the subword mark @@") == 1


def test_a_text_that_comes_again_is_remembered(foreign):
    dictionary = foreign("subword_nmt").build(*RISK, "--reward", "chrf")[2].target_dictionary
    made = []
    text = Detokenizer(dictionary, [Step("counted", lambda line: made.append(line) or line)], set(), "<unk>")
    assert text([5, 6, 2]) == text((5, 6, 2)) and len(made) == 1
