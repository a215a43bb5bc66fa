"""Good input to the `bertloss` command, changes that make it bad, and the check that an error is one clear line."""

import gzip
import io
import json
import os
import pickle
import re
import shutil
import socket
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import lms
import pytest
import torch
from prepared import write_corpus

from fairseq_bertloss import cli


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path):
        self._path = path

    def __reduce__(self):
        return (Path.touch, (self._path,))


@pytest.fixture
def here(tmp_path, tiny_lm, monkeypatch):
    """A folder with good input of every kind: text/, lm/, hyp.txt, ref.txt, text.tgz."""
    (tmp_path / "text").mkdir()
    write_corpus(tmp_path / "text")
    shutil.copytree(tiny_lm("bert"), tmp_path / "lm")
    (tmp_path / "hyp.txt").write_text("a man\na dog\n", encoding="utf-8")
    (tmp_path / "ref.txt").write_text("a man\nthe dog\n", encoding="utf-8")
    (tmp_path / "hyp2.txt").write_text("one man\na dog\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def everything(folder: Path) -> dict[str, bytes | None]:
    """The content of all that a folder holds, by path; None stands for what is no file."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


PREPARE = (
    "prepare --source text/source.txt --target text/target.txt --lm lm --source-lang de --target-lang en "
    "--merges 50 --destdir out"
)
SCORE = "score --reference ref.txt --lm lm --layer 2 hyp.txt"
COMPARE = "compare --baseline hyp.txt --system new=hyp2.txt --reference ref.txt --lm lm --layer 2 --output out.json"
EXTRACT = "extract archive --corpus wit3 --source-lang de --target-lang en --valid dev2010 --test tst2010 --destdir out"
PLAIN = "extract plain --corpus plain --source-lang de --target-lang en --destdir out"
VOCABULARY = "vocabulary --lm lm --output dict.txt"
REPORT = "report --runs runs --output page.html"
ENTROPY = "entropy data --system a model.pt generated.out --output out.json"
CURVE = "curve data --baseline model.pt --run a=runs --reference ref.txt --lm lm --layer 2 --output out.json"
AVERAGE = "average model.pt model.pt --output out.pt"
WHEEL = "homeassistant ha.whl --source-lang de --target-lang en --destdir out"


def write(name: str, content: str | bytes):
    """A change of the folder; so are the results of the functions below."""

    def change(here: Path) -> None:
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return change


def remove(name: str):
    return lambda here: (here / name).unlink()


def truncated_gzip(name: str):
    return lambda here: write(name, gzip.compress(b"Ein Mann.\n" * 1000)[:-20])(here)


def archive(*members: tuple[str, bytes], link: str | None = None):
    def change(here: Path) -> None:
        with tarfile.open(here / "archive", "w:gz") as tar:
            for name, content in members:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            if link:
                info = tarfile.TarInfo("link")
                info.type = tarfile.SYMTYPE
                info.linkname = link
                tar.addfile(info)

    return change


def both(*changes):
    def change(here: Path) -> None:
        for one in changes:
            one(here)

    return change


def config(**values):
    """Other facts in the language model's config.json."""

    def change(here: Path) -> None:
        path = here / "lm" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def pickled_weights(here: Path) -> None:
    (here / "lm" / "model.safetensors").unlink()
    torch.save({"x": Trap(here / "made-by-a-pickle")}, here / "lm" / "pytorch_model.bin")


def truncated_weights(here: Path) -> None:
    path = here / "lm" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:2000])


def gpt2(here: Path) -> None:
    from transformers import GPT2Config, GPT2Model

    GPT2Model(GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=200)).save_pretrained(here / "lm")


def without_room(here: Path) -> None:
    lms.save_tiny("bert", str(here / "lm"), max_position_embeddings=2)


def malicious(name: str):
    def change(here: Path) -> None:
        with open(here / name, "wb") as file:
            pickle.dump({"cfg": Trap(here / "made-by-a-pickle")}, file)

    return change


def malicious_zip(name: str):
    return lambda here: torch.save({"cfg": Trap(here / "made-by-a-pickle")}, here / name)


def whl(**members: str):
    def change(here: Path) -> None:
        with zipfile.ZipFile(here / "ha.whl", "w") as file:
            for name, content in members.items():
                file.writestr(name, content)

    return change


def pipe(name: str):
    """A pipe that nobody writes to: whoever opens it waits for ever."""

    def change(here: Path) -> None:
        (here / name).unlink(missing_ok=True)
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(here / name)

    return change


def socket_file(name: str):
    def change(here: Path) -> None:
        (here / name).unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(name)  # whole paths of temporary folders are too long

    return change


def link(name: str, target: str):
    return lambda here: (here / name).symlink_to(target)


AGAIN = (
    "which can be read only once, and is needed more than once: write its content to a file first "
    ".a file whose name ends in .gz is read as it is"
)
SPLIT = "fairseq would split {} at ':' into several paths: give a path without this character"


def check_one_line(line: str, change: Callable[[Path], None] | None, message: str, here: Path, capfd) -> None:
    """Runs a command after a change of the folder: it fails in one line, and leaves nothing behind.

    Args:
        line: the command, from here.
        change: makes the input bad; None if it is the command that is bad.
        message: what the line must say, as a regular expression.
        here, capfd: the fixtures.
    """
    assert message
    if change is not None:
        change(here)
    before = everything(here)
    around = set(here.parent.iterdir())
    assert cli.main(line.split()) == 2
    said = capfd.readouterr().err.strip().splitlines()
    assert re.match(f"bertloss: error: .*(?:{message})", said[-1])
    assert not re.search(r"^(?:bertloss: error|Traceback|\w*Error\b)", "\n".join(said[:-1]), re.M)
    assert everything(here) == before and set(here.parent.iterdir()) == around, "something was left behind"
