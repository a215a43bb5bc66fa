"""What the plug-in refuses is one line in a terminal; everything else keeps its traceback."""

import subprocess
import sys

import pytest
from training import MODELS, PACKAGE

PROGRAM = """
from fairseq_bertloss.one_line import in_one_line
try:
    with in_one_line():
        raise ValueError("caught")
except ValueError:
    pass
"""


def run(*command: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True)


def test_fairseq_train_refuses_in_one_line(corpus, tiny_lm, tmp_path):
    done = run("fairseq-train", str(corpus), "--user-dir", str(PACKAGE), "--save-dir", str(tmp_path), "--cpu",
               *MODELS["transformer"].split(), "--max-tokens", "99", "--criterion", "bertscore_loss", "--bert-model",
               tiny_lm("bert"), "--bert-layer", "9")  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ValueError: ") and "no layer 9" in last


@pytest.mark.parametrize(
    "last, lines",
    [
        ("with in_one_line(): raise ValueError('refused')", ["ValueError: refused"]),
        (
            "try: int('x')\nexcept ValueError as e:\n with in_one_line(): raise ValueError('of x') from e",
            ["ValueError: of x"],
        ),
        ("with in_one_line(): raise TypeError('a mistake of ours')", None),
        ("raise ValueError('of another')", None),
        ("in_one_line()(int)('x')", ["ValueError: invalid literal for int() with base 10: 'x'"]),
    ],
)
def test_what_keeps_its_traceback(last, lines):
    done = run(sys.executable, "-c", PROGRAM + last)
    assert done.returncode == 1
    if lines:
        assert done.stderr.splitlines() == lines
    else:
        assert done.stderr.startswith("Traceback")


def test_debugging_shows_it():
    program = "import logging; logging.basicConfig(level='DEBUG')\n" + PROGRAM
    assert "Traceback" in run(sys.executable, "-c", program).stderr


READING = """
import sys, torch
from fairseq.data.iterators import BufferedIterator

class Batches:
    def __len__(self):
        return 10**6

    def __iter__(self):
        while True:
            yield torch.cat([torch.ones(1) for _ in range(300)])

next(BufferedIterator(int(sys.argv[1]), Batches()))
"""


@pytest.mark.parametrize("batches_ahead", ["1", "1000000"])
def test_batches_that_are_read_meanwhile(batches_ahead):
    """By a thread, which waits for room in a queue or is inside of torch: the process ends by the error alone."""
    program = PROGRAM + READING + "with in_one_line(): raise ValueError('refused')"
    done = run(sys.executable, "-c", program, batches_ahead)
    assert done.returncode == 1 and done.stderr.splitlines()[-1] == "ValueError: refused"
