"""benchmarks/gpu.sh: its stages run on a CPU too, by themselves and once; what comes back can be scored."""

import gzip
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import REPOSITORY, import_benchmark
from fairseq import options
from fairseq.optim.adam import FairseqAdam
from prepared import PAIRS

SCRIPT = REPOSITORY / "benchmarks" / "gpu.sh"
MINUTES = 12
"""How long a GPU is at hand, less what it takes to get there."""

STAND_IN = """#!/bin/bash
echo "$*" >>"$CALLS"
[[ $* != *gpu_experiment.py*baseline* ]] || { mkdir -p "$WORK/baseline" && touch "$WORK/baseline/checkpoint_last.pt"; }
echo "a result"
[[ $* != ${FAILING:-} ]]
"""
"""Notes a call, and fails where it matches FAILING."""


def call(*arguments, **environment) -> subprocess.CompletedProcess:
    line = [SCRIPT, *map(str, arguments)]
    return subprocess.run(line, env=os.environ | environment, capture_output=True, text=True)


def limits() -> dict[str, int]:
    return {name: int(seconds) for name, seconds in map(str.split, call("limits").stdout.splitlines())}


def test_limits_add_up():
    """Of all that runs unless stages are named; and of the medium baselines with all but the experiment."""
    known = limits()
    assert len(known) == 10
    default = {name: seconds for name, seconds in known.items() if name not in ("tests-passed", "medium")}
    assert sum(default.values()) <= 60 * MINUTES
    measured = {name for name in default if name.startswith(("tests", "loss"))}
    assert known["medium"] + sum(default[name] for name in measured) <= 60 * MINUTES


@pytest.fixture
def staged(tmp_path):
    """A function that runs stages with a stand-in for Python: what the script did, and the calls."""
    (tmp_path / "packed" / "lm").mkdir(parents=True)
    (tmp_path / "packed" / "lm" / "config.json").write_text("{}")
    shutil.make_archive(str(tmp_path / "pack"), "xztar", tmp_path / "packed")
    python = tmp_path / "python"
    python.write_text(STAND_IN)
    python.chmod(0o755)

    def run(*stages: str, **environment: str):
        calls = tmp_path / "calls"
        calls.write_text("")
        known = {"PYTHON": str(python), "CALLS": str(calls), "WORK": str(tmp_path / "work")}
        done = call("run", tmp_path, tmp_path / "out", *stages, **known, **environment)
        return done, calls.read_text().splitlines()

    return run


def results(out: Path) -> set[str]:
    return {path.name for path in out.iterdir()}


def test_a_failure_stops_nothing(staged, tmp_path):
    done, calls = staged(FAILING="*bfloat16*")
    failed = {"tests-left", "loss-bfloat16"}
    assert done.returncode == 1
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert {name for name, line in lines.items() if line.endswith("failed (1)")} == failed
    stages = limits().keys() - {"tests-passed", "medium"}
    names = {f"{name}.failed.txt" if name in failed else f"{name}.txt" for name in stages}
    assert results(tmp_path / "out") == names | {"summary.txt"}
    assert (tmp_path / "out" / "summary.txt").read_text() == done.stdout
    assert (tmp_path / "out" / "loss-bfloat16.failed.txt").read_text() == "a result\n"

    done, calls = staged()  # what failed, and nothing else
    assert done.returncode == 0, done.stdout
    assert sorted(re.search(r"-m pytest|loss\.py", line)[0] for line in calls) == ["-m pytest", "loss.py"]
    assert results(tmp_path / "out") == {f"{name}.txt" for name in stages} | {"summary.txt"}
    done, calls = staged()
    assert done.returncode == 0 and not calls, "a stage was repeated"


def test_what_goes_on_from_the_baseline_makes_it(staged, tmp_path):
    """Also on a machine that has its result, but not the model."""
    for _ in range(2):
        done, calls = staged("updates")
        assert [line.split()[1] for line in calls if "gpu_experiment.py" in line] == ["baseline", "updates"]
        shutil.rmtree(tmp_path / "work")
        (tmp_path / "out" / "updates.txt").unlink()
    done, calls = staged("updates", FAILING="*baseline*")
    assert done.returncode == 1 and len(re.findall("failed", done.stdout)) == 1, done.stdout


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["run"], "gpu.sh run FOLDER OUT"),
        (["pack"], "gpu.sh pack FOLDER"),
        (["run", "F", "O", "x"], "no stage x"),
        (["run", "F", "O"], "F/pack.tar.xz: gpu.sh pack makes it"),
    ],
)
def test_wrong_calls(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call(*arguments)
    assert done.returncode == 2 and message in done.stderr and not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def corpora(tmp_path_factory) -> Path:
    """A folder of corpora, of which Multi30k has a few pairs."""
    folder = tmp_path_factory.mktemp("corpora")
    (folder / "multi30k").mkdir()
    for name, repeats in {"train": 30, "val": 1, "test_2016_flickr": 1}.items():
        for language, lines in zip(("de", "en"), zip(*PAIRS, strict=True), strict=True):
            (folder / "multi30k" / f"{name}.{language}").write_text("\n".join(lines * repeats) + "\n")
    return folder


def test_a_pack_that_is_too_large(monkeypatch, tmp_path):
    """One line says it, and nothing is left."""
    gpu_pack = import_benchmark("gpu_pack")

    def prepare(data, work, lm, options):
        (work / gpu_pack.DATA).mkdir()
        (work / gpu_pack.DATA / "train.bin").write_bytes(os.urandom(200_000))

    monkeypatch.setattr(gpu_pack, "halve", lambda lm, layer, folder: folder.mkdir())
    monkeypatch.setitem(gpu_pack.CORPORA, "multi30k", SimpleNamespace(prepare=prepare))
    arguments = tmp_path, "multi30k", tmp_path, "LM", 2
    with pytest.raises(ValueError, match=r"the pack would have 0\.2 MiB, more than 0\.1: raise LIMIT"):
        gpu_pack.pack(*arguments, limit=0.1)
    assert not list(tmp_path.iterdir())
    assert gpu_pack.pack(*arguments, limit=0.2) <= 0.2


@pytest.mark.trains
def test_all_stages(corpora, tiny_lm, tmp_path, monkeypatch):
    """On a CPU: every stage comes to an end, and what it leaves is what it says."""
    done = call("pack", tmp_path, CORPUS="multi30k", DATA=str(corpora), LM=tiny_lm("bert"), LAYER="2")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"{tmp_path}/pack.tar.xz: 0\.\d MiB\n", done.stdout)
    out = tmp_path / "out"
    settings = {"BASELINE_SECONDS": "3", "MEDIUM_SECONDS": "2", "SEEDS": "4"}
    twins = {"tests-passed", "loss-float32"}  # of others, from which they differ by an option
    known = limits().keys() - {"baseline"} - twins
    done = call("run", tmp_path, out, "--tiny", *known, **settings)
    assert done.returncode == 0, done.stdout + "".join(path.read_text() for path in out.glob("*.failed.txt"))
    assert {f"{name}.txt" for name in [*known, "baseline"]} <= results(out)
    check_the_baseline(json.loads((out / "baseline.json").read_text()))
    assert all(f"| {row} |" in (out / "updates.txt").read_text() for row in ("cross-entropy", "risk"))
    assert re.search(r"waits for the GPU in 1 updates: aten::item \d+", (out / "updates-profile.txt").read_text())
    check_the_experiment(out, corpora, tmp_path, monkeypatch)
    check_the_medium_model(out)


def check_the_baseline(run):
    updates = [record for record in run["log"] if record["kind"] == "train_inner"]
    rates = [record["lr"] for record in updates]
    assert max(rates) > 10 * rates[-1], "the learning rate has not fallen"
    assert any(record["kind"] == "valid" for record in run["log"]) and run["corpus"] == "multi30k"


def check_the_experiment(out, corpora, tmp_path, monkeypatch):
    scores = import_benchmark("gpu_scores")
    judgement = scores.Judgement({"bleu": 1.0}, {"f_bert": [50.0]})
    judged = []

    def judge(reference, translated, known, sizes):
        hypotheses = [line for line in translated.read_text().splitlines() if line.startswith("D-")]
        assert len(hypotheses) == len(reference.read_text().splitlines()) == sum(sizes.values()) == len(PAIRS)
        judged.append(translated.name)
        return judgement

    rows = ["baseline", "no-dropout-control", "mix-0.2"]
    for _ in range(2):
        said = scores.score(out, corpora, SimpleNamespace(judge=judge), tmp_path)
        assert [line.split("@")[0].split(":")[0] for line in said] == rows == judged
    runs = [json.loads(path.read_text()) for path in (tmp_path / "multi30k.gpu" / "test").iterdir()]
    assert len({run["row"].partition("@")[2] for run in runs} - {""}) == 1, "other numbers of updates"
    assert all(run["scores"]["bleu"] == 1 and "beam_score" in run["scores"] for run in runs)
    outputs = {gzip.decompress((out / f"experiment.{row}.out.gz").read_bytes()) for row in rows}
    assert len(outputs) > 1, "the rows translate alike"


def check_the_medium_model(out):
    """Its parts are a checkpoint in half precision."""
    parts = sorted(out.glob("medium.4.pt.*"))
    (out / "medium.pt").write_bytes(b"".join(part.read_bytes() for part in parts))
    model = torch.load(out / "medium.pt", weights_only=False)["model"]
    assert {value.dtype for value in model.values() if value.is_floating_point()} == {torch.float16}
    tied = "decoder.embed_tokens.weight", "decoder.output_projection.weight"
    assert len({model[name].data_ptr() for name in tied}) == 1


def test_a_command_that_fails(tmp_path, capfd):
    """The error has the end of its log. Those beside it come to their ends, and none begins after it."""
    forked = import_benchmark("forked_fairseq")
    commands = [forked.Command("train", [tmp_path / f"nowhere-{i}"], tmp_path / str(i) / "log") for i in range(4)]
    expected = r"fairseq-train \S*nowhere-[01]\n(?s:.*)RuntimeError"  # there is no model named
    with capfd.disabled(), pytest.raises(ChildProcessError, match=expected):
        forked.run(commands, at_once=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]


def test_fairseq_accepts_what_only_a_gpu_runs(tmp_path):
    """The paper's model, in half precision; the learning rates and updates that rows are compared at."""
    gpu_experiment = import_benchmark("gpu_experiment")
    import_benchmark("annealing_by_time")
    (tmp_path / "lm").mkdir()
    (tmp_path / "lm" / "config.json").write_text(json.dumps({"num_hidden_layers": 5}))
    (tmp_path / "baseline").mkdir()
    (tmp_path / "baseline" / "checkpoint_last.pt").touch()
    full = gpu_experiment.FULL
    experiment = gpu_experiment.Experiment(full, tmp_path, tmp_path)

    def parsed(command, parser=options.get_training_parser):
        return options.parse_args_and_arch(parser(), list(map(str, command.arguments)))

    baseline = parsed(experiment._from_nothing("baseline", full.model, 1, 165))
    assert (baseline.encoder_layers, baseline.encoder_embed_dim, baseline.dropout) == (6, 512, 0.3)
    assert baseline.fp16 and baseline.stop_time_hours == 165 / 3600 and baseline.warmup_updates > 0
    medium = parsed(experiment._from_nothing("medium", full.medium, 1, 240))
    assert (medium.encoder_layers, medium.encoder_embed_dim) == (3, 256)
    rows = {row: parsed(experiment._fine_tuning(row, 70)) for row in full.rows}
    assert {(args.lr[0], args.max_update, args.fp16) for args in rows.values()} == {(1e-4, 70, True)}
    assert {row for row, args in rows.items() if args.dropout == 0} == {"no-dropout-control", "mix-0.2"}
    assert {args.bert_layer for args in rows.values() if args.criterion == "bertscore_loss"} == {5}
    translation = experiment._translation(tmp_path)
    assert parsed(translation, options.get_generation_parser).beam == 5


def test_annealing_by_time(monkeypatch):
    """It rises with the updates, falls with the time, and is 0 a little before fairseq stops."""
    annealing = import_benchmark("annealing_by_time")
    now = [1000.0]
    monkeypatch.setattr(annealing.time, "monotonic", lambda: now[0])
    rates = []
    optimizer = object.__new__(FairseqAdam)
    monkeypatch.setattr(FairseqAdam, "set_lr", lambda self, rate: rates.append(rate))
    monkeypatch.setattr(FairseqAdam, "get_lr", lambda self: rates[-1])
    config = SimpleNamespace(stop_time_hours=100 / 3600, warmup_updates=3, lr=[0.4])
    scheduler = annealing.AnnealingByTime(config, optimizer)
    for seconds, updates in ((0, 1), (0, 3), (49, 50), (98, 99), (99.9, 100)):
        now[0] = 1000.0 + seconds
        scheduler.step_update(updates)
    assert rates == pytest.approx([0.1, 0.2, 0.4, 0.2, 0, 0])
    with pytest.raises(ValueError, match="needs --stop-time-hours"):
        annealing.AnnealingByTime(SimpleNamespace(stop_time_hours=0, warmup_updates=3, lr=[0.4]), optimizer)
