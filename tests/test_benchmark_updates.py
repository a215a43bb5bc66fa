"""benchmarks/updates.sh and updates.py: which trainings are run, and what their logs say."""

import json
import os
import subprocess
import sys

import pytest
from conftest import REPOSITORY, import_benchmark

BENCHMARKS = REPOSITORY / "benchmarks"


@pytest.fixture(scope="module")
def updates():
    """The benchmark as a module."""
    return import_benchmark("updates")


def log(seconds: list[float], batches: list[int]) -> str:
    """A log as fairseq-train writes it with --log-format json --log-interval 1."""
    start = "2026-11-23 01:12:01 | INFO | "
    records = [
        {"epoch": 1, "loss": "6.794", "wps": f"{size / second:.1f}", "ups": f"{1 / second:.2f}", "wpb": f"{size:.1f}"}
        for second, size in zip(seconds, batches, strict=True)
    ]
    lines = [f"{start}train_inner | {json.dumps(record)}" for record in records]
    return "\n".join([f"{start}fairseq.trainer | begin training epoch 1", *lines, f"{start}train | {{}}", ""])


def test_table(updates, tmp_path, monkeypatch, capsys):
    batches = [100, 90, 80, 120]
    for row, seconds in {"ce": [9, 9, 0.2, 0.4], "softmax": [9, 9, 0.3, 0.6], "other": [1, 1, 1, 1]}.items():
        (tmp_path / f"{row}-1.log").write_text(log(seconds, batches if row != "other" else [100] * 4))
    monkeypatch.chdir(tmp_path)
    assert updates.read("softmax-1.log").seconds == pytest.approx([0.3, 0.6], rel=1e-3)
    monkeypatch.setattr(sys, "argv", ["updates.py", "ce-1.log", "softmax-1.log"])
    updates.main()
    table = capsys.readouterr().out.splitlines()
    assert table[2].startswith("| ce | 0.240 | 0.300 | 0.360 | 333 | 1.00 |"), table
    assert table[3].startswith("| softmax | 0.360 | 0.450 | 0.540 | 222 | 1.50 | 1.50 to 1.50 |"), table
    (tmp_path / "short-1.log").write_text(log([9, 9], batches[:2]))
    for other, message in {"other-1.log": "other batches", "short-1.log": "no updates", "x.log": "not named"}.items():
        monkeypatch.setattr(sys, "argv", ["updates.py", "ce-1.log", other])
        with pytest.raises(SystemExit) as stop:
            updates.main()
        assert stop.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize("workers", [1, 2])
def test_script(tmp_path, workers):
    (tmp_path / "log").write_text(log([1] * 4, [100] * 4))
    stand_in = tmp_path / "bin" / "fairseq-train"
    stand_in.parent.mkdir()
    first_alone = f'[[ "$*" == *"--distributed-rank 1" ]] || cat {tmp_path}/log'  # as fairseq logs
    stand_in.write_text(f'#!/bin/bash\necho "$*" >>{tmp_path}/calls\n{first_alone}\n')
    stand_in.chmod(0o755)
    settings = {"PATH": f"{stand_in.parent}:{os.environ['PATH']}", "QUICKSTART_DIR": str(tmp_path), "ROUNDS": "2",
                "ROWS": "cross-entropy entmax15", "WORKERS": str(workers)}  # fmt: skip
    command = [BENCHMARKS / "updates.sh", "--fp16"]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| cross-entropy | " in done.stdout and "| entmax15 | " in done.stdout
    calls = (tmp_path / "calls").read_text().splitlines()
    rows = [row for row in (False, True, False, True) for _ in range(workers)]
    assert ["--soft-prediction entmax15" in call for call in calls] == rows
    calls, _, ranks = zip(*(call.partition(" --distributed-rank ") for call in calls), strict=True)
    assert all("--no-save" in call and call.endswith(" --fp16") for call in calls)
    assert sorted(ranks) == (["0"] * 4 + ["1"] * 4 if workers == 2 else [""] * 4)
