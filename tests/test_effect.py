"""benchmarks/effect.py: its rows are trainings that fairseq accepts, and what it reads is what was logged."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import import_benchmark
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from test_criterion import PIECES, build, gradients, make_sample  # noqa: F401, build is a fixture
from test_interruption import save
from training import logged, train

import fairseq_bertloss

fairseq_bertloss.register()
BONUS = str(Path(import_benchmark("entropy_bonus").__file__).parent)


@pytest.fixture(scope="module")
def effect():
    """The benchmark as a module."""
    return import_benchmark("effect")


@pytest.fixture(scope="module")
def rows():
    """The module of its rows."""
    return import_benchmark("effect_rows")


@pytest.fixture(scope="module")
def sizes():
    """The module of the models' sizes."""
    return import_benchmark("effect_sizes").SIZES


def parsed(size, arguments, criterion=(), fine_tuning=True):
    """What fairseq-train's parser makes of a training's options."""
    line = [
        "data",
        *size.model.split(),
        *size.training.split(),
        *size.fine_tuning.split() * fine_tuning,
        *criterion,
        *arguments,
    ]
    return options.parse_args_and_arch(options.get_training_parser(), line)


def configuration(*args, **kwargs):
    """The configuration of a training; it takes thirty times as long as `parsed`."""
    return convert_namespace_to_omegaconf(parsed(*args, **kwargs))


def test_fairseq_accepts_every_row(rows, sizes):
    trainings = set()
    for row in rows._ROWS:
        arguments = [BONUS if option == rows.ENTROPY_BONUS else option for option in rows.options(f"{row}@3e-5x40")]
        ours = (
            []
            if "label_smoothed_cross_entropy" in arguments
            else ["--criterion", "bertscore_loss", "--bert-model", "x"]
        )
        training = parsed(sizes["small"], arguments, ours)
        assert (training.lr, training.max_update) == ([3e-5], 40)
        trainings.add(str(sorted(vars(training).items())))
    assert len(trainings) == len(rows._ROWS), "rows that are the same"


def test_the_papers_size(rows, sizes):
    """Its model and batches, and its learning rate until validation stops improving."""
    size = sizes["paper"]
    config = configuration(size, size.converging.split(), rows.CROSS_ENTROPY.split(), fine_tuning=False)
    model, optimization = config.model, config.optimization
    assert (model.encoder_layers, model.encoder_embed_dim, model.encoder_ffn_embed_dim) == (6, 512, 1024)
    assert (model.decoder_layers, model.decoder_embed_dim, model.decoder_attention_heads) == (6, 512, 4)
    assert (optimization.lr, config.dataset.max_tokens, config.checkpoint.patience) == ([5e-4], 4096, 2)
    assert configuration(size, size.annealing.split()).optimization.max_update == 500


def test_the_entropy_bonus(build, tiny_lm):  # noqa: F811
    lm = ["--bert-model", tiny_lm("bert"), "--bert-layer", "2", "--objective", "soft", "--soft-prediction", "softmax"]
    criterion, network, task = build("--criterion", "entropy_bonus", *lm, "--entropy-bonus", "0.5")
    sample = make_sample(task, PIECES)
    loss, size, log = criterion(network, sample)
    plain = build(*lm)[0](network, sample)[0]
    probabilities = network(**sample["net_input"])[0][sample["target"] != 1].softmax(dim=-1)
    expected = plain - 0.5 * size * torch.special.entr(probabilities).sum(dim=-1).mean()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(
        log["entropy"] / log["ntokens_predicted"], torch.special.entr(probabilities).sum(dim=-1).mean()
    )
    ours, theirs = gradients(loss, network), gradients(expected, network)
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=1e-6)
    criterion.eval()
    torch.testing.assert_close(criterion(network, sample)[0], plain)


def test_later_options_of_a_row_count(rows, sizes):
    config = configuration(
        sizes["small"], rows.options("risk-ce-0.2"), ["--criterion", "bertscore_loss", "--bert-model", "x"]
    )
    assert (config.criterion.objective, config.criterion.cross_entropy_weight) == ("risk", 0.2)
    assert config.optimization.lr == [1e-4] and config.optimization.max_update == rows.UPDATES


def experiment_in(folder, effect, sizes, lm):
    """An experiment whose trainings lie in a folder."""
    pieces = import_benchmark("effect_pieces").pieces_of("word-pieces", lm)
    judges = effect.Judges(lm, folder)
    return effect.Experiment(effect.CORPORA["multi30k"], pieces, sizes["small"], folder, judges, folder)


def run_effect(effect, monkeypatch, line):
    """Runs its command line."""
    monkeypatch.setattr(sys, "argv", ["effect.py", *map(str, line)])
    effect.main()


@pytest.fixture
def trainings(effect, monkeypatch):
    """Stand-ins for fairseq's commands: the lines that were called. Each training leaves a checkpoint."""
    calls = []

    def call(*command, output=None, mode="w"):
        calls.append([str(part) for part in command])
        if command[0] == "fairseq-train":
            save(output.parent / "checkpoint_last.pt", updates=10)
        if output:
            output.write_text("H-0\t-0.5\tb\n", encoding="utf-8")
        return ""

    monkeypatch.setattr(import_benchmark("effect_commands"), "call", call)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    return calls


def prepared(work):
    """The text of a corpus of one part is there."""
    (work / "text").mkdir(parents=True)
    sizes = {subset: {"multi30k": 1} for subset in ("train", "valid", "test")}
    (work / "text" / "parts.json").write_text(json.dumps(sizes), encoding="utf-8")


def test_trainings_without_scores(effect, sizes, trainings, monkeypatch, tmp_path, minilm):
    """At another size in another folder; what has run already does not run again, and no language model judges."""
    work = tmp_path / "work" / "multi30k.paper"
    prepared(work)
    line = ["multi30k", "--size", "paper", "--data", tmp_path, "--work", work.parent, "--results", tmp_path / "results"]
    line += ["--rows", "baseline", "control", "--no-scores"]
    run_effect(effect, monkeypatch, line)
    assert [call[0] for call in trainings] == ["fairseq-train"] * 2 + [
        "fairseq-generate",
        "fairseq-train",
        "fairseq-generate",
    ]
    converging, _, _, control, translating = trainings
    assert set(sizes["paper"].converging.split()) <= set(converging) and "--no-save-optimizer-state" not in converging
    assert "--no-save-optimizer-state" in control and str(work / "control-1" / "checkpoint_last.pt") in translating
    run_effect(effect, monkeypatch, line)
    assert len(trainings) == 5 and not (tmp_path / "results").exists()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run_effect(effect, monkeypatch, line)  # nothing is left to train
    with pytest.raises(ValueError, match="softmax-1 is to be trained in half precision, which needs a GPU"):
        run_effect(effect, monkeypatch, [*line[:-3], "softmax", "--no-scores"])


def paper_size(folder):
    """A prepared corpus at the paper's size: where its trainings go, and the command's line without its rows."""
    work = folder / "multi30k.paper"
    prepared(work)
    return work, ["multi30k", "--size", "paper", "--data", folder, "--work", folder, "--results", folder / "results"]


def test_an_interruption_of_what_cannot_be_resumed(effect, trainings, monkeypatch, tmp_path, minilm):
    """Without an optimizer in its checkpoints a training starts anew."""
    work, line = paper_size(tmp_path)
    run_effect(effect, monkeypatch, [*line, "--rows", "control", "--no-scores"])
    left = [work / folder / "checkpoint_1_10.pt" for folder in ("converging-1", "control-1")]
    for checkpoint in left:
        checkpoint.touch()
        (checkpoint.parent / "done").unlink()
        (checkpoint.parent / "test.beam5.out").unlink(missing_ok=True)
    run_effect(effect, monkeypatch, [*line, "--rows", "control", "--no-scores"])
    assert [checkpoint.exists() for checkpoint in left] == [True, False]


def test_an_interruption_without_a_last_checkpoint(effect, trainings, monkeypatch, tmp_path, minilm):
    """A training goes on from another, not from its beginning."""
    work, line = paper_size(tmp_path)
    run_effect(effect, monkeypatch, [*line, "--rows", "baseline", "--no-scores"])
    converging = work / "converging-1"
    (converging / "done").unlink()
    (converging / "checkpoint_last.pt").rename(converging / "checkpoint_1_10.pt")
    going_on = []

    def call(*command, output=None, mode="w"):
        going_on.append((converging / "checkpoint_last.pt").exists())
        output.write_text("", encoding="utf-8")

    monkeypatch.setattr(import_benchmark("effect_commands"), "call", call)
    run_effect(effect, monkeypatch, [*line, "--rows", "baseline", "--no-scores"])
    assert going_on[0]


def test_a_checkout_at_another_path(effect, trainings, monkeypatch, tmp_path, minilm):
    """What it has trained is there; another training is not."""
    work, line = paper_size(tmp_path)
    run_effect(effect, monkeypatch, [*line, "--rows", "baseline", "--no-scores"])
    told = work / "baseline-1" / "command.json"
    command = json.loads(told.read_text(encoding="utf-8"))
    command[command.index("--user-dir") + 1] = "/elsewhere/fairseq_bertloss"
    told.write_text(json.dumps(command), encoding="utf-8")
    called = len(trainings)
    run_effect(effect, monkeypatch, [*line, "--rows", "baseline", "--no-scores"])
    assert len(trainings) == called
    command[command.index("--lr") + 1] = "1"
    told.write_text(json.dumps(command), encoding="utf-8")
    with pytest.raises(ValueError, match="baseline-1 is of another training, .*command.json says which"):
        run_effect(effect, monkeypatch, [*line, "--rows", "baseline", "--no-scores"])


def test_runs_and_their_files(effect, trainings, monkeypatch, tmp_path, minilm, capsys):
    """A run is done once; a judge that comes later is asked alone; a row of other options is refused."""
    asked = []

    def judge(judges, reference, translated, known, sizes):
        asked.append(translated.parent.name)
        assert known.scores == ({} if judges.mpnet is None else {"f_bert": 80.0, "f_bert_e5": 81.0, "beam_score": -0.5})
        by_mpnet = {} if judges.mpnet is None else {"f_bert_mpnet": 82.0, "moverscore_mpnet": 60.0}
        return import_benchmark("effect_judges").Judgement(
            {"f_bert": 80.0, "f_bert_e5": 81.0} | by_mpnet, {"f_bert": [80.0], "f_bert_e5": [81.0]}
        )

    monkeypatch.setattr(effect.Judges, "judge", judge)
    _, line = paper_size(tmp_path)
    line += ["--e5", tmp_path, "--seeds", "1", "2", "--rows", "control"]
    for more in ([], [], ["--mpnet", tmp_path]):
        run_effect(effect, monkeypatch, [*line, *more])
    assert (
        asked == ["control-1", "control-2"] * 2
        and capsys.readouterr().out.count("control, seed 2, beam5: f_bert 80") == 3
    )
    assert [call[0] for call in trainings].count("fairseq-train") == 6  # twice a baseline in two phases and a row
    path = tmp_path / "results" / "multi30k.paper" / "valid" / "control.2.beam5.json"
    run = json.loads(path.read_text(encoding="utf-8"))
    assert (run["row"], run["seed"], run["scores"]["f_bert_mpnet"], run["sentences"]["f_bert"]) == (
        "control",
        2,
        82.0,
        [80.0],
    )
    path.write_text(json.dumps(run | {"options": ["--lr", "1"]}), encoding="utf-8")
    with pytest.raises(ValueError, match="control.2.beam5.json is of other options than control has now"):
        run_effect(effect, monkeypatch, line)


def test_calls_wait_for_each_other(effect, tmp_path):
    """One at a time is inside, in another process; who is killed inside lets the next one in."""
    script = (
        "import sys, time; from pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(effect.__file__).parent)!r}); import effect_commands\n"
        "with effect_commands.alone(Path(sys.argv[1])):\n    print('inside', flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "baseline-1.lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "inside\n"
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as second:
            assert second.stderr.readline() == f"another call is at {tmp_path / 'baseline-1'}: waiting for it\n"
            first.kill()
            assert second.stdout.readline() == "inside\n"
            second.kill()


def test_scores_need_a_judge(effect, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="there is no folder .*e5-small-en-es-tr: name it by --e5"):
        run_effect(effect, monkeypatch, ["multi30k", "--data", tmp_path / "data", "--rows", "control"])


def test_nothing_is_scored_and_compared(effect, monkeypatch):
    with pytest.raises(ValueError, match="--no-scores leaves nothing to compare"):
        run_effect(effect, monkeypatch, "multi30k --data x --rows baseline control --no-scores --compare".split())


def test_an_unknown_row(rows):
    with pytest.raises(ValueError, match="there is no row 'gumble'; there are control, softmax"):
        rows.options("gumble@1e-5")


def test_records_of_a_log(tmp_path):
    log = tmp_path / "train.log"
    log.write_text(
        'x | INFO | train_inner | {"num_updates": "10", "loss": "0.75"}\n'
        'x | INFO | train_inner | {"num_updates": "10", "loss": "0.5"}\n'
        'x | INFO | train | {"train_num_updates": "10", "train_train_wall": "3"}\n'
        'x | INFO | valid | {"valid_loss": "0.25", "valid_num_updates": "10"}\n'
        'x | INFO | fairseq_cli.train | {"task": "translation"}\n'
    )
    assert import_benchmark("effect_training").records(log) == [
        {"kind": "train_inner", "num_updates": 10, "loss": 0.5},
        {"kind": "train", "train_num_updates": 10, "train_train_wall": 3},
        {"kind": "valid", "valid_loss": 0.25, "valid_num_updates": 10},
    ]


def test_a_command_that_fails_says_how(tmp_path):
    with pytest.raises(ChildProcessError, match="(?s)^fairseq-train.*unrecognized arguments: --nonsense"):
        import_benchmark("effect_commands").call(
            "fairseq-train", "data", "--arch", "transformer", "--nonsense", output=tmp_path / "log"
        )


def test_the_references_probabilities_are_those_of_validation(corpus, tiny_lm, tmp_path):
    done = train(corpus, tmp_path, "--criterion", "bertscore_loss", "--bert-model", tiny_lm("bert"), "--bert-layer",
                 "2", "--objective", "soft", "--soft-prediction", "softmax", "--cross-entropy-weight", "1",
                 "--lr", "1e-2", "--max-update", "20")  # fmt: skip
    *_, valid = logged(done, "valid")
    forced = import_benchmark("effect_judges").forced(tmp_path / "checkpoint_last.pt", corpus, "valid")
    assert forced["nll"] / math.log(2) == pytest.approx(valid["valid_nll_loss"], abs=2e-3)
    assert forced["entropy"] == pytest.approx(valid["valid_entropy"], abs=2e-4)
    assert forced["p_eos_end"] == pytest.approx(valid["valid_p_eos_end"], abs=2e-4)
    assert forced["p_eos_before"] == pytest.approx(valid["valid_p_eos_before"], abs=2e-6)


def test_averaged_and_interpolated_parameters(effect, rows, corpus, sizes, tmp_path, minilm):
    """`averaged` is the mean of the checkpoints along the way, `interpolated` that of this and the baseline."""
    experiment = experiment_in(tmp_path, effect, sizes, minilm)
    for row, learning_rate in (("baseline", "0.01"), ("control", "0.1")):
        train(corpus, tmp_path / f"{row}-1", "--max-update", "3", "--save-interval-updates", "1",
              "--keep-interval-updates", "2", "--disable-validation", "--batch-size", "40",
              "--lr", learning_rate)  # fmt: skip
    checkpoints = sorted((tmp_path / "control-1").glob("checkpoint_*_*.pt"))
    one, other, baseline = (
        torch.load(path)["model"] for path in (*checkpoints, tmp_path / "baseline-1/checkpoint_last.pt")
    )
    name = "encoder.embed_tokens.weight"
    assert (one[name] - other[name]).abs().max() > 0.01 and len(checkpoints) == 2
    for weight in set(rows.BASELINE_WEIGHT.values()):
        mean = torch.load(experiment._average(tmp_path / "control-1", 1, weight))["model"]
        share = weight or 0
        torch.testing.assert_close(mean[name], (1 - share) * (one[name] + other[name]) / 2 + share * baseline[name])


def test_beam_scores(tmp_path):
    generated = tmp_path / "valid.out"
    generated.write_text("S-0\ta\nH-0\t-0.5\tb\nD-0\t-0.5\tb\nH-1\t-1.5\tc\n", encoding="utf-8")
    assert import_benchmark("effect_judges").beam_score(generated) == -1.0


def test_controls(rows):
    """The strong one everywhere; beside a row with dropout, that with dropout too."""
    assert rows.control_of("baseline") is None and rows.controls_of("baseline") == []
    assert (
        rows.control_of("gumbel_softmax@3e-4x50") == rows.control_of("mix-0.2@3e-4x50") == "no-dropout-control@3e-4x50"
    )
    assert rows.controls_of("gumbel_softmax@3e-4x50") == ["control@3e-4x50", "no-dropout-control@3e-4x50"]
    assert rows.controls_of("mix-0.2") == rows.controls_of("no-dropout-control") == ["no-dropout-control"]


def test_what_translates_nothing_is_not_compared(effect, monkeypatch):
    line = "multi30k --data nowhere --rows baseline control --decodings forced beam5 --compare"
    with pytest.raises(ValueError, match="--compare needs translations, and the decoding `forced` makes none"):
        run_effect(effect, monkeypatch, line.split())


def test_decodings_of_means(effect, sizes, monkeypatch, tmp_path, minilm):
    """What translates; the baseline stays as it is."""
    experiment = experiment_in(tmp_path, effect, sizes, minilm)
    for row in ("baseline", "risk"):
        (tmp_path / f"{row}-1").mkdir()
    used = []
    monkeypatch.setattr(
        experiment, "_average", lambda folder, seed, weight: f"{folder.name} with {weight} of baseline-{seed}"
    )
    monkeypatch.setattr(
        import_benchmark("effect_commands"),
        "call",
        lambda *command, output: (used.append(str(command[command.index("--path") + 1])), output.touch()),
    )
    for decoding in ("beam5", "averaged", "averaged-lenpen0.6", "interpolated", "interpolated-0.33"):
        experiment.translate("risk", 1, "valid", decoding)
    assert used[0] == str(tmp_path / "risk-1" / "checkpoint_last.pt")
    assert used[1:] == [f"risk-1 with {weight} of baseline-1" for weight in (None, None, 0.5, 0.33)]
    experiment.translate("baseline", 1, "valid", "interpolated")
    assert used[-1] == str(tmp_path / "baseline-1" / "checkpoint_last.pt")


def test_a_mean_of_nothing(effect, sizes, tmp_path, minilm):
    experiment = experiment_in(tmp_path, effect, sizes, minilm)
    with pytest.raises(ValueError, match="has 0 checkpoints from along the way"):
        experiment._average(tmp_path, 1, None)
