"""One checkpoint from several: real ones of fairseq-train, which fairseq-generate and fairseq-train read."""

import pytest
import torch
from training import fairseq, train

from fairseq_bertloss import cli
from fairseq_bertloss.averaging import average
from fairseq_bertloss.checkpoints import allow_fairseq_classes

allow_fairseq_classes()

EMBEDDING = "encoder.embed_tokens.weight"


@pytest.fixture(scope="module")
def checkpoints(corpus, baseline, tmp_path_factory):
    """Of three updates each."""
    folder = tmp_path_factory.mktemp("fine-tuned")
    train(corpus, folder, "--max-update", "3", "--save-interval-updates", "1", "--keep-interval-updates", "2",
          "--disable-validation", "--batch-size", "40", "--lr", "0.1", "--finetune-from-model", str(baseline))  # fmt: skip
    found = sorted(folder.glob("checkpoint_*_*.pt"))
    assert len(found) == 2
    return found


def parameters(path) -> dict[str, torch.Tensor]:
    return torch.load(path)["model"]


def test_a_mean_of_checkpoints(checkpoints, tmp_path):
    assert cli.main(["average", *map(str, checkpoints), "--output", str(tmp_path / "mean.pt")]) == 0
    (one, other), mean = map(parameters, checkpoints), parameters(tmp_path / "mean.pt")
    assert (one[EMBEDDING] - other[EMBEDDING]).abs().max() > 0.01
    for name, parameter in mean.items():
        torch.testing.assert_close(parameter, (one[name] + other[name]) / 2)
    average([checkpoints[0], *checkpoints], tmp_path / "weighted.pt")
    torch.testing.assert_close(parameters(tmp_path / "weighted.pt")[EMBEDDING], (2 * one[EMBEDDING] + other[EMBEDDING]) / 3)


@pytest.mark.parametrize("options, weight", [([], 0.5), (["--baseline-weight", "0.25"], 0.25)])
def test_a_mean_with_the_baseline(checkpoints, baseline, tmp_path, options, weight):
    line = ["average", *map(str, checkpoints), "--baseline", str(baseline), *options, "--output", str(tmp_path / "mean.pt")]
    assert cli.main(line) == 0
    mean, before = parameters(tmp_path / "mean.pt"), parameters(baseline)
    one, other = map(parameters, checkpoints)
    for name, parameter in mean.items():
        torch.testing.assert_close(parameter, (1 - weight) * (one[name] + other[name]) / 2 + weight * before[name])
    assert not torch.allclose(mean[EMBEDDING], before[EMBEDDING], atol=0.01)


def test_fairseq_reads_it(checkpoints, baseline, corpus, tmp_path):
    """It has all that a checkpoint has but the optimizer, and training goes on from it."""
    mean = tmp_path / "mean.pt"
    average(checkpoints[-1:], mean, baseline)
    before, after = torch.load(checkpoints[-1]), torch.load(mean)
    assert before.keys() - after.keys() == {"last_optimizer_state"}
    assert after["extra_state"]["train_iterator"] == before["extra_state"]["train_iterator"]
    generated = fairseq("generate", corpus, "--path", mean, "--gen-subset", "valid", "--required-batch-size-multiple", "1")
    assert 0 < generated.stdout.count("\nH-") == generated.stdout.count("\nS-")
    train(corpus, tmp_path / "on", "--finetune-from-model", str(mean), "--max-update", "1", "--disable-validation")
    assert (tmp_path / "on" / "checkpoint_last.pt").exists()


def test_half_precision(tmp_path):
    """The sum is of float32, in which steps of float16 are not lost; the result is of the checkpoints' type."""
    for name, value in (("a.pt", 1.0), ("b.pt", 1.002)):
        torch.save({"model": {"w": torch.full((3,), value, dtype=torch.float16)}}, tmp_path / name)
    average([tmp_path / "a.pt", tmp_path / "b.pt"], tmp_path / "mean.pt", tmp_path / "a.pt", 0.25)
    mean = parameters(tmp_path / "mean.pt")["w"]
    assert mean.dtype == torch.float16 and mean[0] == torch.tensor(0.625 * 1.0 + 0.375 * 1.0019531).half()


@pytest.mark.parametrize(
    "names, options, message",
    [
        (["a.pt"], {}, "there are 1 checkpoints, which makes no mean: name more, or a baseline"),
        ([], {"baseline": "a.pt"}, "there are 0 checkpoints, which makes no mean"),
        (["a.pt"], {"baseline": "a.pt", "baseline_weight": 1.0}, "weight must lie between 0 and 1, not 1.0"),
        (["a.pt", "none.pt"], {}, "there is no checkpoint .*none.pt"),
        (["a.pt", "text.pt"], {}, "text.pt is not a checkpoint of fairseq-train: it is damaged, or no file of torch's"),
        (["a.pt", "tensor.pt"], {}, "tensor.pt is not a checkpoint of fairseq-train: it has no 'model'"),
        (["a.pt", "strange.pt"], {}, "strange.pt is not a checkpoint of fairseq-train: its model is not made of tensors"),
        (["a.pt", "wide.pt"], {}, r"not of one model: w is \[4\] in .*wide.pt, \[3\] in .*a.pt"),
        (["a.pt", "more.pt"], {}, r"not of one model: v is \[3\] in .*more.pt, absent in .*a.pt"),
    ],
)
def test_bad_input(tmp_path, names, options, message):
    (tmp_path / "text.pt").write_text("text")
    models = {"a.pt": {"w": torch.ones(3)}, "wide.pt": {"w": torch.ones(4)}, "strange.pt": {"w": [1.0]}}
    models["more.pt"] = models["a.pt"] | {"v": torch.ones(3)}
    for name, model in models.items():
        torch.save({"model": model}, tmp_path / name)
    torch.save({"tensor": torch.ones(3)}, tmp_path / "tensor.pt")
    before = set(tmp_path.iterdir())
    if "baseline" in options:
        options = options | {"baseline": tmp_path / options["baseline"]}
    with pytest.raises(ValueError, match=message):
        average([tmp_path / name for name in names], tmp_path / "mean.pt", **options)
    assert set(tmp_path.iterdir()) == before


def test_a_weight_without_a_baseline(tmp_path, capsys):
    line = ["average", "a.pt", "b.pt", "--baseline-weight", "0.5", "--output", str(tmp_path / "mean.pt")]
    assert cli.main(line) == 2
    assert "--baseline-weight is of --baseline CHECKPOINT, which is missing" in capsys.readouterr().err
