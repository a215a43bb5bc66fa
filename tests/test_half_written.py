"""A disk that runs full, and kill -9 before a result is put in its place: nothing half-written is trusted or left."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import results
from archives import write_tree
from test_bad_input import COMPARE, PLAIN, PREPARE, REPORT, VOCABULARY, everything, here  # noqa: F401, here is a fixture

from fairseq_bertloss import cli

KB = 1024

COMMANDS = {
    "prepare": PREPARE.replace("destdir out", "destdir disk/out"),
    "compare": COMPARE.replace("output out.json", "output disk/out"),
    "report": REPORT.replace("output page.html", "output disk/out.html"),
    "vocabulary": VOCABULARY.replace("output dict.txt", "output disk/out"),
    "extract": PLAIN.replace("destdir out", "destdir disk/out"),
}
ROOM = {"prepare": 8 * KB, "report": 4 * KB, "extract": 4 * KB}
"""How much of the result the full disk takes; nothing, of the others."""

KILLED = """
import os, signal, sys
os.rename = os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from fairseq_bertloss import cli
cli.main(sys.argv[1:])
"""


@pytest.fixture
def folder(here):  # noqa: F811
    """Input for all of the commands."""
    (here / "runs").mkdir()
    results.write(here / "runs", results.comparison())
    names = (f"{subset}.{side}" for subset in ("train", "valid", "test") for side in ("de", "en"))
    write_tree(here / "plain", dict.fromkeys(names, "Ein Mann.\n" * 500))
    (here / "disk").mkdir()
    return here


@pytest.fixture
def small_disk(folder):
    """That of the results holds 64 kB."""
    disk = folder / "disk"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={64 * KB}", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a disk in memory")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def fill(disk: Path, but: int) -> None:
    """Leaves so many bytes of a disk."""
    with (disk / "filling").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(KB))
        except OSError:
            file.truncate(file.tell() - but)


@pytest.mark.parametrize("name", COMMANDS)
def test_disk_full(name, folder, small_disk, capfd):
    (small_disk / "earlier" if name in ("prepare", "extract") else small_disk / "out").write_text("an earlier result")
    fill(small_disk, ROOM.get(name, 0))
    before = everything(folder)
    assert cli.main(COMMANDS[name].split()) == 2
    said = capfd.readouterr().err.strip().splitlines()
    assert said[-1].startswith("bertloss: error: ") and "No space left on device" in said[-1] and "disk/out" in said[-1]
    assert not any("Traceback" in line for line in said)
    assert everything(folder) == before


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_before_the_result_is_in_its_place(name, folder):
    command, disk = COMMANDS[name].split(), folder / "disk"
    assert cli.main(command) == 0
    expected = everything(disk)
    shutil.rmtree(disk)
    disk.mkdir()
    killed = subprocess.run([sys.executable, "-c", KILLED, *command], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert {path.suffix for path in disk.iterdir()} == {".partial"}
    assert cli.main(command) == 0
    assert everything(disk) == expected
