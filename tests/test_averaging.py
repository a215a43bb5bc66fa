"""One checkpoint from several: real ones of fairseq-train, which fairseq-generate and fairseq-train read."""

import math
from argparse import Namespace

import pytest
import torch
from fairseq.checkpoint_utils import load_ema_from_checkpoint
from training import fairseq, train

from fairseq_bertloss import cli
from fairseq_bertloss.checkpoints.averaging import AVERAGE, average
from fairseq_bertloss.checkpoints.loading import allow_fairseq_classes

allow_fairseq_classes()

EMBEDDING = "encoder.embed_tokens.weight"


@pytest.fixture(scope="module")
def checkpoints(corpus, baseline, tmp_path_factory):
    """Checkpoints of three updates each."""
    folder = tmp_path_factory.mktemp("fine-tuned")
    train(corpus, folder, "--max-update", "3", "--save-interval-updates", "1", "--keep-interval-updates", "2",
          "--disable-validation", "--batch-size", "40", "--lr", "0.1",
          "--finetune-from-model", str(baseline))  # fmt: skip
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
    torch.testing.assert_close(
        parameters(tmp_path / "weighted.pt")[EMBEDDING], (2 * one[EMBEDDING] + other[EMBEDDING]) / 3
    )


@pytest.mark.parametrize("options, weight", [([], 0.5), (["--baseline-weight", "0.25"], 0.25)])
def test_a_mean_with_the_baseline(checkpoints, baseline, tmp_path, options, weight):
    line = [
        "average",
        *map(str, checkpoints),
        "--baseline",
        str(baseline),
        *options,
        "--output",
        str(tmp_path / "mean.pt"),
    ]
    assert cli.main(line) == 0
    mean, before = parameters(tmp_path / "mean.pt"), parameters(baseline)
    one, other = map(parameters, checkpoints)
    for name, parameter in mean.items():
        torch.testing.assert_close(parameter, (1 - weight) * (one[name] + other[name]) / 2 + weight * before[name])
    assert not torch.allclose(mean[EMBEDDING], before[EMBEDDING], atol=0.01)


def test_fairseq_reads_it(checkpoints, baseline, corpus, tmp_path):
    """It translates like neither of its parts, and is fine-tuned; there is no optimizer to resume its training with."""
    mean = tmp_path / "mean.pt"
    average(checkpoints[-1:], mean, baseline)
    before, after = torch.load(checkpoints[-1]), torch.load(mean)
    assert before.keys() - after.keys() == {"last_optimizer_state", "criterion"}
    assert before["extra_state"].keys() - after["extra_state"].keys() == {"val_loss"}

    def scores(path) -> list[str]:
        done = fairseq(
            "generate", corpus, "--path", path, "--gen-subset", "valid", "--required-batch-size-multiple", "1"
        )
        return [line.split("\t")[1] for line in done.stdout.splitlines() if line.startswith("H-")]

    found = [scores(path) for path in (checkpoints[-1], baseline, mean)]
    assert len(found[0]) > 0 and len({tuple(lines) for lines in found}) == 3
    train(corpus, tmp_path / "on", "--finetune-from-model", str(mean), "--max-update", "1", "--disable-validation")
    assert (tmp_path / "on" / "checkpoint_last.pt").exists()


@pytest.fixture
def save(tmp_path):
    """A function that saves a model of some parameters as a checkpoint."""

    def save_model(name: str, **model):
        torch.save({"model": model}, tmp_path / name)
        return tmp_path / name

    return save_model


def test_half_precision(save, tmp_path):
    """The sum is of float32, where steps of float16 are not lost; the result is of the checkpoints' type."""
    step = 2**-10
    average(
        [save(f"{i}.pt", w=torch.tensor([1 + i * step], dtype=torch.float16)) for i in range(4)], tmp_path / "mean.pt"
    )
    mean = parameters(tmp_path / "mean.pt")["w"]
    assert mean.dtype == torch.float16 and mean.item() in (1 + step, 1 + 2 * step)
    quarters = torch.full((1,), 0.25, dtype=torch.float16)
    in_half = sum((1 + i * step) * quarters for i in range(4))
    assert in_half.item() == 1 + step and mean.item() == 1 + 2 * step, "1.5 steps, a tie that float16 rounds to even"


def test_what_has_no_mean_is_the_last_ones(save, tmp_path):
    models = [
        save(f"{n}.pt", w=torch.tensor([n], dtype=torch.float64), count=torch.tensor(n)) for n in (123456789, 123456791)
    ]
    average(models, tmp_path / "mean.pt")
    mean = parameters(tmp_path / "mean.pt")
    assert mean["w"] == 123456790 and mean["count"] == 123456791 and mean["count"].dtype == torch.int64


def test_parameters_of_two_names_are_saved_once(save, tmp_path):
    table = torch.ones(100, 100)
    tied = save("tied.pt", embedding=table, projection=table)
    average([tied, tied], tmp_path / "mean.pt")
    assert (tmp_path / "mean.pt").stat().st_size < 1.1 * tied.stat().st_size


def test_ties_of_one_checkpoint_are_copies_in_another(save, tmp_path):
    """A GPU's parameters are copied name by name."""
    table, other = torch.arange(6.0).view(2, 3), torch.ones(2, 3)
    tied, copied = (
        save("tied.pt", embedding=table, projection=table),
        save("copied.pt", embedding=other, projection=other.clone()),
    )
    for order in ([tied, copied], [copied, tied]):
        average(order, tmp_path / "mean.pt")
        mean = parameters(tmp_path / "mean.pt")
        assert torch.equal(mean["embedding"], (table + other) / 2) and torch.equal(
            mean["projection"], (table + other) / 2
        )
        is_tied = mean["embedding"].data_ptr() == mean["projection"].data_ptr()
        assert is_tied == (order[-1] == tied), "as in the last one"


@pytest.mark.parametrize("order", [[0, 1], [1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]])
@pytest.mark.parametrize("as_baseline", [False, True])
def test_what_is_tied_in_one_and_not_in_another(save, tmp_path, order, as_baseline):
    table = torch.zeros(2, 3)
    found = save("tied.pt", embedding=table, projection=table), save("apart.pt", embedding=table, projection=table + 1)
    paths = [found[i] for i in order]
    message = "embedding and projection are one parameter in .*tied.pt and two in .*apart.pt: .* two architectures"
    with pytest.raises(ValueError, match=message):
        if as_baseline:
            average(paths[:-1], tmp_path / "mean.pt", paths[-1])
        else:
            average(paths, tmp_path / "mean.pt")
    assert not (tmp_path / "mean.pt").exists()


SQUARE = torch.arange(9.0).view(3, 3)
ROW = torch.arange(12.0)


@pytest.mark.parametrize(
    "views",
    [
        {"matrix": SQUARE, "transposed": SQUARE.T},
        {"all": ROW, "first": ROW[:6], "rest": ROW[6:]},
        {"rows": ROW.view(3, 4), "columns": ROW.view(4, 3)},
        {"odd": ROW[1::2], "first": ROW[1:7]},
        {"repeated": ROW[:1].expand(4), "one": ROW[:1]},
        {"complex": torch.view_as_complex(ROW.view(6, 2)), "double": ROW.to(torch.complex128)},
        {"none": torch.zeros(0), "other": torch.zeros(0)},
    ],
    ids=lambda views: " ".join(views),
)
@pytest.mark.parametrize("is_last", [False, True])
def test_each_name_has_its_own_mean(save, tmp_path, views, is_last):
    """Views of one memory are no ties where they lie otherwise in it."""
    apart = {name: value.clone() + i for i, (name, value) in enumerate(views.items(), 1)}
    paths = [save("views.pt", **views), save("apart.pt", **apart)]
    average(paths[::-1] if is_last else paths, tmp_path / "mean.pt")
    mean = parameters(tmp_path / "mean.pt")
    assert mean.keys() == views.keys()
    for name, value in views.items():
        assert torch.equal(mean[name], (value + apart[name]) / 2) and mean[name].dtype == value.dtype


@pytest.mark.parametrize("last", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("first", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_baseline_of_another_precision(save, tmp_path, first, last):
    paths = save("first.pt", w=torch.ones(3, dtype=first)), save("last.pt", w=torch.full((3,), 2, dtype=last))
    average(paths, tmp_path / "mean.pt")
    assert torch.equal(parameters(tmp_path / "mean.pt")["w"], torch.full((3,), 1.5, dtype=last))


def test_the_last_ones_moving_average_is_left_out(corpus, tmp_path):
    """It is not the averaged model's, and fairseq would take it for that."""
    train(corpus, tmp_path, "--max-update", "2", "--save-interval-updates", "1", "--batch-size", "40",
          "--disable-validation", "--store-ema", "--ema-fp32")  # fmt: skip
    paths, mean = [tmp_path / "checkpoint_1_1.pt", tmp_path / "checkpoint_1_2.pt"], tmp_path / "mean.pt"
    average(paths, mean)
    before, after = (torch.load(path)["extra_state"].keys() for path in (paths[-1], mean))
    assert before - after == {"val_loss", "ema", "ema_fp32_params"}
    load_ema_from_checkpoint(str(paths[-1]))
    with pytest.raises(KeyError, match="ema"):
        load_ema_from_checkpoint(str(mean))


def test_the_state_of_the_last_ones_criterion_is_left_out(tmp_path):
    for name in "ab":
        state = {"model": {"w": torch.ones(2)}, "criterion": {"bias": torch.ones(2)}, "last_optimizer_state": {}}
        torch.save(state | {"extra_state": {"best": 1.0, "train_iterator": {"epoch": 1}}}, tmp_path / name)
    average([tmp_path / "a", tmp_path / "b"], tmp_path / "mean.pt")
    state = torch.load(tmp_path / "mean.pt")
    assert state.keys() == {"model", "extra_state", AVERAGE} and state["extra_state"] == {
        "train_iterator": {"epoch": 1}
    }


@pytest.mark.parametrize(
    "group, option, value", [("distributed_training", "use_sharded_state", True), ("common", "model_parallel_size", 2)]
)
@pytest.mark.parametrize("is_older", [False, True])
def test_parts_of_a_model(tmp_path, group, option, value, is_older):
    options = {"args": Namespace(**{option: value})} if is_older else {"args": None, "cfg": {group: {option: value}}}
    for name in ("a-shard0.pt", "b-shard0.pt"):
        torch.save({"model": {"flat_param_0": torch.ones(2)}} | options, tmp_path / name)
    with pytest.raises(
        ValueError, match="a-shard0.pt holds a part of a model, and checkpoints of other workers hold the rest"
    ):
        average([tmp_path / "a-shard0.pt", tmp_path / "b-shard0.pt"], tmp_path / "mean.pt")


def test_a_changed_byte(save, tmp_path):
    """In the weights, where torch does not notice."""
    good, bad = save("good.pt", w=torch.arange(1000.0)), save("bad.pt", w=torch.arange(1000.0))
    content = bytearray(bad.read_bytes())
    content[content.index(torch.arange(500.0, 503).numpy().tobytes())] ^= 1
    bad.write_bytes(content)
    assert not torch.equal(parameters(bad)["w"], parameters(good)["w"])
    with pytest.raises(ValueError, match="bad.pt is not a checkpoint of fairseq-train: it is damaged"):
        average([good, bad], tmp_path / "mean.pt")


TABLE = torch.arange(3)


@pytest.mark.parametrize(
    "one, other, message",
    [
        (TABLE, TABLE + 1, "w holds whole numbers, which have no mean, and differs between .*other.pt and .*one.pt"),
        (TABLE > 1, TABLE > 0, "w holds whole numbers, which have no mean, and differs"),
        (TABLE.float(), TABLE, r"w is \[3\] of whole numbers in .*other.pt, \[3\] in .*one.pt"),
        (TABLE.float(), TABLE * 1j, r"w is \[3\] of complex numbers in .*other.pt, \[3\] in .*one.pt"),
        (TABLE.float().to_sparse(), TABLE.float(), "one.pt: w is sparse, which cannot be averaged"),
        (
            TABLE.float().to(torch.float8_e4m3fn),
            TABLE.float(),
            "one.pt: w is of torch.float8_e4m3fn, which cannot be averaged",
        ),
        (TABLE.float(), TABLE.float().to("meta"), "other.pt: w is without numbers .*, which cannot be averaged"),
        (
            torch.nested.nested_tensor([TABLE.float(), TABLE[:2].float()]),
            TABLE.float(),
            "one.pt: w is nested, which cannot",
        ),
        (
            TABLE.float(),
            torch.quantize_per_tensor(TABLE.float(), 0.1, 0, torch.qint8),
            "other.pt: w is quantized, which cannot",
        ),
    ],
)
def test_what_has_no_mean(save, tmp_path, one, other, message):
    paths = save("one.pt", w=one), save("other.pt", w=other)
    with pytest.raises(ValueError, match=message):
        average(paths, tmp_path / "mean.pt")
    if "whole numbers, which" in message:
        average([paths[0], save("same.pt", w=one)], tmp_path / "mean.pt")
        assert torch.equal(parameters(tmp_path / "mean.pt")["w"], one)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("order", [["good", "bad"], ["bad", "good"], ["bad", "bad"]])
def test_what_is_no_number(save, tmp_path, value, order):
    """Also where it is tied, and NaN is not equal to itself."""
    table = torch.ones(2, 3)
    save("good", embedding=table, projection=table)
    diverged = table.index_put((torch.tensor(1), torch.tensor(1)), torch.tensor(value))
    save("bad", embedding=diverged, projection=diverged)
    if order == ["bad", "bad"] and value == -math.inf:
        pytest.skip("a mask has it in all")
    with pytest.raises(
        ValueError, match="bad: embedding has values that are no|embedding is minus infinity in one of .* diverged"
    ):
        average([tmp_path / name for name in order], tmp_path / "mean.pt")
    assert not (tmp_path / "mean.pt").exists()


def test_a_mask_stays(save, tmp_path):
    mask = torch.full((3, 3), -math.inf).triu(1)
    average([save(f"{i}.pt", w=torch.ones(1) * i, mask=mask) for i in range(3)], tmp_path / "mean.pt")
    assert torch.equal(parameters(tmp_path / "mean.pt")["mask"], mask) and parameters(tmp_path / "mean.pt")["w"] == 1


def test_a_mean_too_large_for_its_type(save, tmp_path):
    paths = save("wide.pt", w=torch.full((1,), 1e30)), save("half.pt", w=torch.ones(1, dtype=torch.float16))
    with pytest.raises(ValueError, match="w: the mean is too large for torch.float16"):
        average(paths, tmp_path / "mean.pt")


@pytest.mark.parametrize("count", [3, 7])
def test_the_version_stays(save, tmp_path, count):
    """fairseq takes it for 1 where it is absent."""
    version = {"decoder.version": torch.tensor([2.0])}
    paths = [save(f"{i}.pt", w=torch.ones(1), **version) for i in range(count)]
    average(paths, tmp_path / "mean.pt")
    assert parameters(tmp_path / "mean.pt")["decoder.version"] == 2
    one, absent = (
        save("one.pt", w=torch.ones(1), **{"decoder.version": torch.ones(1)}),
        save("absent.pt", w=torch.ones(1)),
    )
    average([one, absent], tmp_path / "mean.pt")
    for other, listed in ((one, "1.0"), (absent, "1")):
        with pytest.raises(ValueError, match=f"decoder.version is {listed} in .*, 2.0 in .*0.pt"):
            average([paths[0], other], tmp_path / "mean.pt")


def configured(kind: str, group: str, option: str, value) -> dict:
    """What a checkpoint says of an option: of fairseq-train's, of fairseq-hydra-train's, and of fairseq before 0.11."""
    if kind == "older":
        return {"args": Namespace(**{option: value})}
    part, _, name = option.partition("_")
    if kind == "hydra" and part in ("encoder", "decoder"):
        return {"args": None, "cfg": {group: {part: {name: value}}}}
    return {"args": None, "cfg": {group: {option: value} if kind == "hydra" else Namespace(**{option: value})}}


@pytest.mark.parametrize(
    "kinds", [("now", "now"), ("older", "now"), ("now", "hydra"), ("hydra", "older")], ids=" ".join
)
@pytest.mark.parametrize(
    "group, option, one, other",
    [
        ("model", "encoder_attention_heads", 2, 4),
        ("model", "decoder_attention_heads", 2, 4),
        ("model", "activation_fn", "relu", "gelu"),
        ("model", "decoder_normalize_before", False, True),
        ("task", "target_lang", "en", "fr"),
        ("task", "source_lang", "zh", "ja"),
    ],
)
def test_options_that_change_the_function(tmp_path, kinds, group, option, one, other):
    model = {"model": {"w": torch.ones(2)}}
    for name, kind, value in zip("ab", kinds, (one, other), strict=True):
        torch.save(model | configured(kind, group, option, value), tmp_path / name)
    torch.save(model | configured(kinds[0], group, option, None), tmp_path / "silent")
    torch.save(model | configured(kinds[1], group, "dropout", 0.5), tmp_path / "dropout")
    with pytest.raises(
        ValueError, match=f"{option} is {other} in .*b and {one} in .*a, and a mean of both would be neither"
    ):
        average([tmp_path / "a", tmp_path / "b"], tmp_path / "mean.pt")
    assert not (tmp_path / "mean.pt").exists()
    average([tmp_path / name for name in ("a", "a", "silent", "dropout")], tmp_path / "mean.pt")


def test_two_codes_of_a_language(tmp_path):
    for code in ("zh", "zh_CN"):
        torch.save({"model": {"w": torch.ones(2)}} | configured("now", "task", "target_lang", code), tmp_path / code)
    average([tmp_path / "zh", tmp_path / "zh_CN"], tmp_path / "mean.pt")


def test_other_heads(corpus, checkpoints, tmp_path):
    """Of real trainings."""
    heads = "8" if torch.load(checkpoints[0])["cfg"]["model"].decoder_attention_heads != 8 else "4"
    train(
        corpus,
        tmp_path,
        "--max-update",
        "1",
        "--disable-validation",
        "--batch-size",
        "40",
        "--decoder-attention-heads",
        heads,
    )
    with pytest.raises(ValueError, match="decoder_attention_heads is"):
        average([*checkpoints, tmp_path / "checkpoint_last.pt"], tmp_path / "mean.pt")


@pytest.mark.parametrize("extra", [{"extra_state": None}, {}])
def test_nothing_is_known_of_its_training(tmp_path, extra):
    torch.save({"model": {"w": torch.ones(2)}} | extra, tmp_path / "a")
    average([tmp_path / "a"] * 2, tmp_path / "mean.pt")
    assert torch.load(tmp_path / "mean.pt").keys() == {"model", AVERAGE} | extra.keys()


def test_buffers_that_only_some_versions_of_fairseq_save(save, tmp_path):
    new, old = (
        save("new.pt", w=torch.ones(1)),
        save("old.pt", w=torch.zeros(1), **{"embed_positions._float_tensor": torch.ones(1)}),
    )
    average([new], tmp_path / "mean.pt", old)
    assert parameters(tmp_path / "mean.pt") == {"w": 0.5}
    average([old], tmp_path / "mean.pt", new)
    assert parameters(tmp_path / "mean.pt")["w"] == 0.5


@pytest.mark.parametrize(
    "names, options, message",
    [
        (["a.pt"], {}, "there is nothing to average: name several checkpoints, or one and --baseline CHECKPOINT"),
        ([], {"baseline": "a.pt"}, "there is nothing to average"),
        (
            ["a.pt"],
            {"baseline": "a.pt", "baseline_weight": 1.0},
            "--baseline-weight must be above 0 and below 1, not 1.0",
        ),
        (["a.pt", "none.pt"], {}, "there is no checkpoint .*none.pt"),
        (["a.pt"], {"baseline": "none.pt"}, "there is no checkpoint .*none.pt"),
        (["b.pt", "a.pt"], {"output": "a.pt"}, "a.pt is one of the checkpoints to average: give another --output"),
        (["b.pt"], {"baseline": "a.pt", "output": "a.pt"}, "a.pt is one of the checkpoints to average"),
        (["a.pt", "text.pt"], {}, "text.pt is not a checkpoint of fairseq-train: it is damaged, or no file of torch's"),
        (["a.pt", "tensor.pt"], {}, "tensor.pt is not a checkpoint of fairseq-train: it holds a Tensor"),
        (["a.pt", "strange.pt"], {}, "strange.pt is not a checkpoint of fairseq-train: it has no 'model' of tensors"),
        (
            ["a.pt", "wide.pt"],
            {},
            r"two architectures, or versions of fairseq: w is \[4\] in .*wide.pt, \[3\] in .*a.pt",
        ),
        (
            ["a.pt", "more.pt"],
            {},
            r"two architectures, or versions of fairseq: v is \[3\] in .*more.pt, absent in .*a.pt",
        ),
    ],
)
def test_bad_input(save, tmp_path, names, options, message):
    for name, model in {"a": {"w": torch.ones(3)}, "wide": {"w": torch.ones(4)}, "strange": {"w": [1.0]}}.items():
        save(f"{name}.pt", **model)
    save("b.pt", w=torch.zeros(3))
    save("more.pt", w=torch.ones(3), v=torch.ones(3))
    (tmp_path / "text.pt").write_text("text")
    torch.save(torch.ones(3), tmp_path / "tensor.pt")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    options = {"output": "mean.pt"} | options
    paths = {name: tmp_path / value if name in ("output", "baseline") else value for name, value in options.items()}
    with pytest.raises(ValueError, match=message):
        average([tmp_path / name for name in names], **paths)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_weight_without_a_baseline(tmp_path, capsys):
    line = ["average", "a.pt", "b.pt", "--baseline-weight", "0.5", "--output", str(tmp_path / "mean.pt")]
    assert cli.main(line) == 2
    assert "--baseline-weight needs --baseline CHECKPOINT" in capsys.readouterr().err
