"""commands/streams.py: results reach whatever standard output is, or one line says that they do not."""

import json
import os
import subprocess
import sys

import pytest

LINES = ["The dog isn't running, is it?", "Two men are sitting on a roof.", "A well-known hat."] * 3
FULL = "/dev/full"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_lm):
    """Translations, one of them in a file whose name is no UTF-8, and two results of `bertloss compare`."""
    folder = tmp_path_factory.mktemp("streams")
    (folder / "ref").write_text("\n".join(LINES), encoding="utf-8")
    (folder / "worse").write_text("\n".join(line[5:] for line in LINES), encoding="utf-8")
    (folder / os.fsdecode(b"caf\xe9")).write_text("\n".join(LINES), encoding="utf-8")
    (folder / "lm").symlink_to(tiny_lm("bert"))
    return folder


COMMANDS = {
    "score": "score --reference ref --lm lm --layer 2 better†=ref worse",
    "json": "score --reference ref --lm lm --layer 2 better†=ref 中文=worse --json",
    "name": f"score --reference ref --lm lm --layer 2 {os.fsdecode(b'caf')}\udce9 worse",
    "compare": "compare --reference ref --lm lm --layer 2 --baseline worse --system Größe=ref --resamples 1000",
    "help": "compare --help",
}


def start(command: str, folder, redirection: str = "", **environment: str) -> subprocess.CompletedProcess:
    """Runs `bertloss` in a shell, which can close and redirect."""
    program = [sys.executable, "-m", "fairseq_bertloss.cli", *COMMANDS[command].split()]
    shell = ["bash", "-c", f'"$@" {redirection}; exit ${{PIPESTATUS[0]}}', "bash", *program]
    unbuffered = {"PYTHONUNBUFFERED": environment.pop("PYTHONUNBUFFERED", "")}
    return subprocess.run(shell, cwd=folder, capture_output=True, env=os.environ | unbuffered | environment)


ENCODINGS = {
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": ""},
    "utf-8": {"PYTHONIOENCODING": "utf-8"},
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_any_encoding(encoding, command, folder):
    if command != "compare" and encoding == "cp1252":
        pytest.skip("differs from latin-1 in having daggers, which compare prints")
    done = start(command, folder, **ENCODINGS[encoding])
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr and b"UnicodeEncodeError" not in done.stderr
    text = done.stdout.decode("ascii" if encoding in ("ascii", "C") else encoding)
    if command == "json":
        systems = json.loads(text)["systems"]
        assert len(systems) == 2 and systems[[*systems][0]][0]["scores"]["bleu"] == pytest.approx(100)
    elif command != "help":
        assert "100.00" in text and "BLEU nrefs:1" in text
    if command == "compare" and encoding != "utf-8":
        assert "D baseline" in text and "+" in text


def test_signs_of_numbers_survive(folder):
    text = start("compare", folder, PYTHONIOENCODING="ascii").stdout.decode()
    whole = start("compare", folder, PYTHONIOENCODING="utf-8").stdout.decode()
    assert whole.count("−") > 0 and text.count("-") >= whole.count("−") + whole.count("-")


@pytest.mark.parametrize("command", ["score", "json", "compare", "help"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_pipe_that_nobody_reads(command, unbuffered, folder):
    done = start(command, folder, "| true", PYTHONUNBUFFERED=unbuffered)
    assert done.stderr == b""
    assert done.returncode == 141 or (command, unbuffered) == ("help", "1")  # argparse ignores what it cannot write


def test_a_pipe_for_errors_that_nobody_reads(folder):
    assert start("score", folder, "2>&1 >/dev/null --layer 99 | true").returncode in (2, 141)


@pytest.mark.skipif(not os.path.exists(FULL), reason=f"needs {FULL}")
@pytest.mark.parametrize("command", ["score", "compare"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk(command, unbuffered, folder):
    done = start(command, folder, f"> {FULL}", PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 2
    assert done.stderr.startswith(b"bertloss: error: standard output: No space left") and done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("command", ["score", "compare"])
def test_a_closed_output_is_refused_before_anything_is_scored(command, folder):
    done = start(command, folder, ">&- --lm nowhere")
    assert done.returncode == 2
    assert done.stderr.startswith(b"bertloss: error: standard output is closed") and done.stderr.count(b"\n") == 1


def test_closed_errors_do_not_go_to_the_output(folder):
    done = start("score", folder, "2>&- --layer 99")
    assert (done.returncode, done.stdout) == (2, b"")
