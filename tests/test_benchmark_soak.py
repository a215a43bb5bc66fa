"""benchmarks/soak.py: what it sees of a real training, and what it complains about."""

import subprocess
import sys

import pytest
from conftest import REPOSITORY, import_benchmark


@pytest.fixture(scope="module")
def soak():
    """The benchmark as a module."""
    return import_benchmark("soak")


def test_a_real_training(corpus, tiny_lm):
    command = [
        sys.executable,
        REPOSITORY / "benchmarks" / "soak.py",
        corpus,
        "--bert-model",
        tiny_lm("bert"),
        "--updates",
        "24",
    ]
    done = subprocess.run([*map(str, command), "--cpu", "--disable-validation"], capture_output=True, text=True)
    assert "| quarter | MB |" in done.stdout, done.stderr
    rows = [[float(cell) for cell in line.strip("| ").split("|")] for line in done.stdout.splitlines()[2:]]
    assert [row[0] for row in rows] == [1, 2, 3, 4]
    for _, megabytes, speed, lines, temporary in rows:
        assert 100 < megabytes < 4000 and 0.1 < speed < 1000 and 1 <= lines < 8 and temporary == 0


def test_a_training_that_fails(tmp_path, tiny_lm):
    command = [
        sys.executable,
        REPOSITORY / "benchmarks" / "soak.py",
        tmp_path,
        "--bert-model",
        tiny_lm("bert"),
        "--cpu",
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 1 and "fairseq-train failed with status 1" in done.stderr


def observations(soak, seconds=lambda i: 0.5 * i, megabytes=lambda i: 500.0, lines=lambda i: i, temporary=lambda i: 3):
    return [soak.Observation(seconds(i), megabytes(i), lines(i), temporary(i)) for i in range(41)]


def test_steady(soak):
    parts = soak.quarters(observations(soak, megabytes=lambda i: 100.0 * min(i, 5)))
    assert parts == [soak.Quarter(500.0, 2.0, 1.0, 3)] * 4
    assert soak.complaints(parts) == []


@pytest.mark.parametrize(
    "growing, message",
    [
        ({"megabytes": lambda i: 500.0 + i}, "memory grew by 3.9% from the second quarter to the last"),
        (
            {"seconds": lambda i: 0.5 * i + max(0, i - 30)},
            "0.67 updates a second in the last quarter, 2.00 in the second",
        ),
        ({"lines": lambda i: i + i * i // 50}, "2.40 lines an update"),
        ({"temporary": lambda i: i // 10}, "2 temporary files more"),
    ],
)
def test_complaints(soak, growing, message):
    (complaint,) = soak.complaints(soak.quarters(observations(soak, **growing)))
    assert message in complaint
