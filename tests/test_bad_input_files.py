"""Bad outputs, links and pipes: an error in one line, unless they can do what a file does."""

import json
import os
import re

import pytest
from bad_input import (
    AGAIN,
    AVERAGE,
    COMPARE,
    PREPARE,
    REPORT,
    SPLIT,
    VOCABULARY,
    both,
    check_one_line,
    here,  # noqa: F401, a fixture
    link,
    malicious_zip,
    pipe,
    write,
)

from fairseq_bertloss import cli

CASES = {
    "output in no folder": (
        COMPARE.replace("out.json", "no/out.json"),
        None,
        "no/out.json: there is no folder no; make it first",
    ),
    "output is a pipe": (COMPARE, pipe("out.json"), "out.json is a pipe: name a file to write instead"),
    "dictionary is a pipe": (VOCABULARY, pipe("dict.txt"), "dict.txt is a pipe: name a file"),
    "dictionary is a device": (
        VOCABULARY.replace("dict.txt", "/dev/null"),
        None,
        "/dev/null leads to /dev, which is the system's: name a file",
    ),
    "output is a link to a pipe": (
        COMPARE,
        both(pipe("pipe"), link("out.json", "pipe")),
        "out.json is a pipe: name a file",
    ),
    "output is an open file": (
        COMPARE.replace("out.json", "/proc/self/fd/0"),
        None,
        "/proc/self/fd/0 leads to /proc/self/fd, which is the system's: name a file",
    ),
    "output is a link to an open file": (
        COMPARE,
        link("out.json", "/dev/fd/0"),
        "out.json leads to /dev/fd, which is the system's: name a file",
    ),
    "output is standard output": (
        COMPARE.replace("out.json", "/dev/stdout"),
        None,
        "/dev/stdout leads to /dev, which is the system's: name a file",
    ),
    "output is a link into no folder": (
        COMPARE,
        link("out.json", "no/x.json"),
        "out.json: there is no folder ./no; make it first",
    ),
    "output is a link to a folder": (COMPARE, link("out.json", "text"), "out.json is a folder: name a file"),
    "output is a link to itself": (COMPARE, link("out.json", "out.json"), "out.json leads in a circle: name a file"),
    "dictionary is a link to an open file": (
        VOCABULARY,
        link("dict.txt", "/proc/self/fd/0"),
        "dict.txt leads to /proc/self/fd, which is the system's: name a file",
    ),
    "a table of the report is a link to an open file": (
        REPORT,
        both(lambda h: (h / "runs").mkdir(), link("page.table.md", "/proc/self/fd/1")),
        "page.table.md leads to /proc/self/fd, which is the system's",
    ),
    "average over a checkpoint, by a link": (
        AVERAGE,
        both(write("model.pt", "x"), link("out.pt", "model.pt")),
        "out.pt is one of the checkpoints to average: give another --output",
    ),
    "dictionary in no folder": (
        VOCABULARY.replace("dict.txt", "no/dict.txt"),
        None,
        "no/dict.txt: there is no folder no; make it first",
    ),
    "dictionary is a folder": (VOCABULARY.replace("dict.txt", "text"), None, "text is a folder: name a file"),
    "nothing to average": (AVERAGE, None, "there is no checkpoint model.pt"),
    "an empty checkpoint to average": (
        AVERAGE,
        write("model.pt", ""),
        "model.pt is not a checkpoint of fairseq-train: it is damaged",
    ),
    "a malicious one to average": (
        AVERAGE,
        malicious_zip("model.pt"),
        "model.pt cannot be read: torch's safe loader refuses ",
    ),
    "average over a checkpoint": (
        AVERAGE.replace("out.pt", "model.pt"),
        write("model.pt", "x"),
        "model.pt is one of the checkpoints to average: give another --output",
    ),
    "average in place of a folder": (AVERAGE.replace("out.pt", "text"), None, "text is a folder: name a file"),
    "average that fairseq splits": (AVERAGE.replace("out.pt", "a:b.pt"), None, SPLIT.format("a:b.pt")),
    "average in no folder": (
        AVERAGE.replace("out.pt", "no/out.pt"),
        None,
        "no/out.pt: there is no folder no; make it first",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line(case, here, capfd):
    check_one_line(*CASES[case], here, capfd)


def piped(content: bytes) -> str:
    """The path of a pipe that holds this, as a shell's <(...) makes it."""
    reading, writing = os.pipe()
    with open(writing, "wb") as file:
        file.write(content)
    return f"/dev/fd/{reading}"


def test_process_substitution_is_refused_where_it_would_be_read_twice(here, capfd):
    source = piped((here / "text/source.txt").read_bytes())
    assert cli.main(PREPARE.replace("text/source.txt", source).split()) == 2
    assert re.search(f"bertloss: error: {source} is a pipe, {AGAIN}", capfd.readouterr().err)
    assert not (here / "out").exists() and not (here / "out.partial").exists()


def test_pipes_are_read_where_once_is_enough(here, capfd):
    files = {name: (here / name).read_bytes() for name in ("ref.txt", "hyp.txt", "hyp2.txt")}
    tables = []
    for paths in (dict.fromkeys(files), {name: piped(content) for name, content in files.items()}):
        line = COMPARE.replace("hyp.txt", "base=hyp.txt").replace("compare", "compare --resamples 1000")
        for name, path in paths.items():
            line = line.replace(name, path or name)
        assert cli.main(line.split()) == 0
        named = os.path.basename(paths["ref.txt"] or "ref.txt")
        tables.append(capfd.readouterr().out.replace(f"sentences of {named}", "sentences of the references"))
    assert tables[0] == tables[1] and "| base" in tables[0]


def test_a_file_as_standard_input_is_read_as_often_as_needed(here, monkeypatch):
    with open("text/source.txt", "rb") as file:
        assert cli.main(PREPARE.replace("text/source.txt", f"/dev/fd/{file.fileno()}").split()) == 0
    assert (here / "out" / "prepare.json").exists()


@pytest.mark.parametrize("target", ["results.json", "kept/results.json"])
@pytest.mark.parametrize("is_there", [False, True])
def test_a_link_stays_and_what_it_leads_to_is_written(is_there, target, here):
    (here / "kept").mkdir()
    (here / "middle").symlink_to(target)
    (here / "out.json").symlink_to(here / "middle")
    if is_there:
        (here / target).write_text("older", encoding="utf-8")
    assert cli.main(COMPARE.split() + ["--resamples", "1000"]) == 0
    assert (here / "out.json").is_symlink() and (here / "middle").is_symlink()
    assert json.loads((here / target).read_text(encoding="utf-8")) and not [*here.rglob("*.partial")]
