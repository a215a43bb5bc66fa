"""corpus/folder.py: whole or not at all, once, and nobody else's folder is touched."""

import os
import threading

import pytest

from fairseq_bertloss.corpus.folder import build_once


def writes(text, calls=None):
    """A build function that writes one file."""

    def build(folder, _lock):
        if calls is not None:
            calls.append(folder)
        with open(os.path.join(folder, "file"), "w") as file:
            file.write(text)
        return {"size": len(text)}

    return build


def entries(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir())


def test_built_once(tmp_path):
    destdir = str(tmp_path / "d")
    calls = []
    assert build_once(destdir, "r.json", {"a": 1}, writes("x", calls)) == ({"a": 1, "size": 1}, True)
    assert build_once(destdir, "r.json", {"a": 1}, writes("x", calls)) == ({"a": 1, "size": 1}, False)
    assert len(calls) == 1 and entries(tmp_path) == ["d"]


def test_other_settings_say_what_differs(tmp_path):
    destdir = str(tmp_path / "d")
    build_once(destdir, "r.json", {"settings": {"merges": 5, "lm": "x"}}, writes("x"))
    with pytest.raises(ValueError, match=r"settings.merges was 5, now 7\. .*--overwrite"):
        build_once(destdir, "r.json", {"settings": {"merges": 7, "lm": "x"}}, writes("y"))
    assert (tmp_path / "d" / "file").read_text() == "x"


def test_overwrite_replaces(tmp_path):
    destdir = str(tmp_path / "d")
    build_once(destdir, "r.json", {"a": 1}, writes("x"))
    (tmp_path / "d" / "stale").touch()
    assert build_once(destdir, "r.json", {"a": 2}, writes("y"), overwrite=True)[1]
    assert (tmp_path / "d" / "file").read_text() == "y"
    assert entries(tmp_path) == ["d"] and not {"stale", ".older"} & set(os.listdir(destdir))


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["d", "d.partial"])
def test_what_is_not_ours_is_left_alone(tmp_path, name, overwrite):
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.tex").write_text("all my work")
    with pytest.raises(ValueError, match="not overwritten|in the way"):
        build_once(str(tmp_path / "d"), "r.json", {"a": 1}, writes("x"), overwrite)
    assert (tmp_path / name / "thesis.tex").read_text() == "all my work" and entries(tmp_path) == [name]


def test_failure_leaves_nothing(tmp_path):
    def build(folder, _lock):
        os.mkdir(os.path.join(folder, "text"))
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        build_once(str(tmp_path / "d"), "r.json", {"a": 1}, build)
    assert entries(tmp_path) == []


def test_failed_overwrite_keeps_the_old(tmp_path):
    def build(folder, _lock):
        raise OSError("disk full")

    destdir = str(tmp_path / "d")
    build_once(destdir, "r.json", {"a": 1}, writes("x"))
    with pytest.raises(OSError):
        build_once(destdir, "r.json", {"a": 2}, build, overwrite=True)
    assert (tmp_path / "d" / "file").read_text() == "x" and entries(tmp_path) == ["d"]


def test_second_run_waits_for_the_first_and_finds_its_work(tmp_path):
    destdir = str(tmp_path / "d")
    calls = []
    started = threading.Event()
    go = threading.Event()

    def slow(folder, lock):
        started.set()
        assert go.wait(10)
        return writes("first", calls)(folder, lock)

    results = {}
    first = threading.Thread(target=lambda: results.update(first=build_once(destdir, "r.json", {"a": 1}, slow)))
    second = threading.Thread(
        target=lambda: results.update(second=build_once(destdir, "r.json", {"a": 1}, writes("second", calls)))
    )
    first.start()
    assert started.wait(10)
    second.start()
    second.join(0.3)
    assert second.is_alive() and not calls
    go.set()
    first.join(10)
    second.join(10)
    assert results["first"][1] and not results["second"][1] and len(calls) == 1
    assert (tmp_path / "d" / "file").read_text() == "first" and entries(tmp_path) == ["d"]
