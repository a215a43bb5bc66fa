"""The corpora of benchmarks/effect.py: which lines become which set, and where the quickstart's comes from."""

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import REPOSITORY, import_benchmark


@pytest.fixture(scope="module")
def corpora():
    """The module of the corpora."""
    return import_benchmark("effect_corpora")


def word_pieces():
    """Those of a language model that is not there."""
    return import_benchmark("effect_pieces").pieces_of("word-pieces", "LM")


def write(folder: Path, name: str, lines: dict[str, list[str]]) -> None:
    """Both sides of a set."""
    folder.mkdir(exist_ok=True)
    for language, own in lines.items():
        (folder / f"{name}.{language}").write_text("".join(f"{line}\n" for line in own), encoding="utf-8")


def test_even_and_odd_lines(corpora, tmp_path):
    """The validation set of talks is halved; a training pair with a placeholder is left out."""
    write(tmp_path / "ted.zh-en", "train", {"zh": ["一", "<T_1> 二"], "en": ["one", "two"]})
    write(tmp_path / "ted.zh-en", "valid", {"zh": ["三", "四", "五"], "en": ["three", "four", "five"]})
    read = corpora.CORPORA["ted-zh-en"].read(tmp_path, tmp_path)
    expected = {"train": [("一", "one")], "valid": [("三", "three"), ("五", "five")], "test": [("四", "four")]}
    assert read == {subset: {"ted": pairs} for subset, pairs in expected.items()}


@pytest.fixture
def mixed(corpora, monkeypatch, tmp_path):
    """A corpus of two parts, one without held-out sets of its own, with text that stands in several places."""
    monkeypatch.setattr(corpora, "HELD_OUT", 1)
    write(
        tmp_path / "talks", "train", {"de": ["Eins.", "Zwei.", "EINS", "Drei."], "en": ["One.", "Two.", "One!", "3."]}
    )
    write(tmp_path / "talks", "valid", {"de": ["Zwölf.", "Elf.", "Zehn."], "en": ["Twelve.", "Eleven.", "Ten."]})
    write(
        tmp_path / "manuals",
        "all",
        {
            "de": ["Vier.", "Elf!", "Fünf.", "Sechs.", "Sieben."],
            "en": ["Four.", "Number eleven.", "ten", "3", "Seven."],
        },
    )
    parts = {
        "talks": corpora._halved("talks"),
        "manuals": corpora.Part(**corpora._files("all"), folder="manuals"),
    }
    return corpora.Corpus(parts)


def test_parts_are_isolated(mixed, tmp_path, capsys):
    """A file without a validation set loses its end; test goes before validation, and both before training."""
    assert mixed.read(tmp_path, tmp_path) == {
        "train": {"talks": [("Eins.", "One."), ("Zwei.", "Two.")], "manuals": [("Vier.", "Four.")]},
        "valid": {"talks": [("Zwölf.", "Twelve."), ("Zehn.", "Ten.")], "manuals": [("Sieben.", "Seven.")]},
        "test": {"talks": [("Elf.", "Eleven.")], "manuals": [("Sechs.", "3")]},
    }
    said = capsys.readouterr().err
    assert "train, talks: 4 pairs less 2 that stand elsewhere too" in said
    assert "train, manuals: 3 pairs less 2 that stand elsewhere too" in said
    assert "test, talks: 1 pairs less 0 that stand elsewhere too" in said


def test_parts_are_prepared_in_one_piece(corpora, mixed, monkeypatch, tmp_path):
    monkeypatch.setattr(corpora.effect_commands, "call", lambda *command: None)
    mixed.prepare(tmp_path, tmp_path, word_pieces(), [])
    assert (tmp_path / "text" / "valid.en").read_text(encoding="utf-8") == "Twelve.\nTen.\nSeven.\n"
    assert json.loads((tmp_path / "text" / corpora.PARTS).read_text())["valid"] == {"talks": 2, "manuals": 1}


@pytest.mark.parametrize("name", ["mixed", "mixed-zh-en"])
def test_the_mixed_corpora(corpora, shared, name, tmp_path):
    """Every part but the further talks has a validation and a test set, none of whose text is trained on."""
    read = corpora.CORPORA[name].read(shared / "data", tmp_path)
    named = [part for part in corpora.CORPORA[name].parts if part != "ted-extra"]
    assert list(read["valid"]) == list(read["test"]) == named
    assert all(len(pairs) > 150 for subset in ("valid", "test") for pairs in read[subset].values())
    trained, validated, tested = (
        [{corpora.key(pair)[side] for own in read[subset].values() for pair in own} for side in (0, 1)]
        for subset in ("train", "valid", "test")
    )
    for side in (0, 1):
        assert not trained[side] & (validated[side] | tested[side]) and not validated[side] & tested[side]


def test_what_is_prepared(corpora, monkeypatch, tmp_path):
    """The text lies in files named by the language, and these are what `bertloss prepare` reads."""
    calls = []
    monkeypatch.setattr(corpora.effect_commands, "call", lambda *command: calls.append([str(part) for part in command]))
    for name in ("train", "valid"):
        write(tmp_path / "ted.zh-en", name, {"zh": ["三", "四"], "en": ["three", "four"]})
    corpora.CORPORA["ted-zh-en"].prepare(tmp_path, tmp_path / "work", word_pieces(), ["--merges", "10"])
    (command,) = calls
    text = tmp_path / "work" / "text"
    assert (text / "test.zh").read_text(encoding="utf-8") == "四\n"
    assert json.loads((text / corpora.PARTS).read_text()) == {
        "train": {"ted": 2},
        "valid": {"ted": 1},
        "test": {"ted": 1},
    }
    for option, value in (
        ("--test-source", tmp_path / "work/text/test.zh"),
        ("--source-lang", "zh"),
        ("--merges", "10"),
    ):
        assert command[command.index(option) + 1] == str(value)


def test_a_corpus_that_is_not_there(corpora, tmp_path):
    with pytest.raises(ValueError, match="there is no folder .*multi30k: --data names the folder above it"):
        corpora.CORPORA["multi30k"].read(tmp_path, tmp_path)


def test_home_assistant_is_fetched_as_by_the_quickstart(corpora, monkeypatch, tmp_path):
    calls = []

    def call(*command):
        calls.append([str(part) for part in command])
        if "pip" in command:
            (tmp_path / "wheel").mkdir()
            (tmp_path / "wheel" / "homeassistant-1-py3-none-any.whl").touch()
        else:
            for name in ("train", "valid", "test"):
                write(tmp_path / "corpus", name, {"de": ["Licht aus"], "en": ["Lights off"]})

    monkeypatch.setattr(corpora.effect_commands, "call", call)
    read = corpora.CORPORA["homeassistant"].read(tmp_path / "nothing", tmp_path)
    assert read == dict.fromkeys(("train", "valid", "test"), {"homeassistant": [("Licht aus", "Lights off")]})
    download, extract = calls
    quickstart = (REPOSITORY / "scripts" / "quickstart.sh").read_text(encoding="utf-8")
    assert re.fullmatch(r"homeassistant==\d[\d.]+\d", download[-1]) and f"{download[-1]}\n" in quickstart
    assert extract[:3] == ["bertloss", "homeassistant", str(tmp_path / "wheel" / "homeassistant-1-py3-none-any.whl")]


def test_the_quickstarts_size_is_what_the_quickstart_trains():
    """Its model, batches and schedule."""
    size = import_benchmark("effect_sizes").SIZES[import_benchmark("effect_corpora").CORPORA["homeassistant"].size]
    files = [f"scripts/{name}.sh" for name in ("quickstart", "small_model", "steps")]
    files += [f"configs/{name}.flags" for name in ("training", "small_model")]
    scripts = "".join((REPOSITORY / name).read_text(encoding="utf-8") for name in files)
    (updates,) = re.findall(r"BASELINE_UPDATES:-(\d+)", scripts)
    said = re.sub(r"[()'\\]", " ", scripts.replace('"$baseline_updates"', updates).replace("0.9, ", "0.9,")).split()
    pairs = set(pairwise(said))
    ours = f"{size.model} {size.training} {size.annealing} {size.prepare}".replace(
        "--log-format json --log-interval 10", ""
    )
    ours = re.sub(r"[()]", "", ours).split()
    options = [
        (option, value) for option, value in pairwise(ours) if option.startswith("--") and not value.startswith("--")
    ]
    assert len(options) > 20 and set(options) <= pairs
