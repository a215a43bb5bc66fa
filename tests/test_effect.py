"""benchmarks/effect.py: its rows are trainings that fairseq accepts, and what it reads is what was logged."""

import os
import sys
from pathlib import Path

import pytest
from conftest import import_benchmark
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf


@pytest.fixture(scope="module")
def effect():
    """The benchmark as a module."""
    return import_benchmark("effect")


@pytest.fixture(scope="module")
def rows():
    """The module of its rows."""
    return import_benchmark("effect_rows")


def configuration(effect, arguments, criterion=()):
    line = ["data", *effect.MODEL.split(), *effect.TRAINING.split(), *effect.FINE_TUNING.split(), *criterion, *arguments]
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), line))


def test_fairseq_accepts_every_row(effect, rows):
    configurations = set()
    for row in rows._ROWS:
        arguments = rows.options(f"{row}@3e-5x40")
        ours = [] if "label_smoothed_cross_entropy" in arguments else ["--criterion", "bertscore_loss", "--bert-model", "x"]
        config = configuration(effect, arguments, ours)
        assert (config.optimization.lr, config.optimization.max_update) == ([3e-5], 40)
        configurations.add((str(config.criterion), config.model.dropout))
    assert len(configurations) == len(rows._ROWS), "rows that are the same"


def test_later_options_of_a_row_count(effect, rows):
    config = configuration(effect, rows.options("risk-ce-0.5"), ["--criterion", "bertscore_loss", "--bert-model", "x"])
    assert (config.criterion.objective, config.criterion.cross_entropy_weight) == ("risk", 0.5)
    assert config.optimization.lr == [1e-4] and config.optimization.max_update == rows.UPDATES


def test_an_unknown_row(rows):
    with pytest.raises(ValueError, match="there is no row 'gumble'; there are control, softmax"):
        rows.options("gumble@1e-5")


def test_records_of_a_log(effect, tmp_path):
    log = tmp_path / "train.log"
    log.write_text(
        'x | INFO | train_inner | {"num_updates": "10", "loss": "0.5"}\n'
        'x | INFO | valid | {"valid_loss": "0.25"}\n'
        'x | INFO | fairseq_cli.train | {"task": "translation"}\n'
    )
    expected = [{"kind": "train_inner", "num_updates": 10, "loss": 0.5}, {"kind": "valid", "valid_loss": 0.25}]
    assert list(effect._records(log)) == expected


def test_a_command_that_fails_says_how(effect, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    with pytest.raises(ChildProcessError, match="(?s)^fairseq-train.*unrecognized arguments: --nonsense"):
        effect._call("fairseq-train", "data", "--arch", "transformer", "--nonsense", output=tmp_path / "log")
