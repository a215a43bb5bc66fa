"""commands/streams.py: results reach whatever standard output is, or one line says that they do not."""

import json
import os
import subprocess
import sys

import pytest
from prepared import BERTLOSS

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


TEXT = ("Δ −0.27 ± 0.01 80.95† 31.80‡ 中文 caf\udce9 " + "x" * 1000 + "\n") * 100
PROGRAM = f"""
import sys
from fairseq_bertloss import cli
from fairseq_bertloss.commands import evaluate, streams

def run(args):
    streams.check_stdout()
    print("scored", file=sys.stderr)
    streams.show({TEXT!a})

evaluate.run_score = run
sys.exit(cli.main(["score", "--reference", "x", "--lm", "x", "x"]))
"""
PRINTER = [sys.executable, "-c", PROGRAM]
"""A command that prints at once what others do after minutes of scoring."""

ENCODINGS = {
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": ""},
    "utf-8": {"PYTHONIOENCODING": "utf-8"},
}


def start(program: list[str], redirection: str = "", folder=None, **environment: str) -> subprocess.CompletedProcess:
    """Runs a program in a shell, which can close and redirect."""
    shell = ["bash", "-c", f'"$@" {redirection}; exit ${{PIPESTATUS[0]}}', "bash", *program]
    environment = os.environ | {"PYTHONUNBUFFERED": ""} | environment
    return subprocess.run(shell, cwd=folder, capture_output=True, env=environment)


@pytest.mark.parametrize(
    "encoding, printed",
    [
        ("latin-1", "D -0.27 ± 0.01 80.95* 31.80# \\u4e2d\\u6587 café ".encode("latin-1")),
        ("cp1252", "D -0.27 ± 0.01 80.95† 31.80‡ \\u4e2d\\u6587 café ".encode("cp1252")),
        ("ascii", b"D -0.27 +- 0.01 80.95* 31.80# \\u4e2d\\u6587 caf\xe9 "),
        ("C", b"D -0.27 +- 0.01 80.95* 31.80# \\u4e2d\\u6587 caf\xe9 "),
        ("utf-8", "Δ −0.27 ± 0.01 80.95† 31.80‡ 中文 caf".encode() + b"\xe9 "),
    ],
)
def test_any_encoding(encoding, printed):
    done = start(PRINTER, **ENCODINGS[encoding])
    assert (done.returncode, done.stderr) == (0, b"scored\n")
    assert done.stdout.startswith(printed) and done.stdout.count(b"\n") == 101


@pytest.mark.parametrize("encoding", ["latin-1", "C"])
def test_compare_in_any_encoding(encoding, folder):
    arguments = "compare --reference ref --lm lm --layer 2 --baseline ref --system Größe=worse --resamples 1000"
    done = start([*BERTLOSS, *arguments.split()], folder=folder, **ENCODINGS[encoding])
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode("latin-1" if encoding == "latin-1" else "ascii")
    assert "D baseline" in text and "| -" in text.replace("|  ", "|").replace("  ", "") and "100.00" in text


def test_names_that_are_no_text(folder):
    arguments = ["score", "--reference", "ref", "--lm", "lm", "--layer", "2", "--json", "中文=worse", b"caf\xe9"]
    done = start([*BERTLOSS, *arguments], folder=folder, PYTHONIOENCODING="utf-8")
    assert done.returncode == 0, done.stderr
    systems = json.loads(done.stdout)["systems"]
    assert [*systems] == ["中文", "caf\udce9"] and systems["caf\udce9"][0]["scores"]["bleu"] == pytest.approx(100)


@pytest.mark.parametrize("command", ["", "score", "compare", "report"])
def test_help_in_ascii(command):
    done = start([*BERTLOSS, *command.split(), "--help"], PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"") and done.stdout.isascii()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_pipe_that_nobody_reads(unbuffered):
    done = start(PRINTER, "| true", PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr) == (141, b"scored\n")
    done = start(PRINTER, "| head -n 1", PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr, done.stdout.count(b"\n")) == (141, b"scored\n", 1)


def test_help_to_a_pipe_that_nobody_reads():
    done = start([*BERTLOSS, "--help"], "| sleep 0")
    assert done.stderr == b"" and done.returncode in (0, 141)


def test_errors_to_a_pipe_that_nobody_reads():
    done = start([*BERTLOSS, "report", "--runs", "nowhere", "--output", "x"], "2>&1 >/dev/null | true")
    assert done.stderr == b"" and done.returncode in (2, 141)


@pytest.mark.skipif(not os.path.exists(FULL), reason=f"needs {FULL}")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk(unbuffered):
    done = start(PRINTER, f"> {FULL}", PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 2
    scored, error = done.stderr.splitlines()
    assert error.startswith(b"bertloss: error: standard output: No space left on device")


@pytest.mark.skipif(not os.path.exists(FULL), reason=f"needs {FULL}")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_errors_to_a_full_disk(unbuffered, folder):
    """They are lost, not the status."""
    for command in ("score --reference nowhere --lm lm --layer 2 ref", "report --runs nowhere --output x.html"):
        done = start([*BERTLOSS, *command.split()], f"2> {FULL}", folder=folder, PYTHONUNBUFFERED=unbuffered)
        assert (done.returncode, done.stdout) == (2, b"")


@pytest.mark.skipif(not os.path.exists(FULL), reason=f"needs {FULL}")
def test_reports_to_a_full_disk(folder):
    """Work is not given up for the lines that go with it."""
    done = start([*BERTLOSS, "vocabulary", "--lm", "lm", "--output", "dict.txt"], f"2> {FULL}", folder=folder)
    assert done.returncode == 0 and (folder / "dict.txt").stat().st_size


def test_a_closed_output_is_refused_before_anything_is_scored():
    done = start(PRINTER, ">&-")
    assert done.returncode == 2
    assert done.stderr.startswith(b"bertloss: error: standard output is closed") and done.stderr.count(b"\n") == 1


def test_closed_errors_do_not_go_to_the_output():
    done = start([*BERTLOSS, "report", "--runs", "nowhere", "--output", "x"], "2>&-")
    assert (done.returncode, done.stdout) == (2, b"")
