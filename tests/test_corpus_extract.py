"""corpus/extraction.py, held_out.py and `bertloss extract`: which pairs go where, in a folder whole or not there."""

import json

import pytest
from archives import TRAIN_PAIRS, pair_files, pair_tgz, write_tree

from fairseq_bertloss import cli
from fairseq_bertloss.corpus.extraction import Splits, evenly_spaced, extract
from fairseq_bertloss.corpus.plain import PlainText
from fairseq_bertloss.corpus.wit3 import Wit3

KEPT = [pair for pair in TRAIN_PAIRS if all(pair)]


def numbered(folder, **sizes: int) -> PlainText:
    """A plain corpus whose pair i of a set is (SET i, set i); the fourth training pair has an empty side."""
    files = {}
    for name, size in sizes.items():
        files[f"{name}.de"] = "".join(f"{name.upper()} {i}\n" for i in range(1, size + 1)).replace("TRAIN 4\n", "\n")
        files[f"{name}.en"] = "".join(f"{name} {i}\n" for i in range(1, size + 1))
    return PlainText(write_tree(folder, files), "de", "en")


def write_pairs(folder, **sets: list[tuple[str, str]]) -> str:
    """The files of plain text of each set's pairs; returns the folder."""
    files = {}
    for name, pairs in sets.items():
        for language, lines in zip(("de", "en"), zip(*pairs, strict=True), strict=True):
            files[f"{name}.{language}"] = "".join(f"{line}\n" for line in lines)
    return write_tree(folder, files)


def written(folder) -> dict[str, list[str]]:
    """The English side's lines, once it is clear that the German side says the same."""
    splits = {}
    for path in folder.glob("*.en"):
        splits[path.stem] = path.read_text("utf-8").splitlines()
        assert path.with_suffix(".de").read_text("utf-8").splitlines() == [line.upper() for line in splits[path.stem]]
    return splits


def numbers(split: list[str]) -> list[int]:
    return [int(line.split()[1]) for line in split]


def test_training_only(tmp_path):
    record, is_new = extract(numbered(tmp_path / "in", train=6), Splits(), str(tmp_path / "out"))
    assert is_new and record["counts"] == {"train": 5} and record["empty_training_pairs"] == 1
    assert sorted(path.name for path in (tmp_path / "out").glob("[!.]*")) == ["extract.json", "train.de", "train.en"]
    assert numbers(written(tmp_path / "out")["train"]) == [1, 2, 3, 5, 6]


def test_every_nth_pair_counts_pairs_with_both_sides(tmp_path):
    corpus = numbered(tmp_path / "in", train=10, dev=2, tst=3)
    extract(corpus, Splits(valid_every=3, test=("tst", "dev")), str(tmp_path / "out"))
    splits = written(tmp_path / "out")
    assert numbers(splits["valid"]) == [3, 7, 10]
    assert numbers(splits["train"]) == [1, 2, 5, 6, 8, 9]
    assert splits["test"] == ["tst 1", "tst 2", "tst 3", "dev 1", "dev 2"]


def test_sets_are_joined_in_the_order_asked_for(tmp_path):
    corpus = numbered(tmp_path / "in", train=3, a=1, b=2)
    extract(corpus, Splits(valid=("b", "a")), str(tmp_path / "out"))
    assert written(tmp_path / "out")["valid"] == ["b 1", "b 2", "a 1"]


def test_halves(tmp_path):
    corpus = numbered(tmp_path / "in", train=3, a=5)
    extract(corpus, Splits(valid=("a",), halve_valid=True), str(tmp_path / "out"))
    splits = written(tmp_path / "out")
    assert splits["valid"] == ["a 1", "a 3", "a 5"] and splits["test"] == ["a 2", "a 4"]


def test_halves_of_what_training_gives_up(tmp_path):
    extract(numbered(tmp_path / "in", train=9), Splits(valid_every=2, halve_valid=True), str(tmp_path / "out"))
    splits = written(tmp_path / "out")
    assert [numbers(splits[name]) for name in ("train", "valid", "test")] == [[1, 3, 6, 8], [2, 7], [5, 9]]


def test_a_smaller_version_is_evenly_spaced(tmp_path):
    corpus = numbered(tmp_path / "in", train=23, a=5)
    splits = Splits(valid_every=11, test=("a",), at_most={"train": 4, "valid": 1, "test": 9})
    extract(corpus, splits, str(tmp_path / "out"))
    kept = written(tmp_path / "out")
    assert numbers(kept["valid"]) == [12] and numbers(kept["train"]) == [1, 7, 13, 18]
    assert len(kept["test"]) == 5
    assert evenly_spaced(list("abcdefg"), 3) == ["a", "c", "e"] and evenly_spaced([], 2) == []


def test_long_pairs_are_left_out_first(tmp_path):
    """Of every split, whichever side is long; every third of the others is for validation."""
    train = [("B", "b"), ("A A A A", "a"), ("A", "a a a a"), *[("C C C", "c c c")] * 5]
    path = write_pairs(tmp_path / "in", train=train, a=[("A A A A", "a"), ("D", "d")])
    corpus = PlainText(path, "de", "en")
    extract(corpus, Splits(valid_every=3, test=("a",), max_words=3), str(tmp_path / "out"))
    splits = written(tmp_path / "out")
    assert splits["train"] == ["b", *["c c c"] * 3] and splits["valid"] == ["c c c"] * 2 and splits["test"] == ["d"]


def test_disjoint_splits(tmp_path, capsys):
    """By either side of a pair, letters alone; before a split is made smaller."""
    train = [("Eins!", "one"), ("zwei", "Tŵo."), ("drei", "three"), ("?!", "?!"), ("?", "?"), ("vier", "four"),
             ("vier", "four")]  # fmt: skip
    sets = {"train": train, "a": [("eins", "1"), ("?!", "what"), ("x", "three")], "b": [("x", "TWO"), ("y", "y")]}
    path = write_pairs(tmp_path / "in", **sets)
    options = ["--valid", "a", "--test", "b", "--disjoint", "--at-most", "test=1"]
    assert cli.main(command(path, "plain", tmp_path / "out", *options)) == 0
    assert capsys.readouterr().err.splitlines()[1:] == [
        "left out of train: 3 pairs that stand in validation or test",
        "left out of valid: 1 pairs that stand in test",
        "train: 4 pairs, valid: 2 pairs, test: 1 pairs",
    ]
    english = {name: (tmp_path / "out" / f"{name}.en").read_text().split() for name in ("train", "valid", "test")}
    assert english == {"train": ["three", "?", "four", "four"], "valid": ["1", "what"], "test": ["TWO"]}


def test_a_folder_of_an_earlier_version(tmp_path):
    """Which had no --disjoint stays as it is."""
    corpus = numbered(tmp_path / "in", train=3)
    extract(corpus, Splits(), str(tmp_path / "out"))
    record = json.loads((tmp_path / "out" / "extract.json").read_text("utf-8"))
    del record["splits"]["disjoint"]
    (tmp_path / "out" / "extract.json").write_text(json.dumps(record), "utf-8")
    assert not extract(corpus, Splits(), str(tmp_path / "out"))[1]


def test_wit3_as_in_the_paper(tmp_path):
    path = write_tree(tmp_path, {"de-en.tgz": pair_tgz()}) + "/de-en.tgz"
    splits = Splits(valid_every=3, test=("dev2010", "dev2012"))
    record, _ = extract(Wit3(path, "de", "en"), splits, str(tmp_path / "out"))
    assert record["counts"] == {"train": 4, "valid": 2, "test": 6}
    for side, language in enumerate(("de", "en")):
        lines = {split: (tmp_path / "out" / f"{split}.{language}").read_text("utf-8") for split in record["counts"]}
        assert lines["valid"].splitlines() == [KEPT[2][side], KEPT[5][side]]
        assert lines["train"].splitlines() == [KEPT[i][side] for i in (0, 1, 3, 4)]
        assert [line[-8:-1] for line in lines["test"].splitlines()] == ["dev2010"] * 3 + ["dev2012"] * 3


def test_once_for_the_same_settings_and_input(tmp_path):
    destdir = tmp_path / "out"
    assert extract(numbered(tmp_path / "in", train=9, a=2), Splits(valid=("a",)), str(destdir))[1]
    record, is_new = extract(numbered(tmp_path / "in", train=9, a=2), Splits(valid=("a",)), str(destdir))
    assert not is_new and record == json.loads((destdir / "extract.json").read_text("utf-8"))
    with pytest.raises(ValueError, match="splits.valid was .'a'., now ..; splits.valid_every was absent, now 3"):
        extract(numbered(tmp_path / "in", train=9, a=2), Splits(valid_every=3), str(destdir))
    with pytest.raises(ValueError, match="settings: inputs.a.de was [0-9a-f]{24}, now [0-9a-f]{24}; inputs.a.en was"):
        extract(numbered(tmp_path / "in", train=9, a=3), Splits(valid=("a",)), str(destdir))
    assert len(written(destdir)["valid"]) == 2
    assert extract(numbered(tmp_path / "in", train=9, a=3), Splits(valid=("a",)), str(destdir), overwrite=True)[1]
    assert len(written(destdir)["valid"]) == 3


def test_another_set_does_not_matter(tmp_path):
    assert extract(numbered(tmp_path / "in", train=5, a=2), Splits(), str(tmp_path / "out"))[1]
    assert not extract(numbered(tmp_path / "in", train=5, a=3), Splits(), str(tmp_path / "out"))[1]


@pytest.mark.parametrize(
    "wishes, message",
    [
        ({"valid_every": 1}, "--valid-every must be 2 or more, not 1"),
        ({"valid_every": 2, "valid": ("a",)}, "--valid-every and --valid both choose the validation set: give one"),
        (
            {"valid": ("a", "b"), "test": ("c", "b")},
            "a set can serve for one of train, valid and test, once; named more than once: b$",
        ),
        ({"test": ("a", "a")}, "a set can serve .* more than once: a$"),
        ({"valid": ("train",)}, "a set can serve .* more than once: train$"),
        ({"halve_valid": True}, "--halve-valid .* needs --valid or --valid-every"),
        ({"halve_valid": True, "valid": ("a",), "test": ("b",)}, "--halve-valid .* and no --test"),
        ({"at_most": {"test": 5}}, "--at-most names the split 'test', but those written are train$"),
        (
            {"at_most": {"dev": 5}, "valid": ("a",)},
            "--at-most names the split 'dev', but those written are train, valid$",
        ),
        ({"max_words": 0}, "--max-words must be 1 or more, not 0"),
        ({"at_most": {"train": 0}}, "--at-most train=0: a split needs at least one pair"),
    ],
)
def test_contradictions_are_errors(wishes, message):
    with pytest.raises(ValueError, match=message):
        Splits(**wishes)


@pytest.mark.parametrize(
    "sizes, wishes, message",
    [
        ({"train": 5}, {"valid_every": 5}, "no pairs for valid: the corpus is too small"),
        ({"train": 5, "a": 1}, {"valid": ("a",), "halve_valid": True}, "no pairs for test"),
        ({"train": 5, "a": 1}, {"test": ("b",)}, "no set 'b'; its sets: a, train"),
        ({"a": 5}, {}, "no set 'train'; its sets: a$"),
    ],
)
def test_bad_corpora_leave_nothing_behind(sizes, wishes, message, tmp_path):
    corpus = numbered(tmp_path / "in", **sizes)
    with pytest.raises(ValueError, match=message):
        extract(corpus, Splits(**wishes), str(tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_missing_set_of_an_archive_leaves_nothing_behind(tmp_path):
    path = write_tree(tmp_path, {"de-en.tgz": pair_tgz()}) + "/de-en.tgz"
    with pytest.raises(ValueError, match="no set 'tst2014'; its sets: train, dev2010, dev2012, tst2010"):
        extract(Wit3(path, "de", "en"), Splits(test=("tst2014",)), str(tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["de-en.tgz"]


def command(path, corpus: str, destdir, *options: str) -> list[str]:
    languages = ["--source-lang", "de", "--target-lang", "en"]
    return ["extract", str(path), "--corpus", corpus, *languages, "--destdir", str(destdir), *options]


def test_command(tmp_path, capsys):
    path = write_tree(tmp_path / "de-en", pair_files())
    options = ["--valid-every", "3", "--test", "dev2010", "tst2010", "--at-most", "train=3", "test=4"]
    assert cli.main(command(path, "wit3", tmp_path / "out", *options)) == 0
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path}/out: written",
        "left out of training: 1 pairs with an empty side",
        "train: 3 pairs, valid: 2 pairs, test: 4 pairs",
    ]
    assert cli.main(command(path, "wit3", tmp_path / "out", *options)) == 0
    assert "already prepared" in capsys.readouterr().err


def test_command_detokenizes(tmp_path):
    path = write_tree(tmp_path / "in", {"train.de": "das ist &apos;s .\n", "train.en": "that &apos;s it .\n"})
    assert cli.main(command(path, "plain", tmp_path / "out", "--moses-tokenized")) == 0
    assert (tmp_path / "out" / "train.en").read_text() == "that's it.\n"


@pytest.mark.parametrize(
    "corpus, options, message",
    [
        ("wit3", ["--moses-tokenized"], "--moses-tokenized is for --corpus plain"),
        ("plain", ["--download"], "--download is for --corpus wit3"),
        ("wit3", [], "no.tgz does not exist"),
        ("plain", [], "no.tgz is not a folder"),
        ("wit3", ["--valid", "a", "--test", "a"], "a set can serve for one of train, valid and test, once"),
    ],
)
def test_command_errors_are_one_line(corpus, options, message, tmp_path, capsys):
    assert cli.main(command(tmp_path / "no.tgz", corpus, tmp_path / "out", *options)) == 2
    error = capsys.readouterr().err
    assert error.startswith("bertloss: error: ") and error.count("\n") == 1 and message in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", ["train", "train=", "train=x", "train=-1"])
def test_command_refuses_what_is_no_size(size, tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main(command(tmp_path, "plain", tmp_path / "out", "--at-most", size))
    assert "does not have the form train=6000" in capsys.readouterr().err
