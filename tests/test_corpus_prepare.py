"""corpus/prepare.py end to end: what the folder holds, and that it depends on nothing but settings and inputs."""

import os
import shutil
import signal
import subprocess

import pytest
from fairseq.data import Dictionary, data_utils
from prepared import BERTLOSS, PAIRS, command, contents, run, write_corpus
from waiting import wait_for

from fairseq_bertloss.corpus.lines import read_lines
from fairseq_bertloss.corpus.prepare import prepare, worthwhile_workers
from fairseq_bertloss.corpus.settings import Settings
from fairseq_bertloss.corpus.source import SourceText
from fairseq_bertloss.language_model.tokenization import tokenize
from fairseq_bertloss.language_model.vocabulary import align, load_tokenizer, symbol_names


def fairseq_text(prepared, split: str, language: str) -> list[str]:
    """The lines of a binarized file, as fairseq reads them back."""
    dictionary = Dictionary.load(str(prepared.destdir / f"dict.{language}.txt"))
    data = data_utils.load_indexed_dataset(str(prepared.destdir / f"{split}.de-en.{language}"), dictionary)
    return [dictionary.string(data[i]) for i in range(len(data))]


def test_report_counts_what_was_dropped_and_warns(prepared):
    lines = prepared.stderr.splitlines()
    assert "train: 2400 of 2403 pairs kept; dropped: 1 empty source, 1 empty target, 1 long source" in lines
    assert "valid: 6 pairs; warning: 1 empty source, all kept" in lines
    assert "test: 5 pairs" in lines


def test_evaluation_sets_stay_aligned_with_their_references(prepared):
    tokenizer = load_tokenizer(prepared.lm)
    references = [target for _, target in PAIRS[3:]]
    pieces = tokenize(tokenizer, [line.lower() for line in references])
    assert fairseq_text(prepared, "test", "en") == [" ".join(line) for line in pieces]
    assert len(fairseq_text(prepared, "valid", "de")) == 6
    assert fairseq_text(prepared, "valid", "de")[4] == ""


def test_source_side_can_be_repeated(prepared):
    source = SourceText.load(str(prepared.destdir))
    texts = fairseq_text(prepared, "test", "de")
    assert [source.encode(text) for text, _ in PAIRS[3:]] == texts
    assert texts[2].replace("@@ ", "") == "&quot; wie geht &apos; s ? &quot; , fragt dr. müller ."


def test_target_dictionary_is_the_whole_vocabulary(prepared):
    tokenizer = load_tokenizer(prepared.lm)
    dictionary = Dictionary.load(str(prepared.destdir / "dict.en.txt"))
    assert len(dictionary) == len(tokenizer.get_vocab())
    assert sorted(align(*symbol_names(dictionary)[:1], tokenizer).tolist()) == list(range(len(dictionary)))


def test_folder_is_complete_and_alone(prepared):
    names = contents(prepared.destdir).keys()
    binarized = {f"{split}.de-en.{lang}.{end}" for split in ("train", "valid", "test") for lang in ("de", "en")
                 for end in ("bin", "idx")}  # fmt: skip
    text = {f"text/{split}.{lang}" for split in ("train", "valid", "test") for lang in ("de", "en")}
    assert names == binarized | text | {"dict.de.txt", "dict.en.txt", "bpe.codes", "prepare.json", ".lock"}
    assert not os.path.exists(f"{prepared.destdir}.partial")


def test_killed_run_is_not_trusted_and_two_workers_give_the_same_bytes(prepared, tmp_path):
    destdir = tmp_path / "killed"
    partial = tmp_path / "killed.partial"
    arguments = command(prepared.corpus, prepared.lm, destdir, "--workers")
    process = subprocess.Popen([*arguments, "1"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for(lambda: (partial / "dict.de.txt").exists())  # fairseq-preprocess, a child, is at work
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert partial.exists() and not destdir.exists()
    (partial / "train.de-en.de.bin.leftover").touch()
    done = run([*arguments, "2"])
    assert done.returncode == 0, done.stderr
    assert contents(destdir) == contents(prepared.destdir)
    assert not partial.exists()


def test_prepared_folder_is_left_alone_and_other_settings_are_an_error(prepared, tmp_path):
    paths = dict(zip(prepared.corpus[::2], prepared.corpus[1::2], strict=True))
    corpora = {
        "train": (paths["--source"], paths["--target"]),
        "valid": (paths["--valid-source"], paths["--valid-target"]),
        "test": (paths["--test-source"], paths["--test-target"]),
    }
    settings = dict(source_lang="de", target_lang="en", lm=prepared.lm, lowercase=True, merges=100, max_length=30)
    before = (prepared.destdir / "prepare.json").stat().st_mtime_ns
    record, is_new = prepare(Settings(**settings), corpora, str(prepared.destdir))
    assert not is_new and record["counts"]["train"]["kept"] == 2400
    assert (prepared.destdir / "prepare.json").stat().st_mtime_ns == before

    with pytest.raises(ValueError, match="settings.merges was 100, now 200"):
        prepare(Settings(**{**settings, "merges": 200}), corpora, str(prepared.destdir))
    changed = shutil.copy(paths["--valid-source"], tmp_path)
    with open(changed, "a", encoding="utf-8") as file:
        file.write("Noch ein Satz.\n")
    corpora["valid"] = (changed, paths["--valid-target"])
    with pytest.raises(ValueError, match=r"inputs.valid.de was sha256:\w+, now sha256:\w+"):
        prepare(Settings(**settings), corpora, str(prepared.destdir))


def test_observed_vocabulary_holds_what_training_has(minilm, tmp_path):
    paths = write_corpus(tmp_path)[1:4:2]
    settings = Settings("de", "en", minilm, merges=100, max_length=30, observed_vocabulary=True)
    prepare(settings, {"train": paths}, str(tmp_path / "out"))
    dictionary = Dictionary.load(str(tmp_path / "out" / "dict.en.txt"))
    tokenizer = load_tokenizer(minilm)
    pieces = [piece for line in read_lines(str(tmp_path / "out" / "text" / "train.en")) for piece in line.split()]
    symbols = dictionary.symbols[dictionary.nspecial :]
    assert set(symbols) == set(pieces) - {tokenizer.unk_token}
    assert {symbol: dictionary.get_count(dictionary.index(symbol)) for symbol in symbols} == {
        symbol: pieces.count(symbol) for symbol in symbols
    }
    ids = tokenizer.convert_tokens_to_ids(symbols)
    assert ids == sorted(ids)


def test_uneven_pairs_are_dropped_from_training_alone(minilm, tmp_path):
    """A ratio of 1.5 lets 3 words stand beside 2 pieces, and 2 words beside 3 pieces."""
    pairs = ["du du du\td e", "du du\tc d e", "du du du\td", "du\tb c", "du du du du\te f", "du du\tc d"]
    for side, name in enumerate(("de", "en")):
        (tmp_path / f"a.{name}").write_text("".join(f"{pair.split(chr(9))[side]}\n" for pair in pairs))
    files = [str(tmp_path / "a.de"), str(tmp_path / "a.en")]
    done = run([
        *BERTLOSS, *"prepare --source-lang de --target-lang en --merges 1".split(),
        *"--max-ratio 1.5 --expected-pairs 4".split(),
        "--source", files[0], "--target", files[1], "--valid-source", files[0], "--valid-target", files[1],
        "--lm", minilm, "--destdir", str(tmp_path / "out"),
    ])  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "text" / "train.en").read_text() == "d e\nc d e\nc d\n"
    assert "train: 3 of 6 pairs kept; dropped: 3 uneven\n" in done.stderr
    assert "valid: 6 pairs; 3 uneven, all kept\n" in done.stderr
    assert done.stderr.endswith(
        "train: 6 pairs after --max-length, expected 4: +2 (+50.0%)\n"
        "train: 3 pairs after --max-ratio, expected 4: -1 (-25.0%)\n"
    )


def test_mismatched_files_leave_nothing(minilm, tmp_path):
    (tmp_path / "a.de").write_text("eins\nzwei\ndrei\n")
    (tmp_path / "a.en").write_text("one\ntwo\n")
    corpora = {"train": (str(tmp_path / "a.de"), str(tmp_path / "a.en"))}
    with pytest.raises(ValueError, match=r"a\.de has 3 lines but .*a\.en has 2"):
        prepare(Settings("de", "en", minilm), corpora, str(tmp_path / "out"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.de", "a.en"]


def test_no_training_pair_left_is_an_error(minilm, tmp_path):
    (tmp_path / "a.de").write_text("ein Satz der zu lang ist\n\n")
    (tmp_path / "a.en").write_text("a sentence that is too long\nx\n")
    corpora = {"train": (str(tmp_path / "a.de"), str(tmp_path / "a.en"))}
    with pytest.raises(ValueError, match="is left: 2 read, 1 empty source, 1 long source"):
        prepare(Settings("de", "en", minilm, max_length=3), corpora, str(tmp_path / "out"))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(source_lang="zh-Hans"), "letters, digits"),
        (dict(source_lang="en"), "both 'en'"),
        (dict(merges=0), "--merges must be at least 1"),
        (dict(max_length=0), "--max-length must be at least 1"),
        (dict(max_ratio=0.5), "--max-ratio must be at least 1"),
    ],
)
def test_impossible_settings(arguments, message):
    with pytest.raises(ValueError, match=message):
        Settings(**{"source_lang": "de", "target_lang": "en", "lm": "x", **arguments})


def test_processes_are_started_where_there_is_text_for_them(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    side = tmp_path / "side"
    for megabytes, workers in ((0, 1), (3, 1), (9, 4), (40, 8)):  # of a side
        with open(side, "wb") as file:
            file.truncate(megabytes * 2**20)
        assert worthwhile_workers({"train": (str(side), str(side)), "valid": ("missing", "missing")}) == workers
