"""A disk that runs full, and kill -9 before a result is put in its place: nothing half-written is trusted or left."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import results
import torch
from archives import write_tree
from bad_input import (
    AVERAGE,
    COMPARE,
    PLAIN,
    PREPARE,
    REPORT,
    VOCABULARY,
    everything,
    here,  # noqa: F401, a fixture
)

from fairseq_bertloss import cli

KB = 1024

COMMANDS = {
    "prepare": f"{PREPARE} --overwrite".replace("destdir out", "destdir disk/out"),
    "compare": COMPARE.replace("output out.json", "output disk/out.json"),
    "report": REPORT.replace("output page.html", "output disk/out.html"),
    "vocabulary": VOCABULARY.replace("output dict.txt", "output disk/out.txt"),
    "extract": f"{PLAIN} --overwrite".replace("destdir out", "destdir disk/out"),
    "average": AVERAGE.replace("output out.pt", "output disk/out.pt"),
}
"""What each writes begins with disk/out."""

ROOM = {"prepare": 8 * KB, "report": 4 * KB, "extract": 4 * KB, "average": 4 * KB}
"""Bytes that the full disk still takes of a result; none of the others."""

KILLED = """
import os, signal, sys
number = int(sys.argv[1])
replace = os.replace
calls = []
def killed(*arguments):
    calls.append(arguments)
    if len(calls) == number:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(*arguments)
os.rename = os.replace = killed
from fairseq_bertloss import cli
status = cli.main(sys.argv[2:])
print(len(calls), file=sys.stderr)
sys.exit(status)
"""
"""A program that kills the command before it puts its Nth file in place; if N is 0, it says how many there are."""


@pytest.fixture
def folder(here):  # noqa: F811
    """Input for all of the commands."""
    (here / "runs").mkdir()
    results.write(here / "runs", results.comparison())
    names = (f"{subset}.{side}" for subset in ("train", "valid", "test") for side in ("de", "en"))
    write_tree(here / "plain", dict.fromkeys(names, "Ein Mann.\n" * 500))
    (here / "disk").mkdir()
    torch.save({"model": {"w": torch.ones(10 * KB)}}, here / "model.pt")
    return here


@pytest.fixture
def small_disk(folder):
    """A disk of 4 MB for the results."""
    disk = folder / "disk"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={4096 * KB}", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a disk in memory")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def fill(disk: Path, but: int) -> None:
    """Fills a disk but for so many bytes."""
    with (disk / "filling").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(KB))
        except OSError:
            file.truncate(file.tell() - but)


@pytest.mark.parametrize("name", COMMANDS)
def test_disk_full(name, folder, small_disk, capfd):
    assert cli.main(COMMANDS[name].split()) == 0, "an earlier result"
    capfd.readouterr()
    fill(small_disk, ROOM.get(name, 0))
    before = everything(folder)
    assert cli.main(COMMANDS[name].split()) == 2
    said = capfd.readouterr().err.strip().splitlines()
    assert said[-1].startswith("bertloss: error: ") and "disk/out" in said[-1]
    assert said[-1].endswith("No space left on device; make room, and run the same command again")
    assert not any("Traceback" in line for line in said)
    assert everything(folder) == before


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "prepare"])  # test_corpus_prepare.py kills that
def test_killed_where_results_are_put_in_place(name, folder):
    """The last of them. What stands in their places is whole, the earlier result or this one's."""
    disk = folder / "disk"
    command = [sys.executable, "-c", KILLED]

    def run(number: int) -> subprocess.CompletedProcess:
        return subprocess.run([*command, str(number), *COMMANDS[name].split()], capture_output=True, text=True)

    done = run(0)
    assert done.returncode == 0, done.stderr
    expected = everything(disk)
    killed = run(int(done.stderr.split()[-1]))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert any(path.name.endswith(".partial") for path in disk.iterdir())
    in_place = {path: content for path, content in everything(disk).items() if ".partial" not in path}
    assert in_place == expected or name == "extract" and not in_place
    assert cli.main(COMMANDS[name].split()) == 0
    assert everything(disk) == expected
