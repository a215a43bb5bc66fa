"""A disk that runs full: one line that says so, what was there before stays as it was, and nothing half-written is left."""

import subprocess
from pathlib import Path

import pytest
import results
from archives import write_tree
from test_bad_input import COMPARE, PLAIN, PREPARE, REPORT, VOCABULARY, everything, here  # noqa: F401, here is a fixture

from fairseq_bertloss import cli

KB = 1024


@pytest.fixture
def disk(tmp_path):
    """A folder on a disk of its own, of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={64 * KB}", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a disk in memory")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path, but: int) -> None:
    """Leaves so many bytes of a disk."""
    with (disk / "filling").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(KB))
        except OSError:
            file.truncate(file.tell() - but)


def make_runs(folder: Path) -> None:
    (folder / "runs").mkdir()
    results.write(folder / "runs", results.comparison())


COMMANDS = {
    "prepare": (PREPARE.replace("destdir out", "destdir disk/out"), 8 * KB),
    "compare": (COMPARE.replace("output out.json", "output disk/out"), 0),
    "report": (REPORT.replace("output page.html", "output disk/out.html"), 4 * KB),
    "vocabulary": (VOCABULARY.replace("output dict.txt", "output disk/out"), 0),
    "extract": (PLAIN.replace("destdir out", "destdir disk/out"), 4 * KB),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_full(name, here, disk, capfd):  # noqa: F811
    line, room = COMMANDS[name]
    make_runs(here)
    write_tree(here / "plain", {f"{subset}.{side}": "Ein Mann.\n" * 500 for subset in ("train", "valid", "test") for side in ("de", "en")})
    (disk / "out").write_text("an earlier result")
    if name in ("prepare", "extract"):
        (disk / "out").rename(disk / "other")
    fill(disk, room)
    before = everything(here)
    assert cli.main(line.split()) == 2
    said = capfd.readouterr().err.strip().splitlines()
    assert said[-1].startswith("bertloss: error: ") and "No space left on device" in said[-1] and "disk/out" in said[-1]
    assert not any("Traceback" in line for line in said)
    assert everything(here) == before
