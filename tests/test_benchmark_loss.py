"""benchmarks/loss.py: its rows compute the same, its inputs are what they should be, and its measurements measure."""

import csv
import math
import sys
import warnings
from dataclasses import replace

import entmax
import pytest
import torch
from conftest import REPOSITORY
from fairseq import options, tasks
from fairseq.data import Dictionary, indexed_dataset
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import OmegaConf

from fairseq_bertloss.forced_decoding import load_model

BENCHMARKS = REPOSITORY / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # they import each other as plain modules, in other processes too

import loss  # noqa: E402
import loss_growth  # noqa: E402
import loss_inputs  # noqa: E402
import loss_measure  # noqa: E402
import loss_report  # noqa: E402
import loss_rows  # noqa: E402
from loss_inputs import EOS, PAD  # noqa: E402

LAYER = 2
KINDS = ["softmax", "sparsemax", "entmax15", "gumbel_softmax"]
MACHINE = loss_measure.Machine("cpu", torch.float32)


@pytest.fixture(scope="module")
def batch(tiny_lm):
    """Made-up logits, with padding."""
    symbols = loss_inputs.made_up_symbols(tiny_lm("bert"), 120)
    made = loss_inputs.synthetic(37, symbols, dim=24, longest=9)
    assert made.padding > 0
    return made


@pytest.fixture
def rows(tiny_lm, batch):
    """A function from a batch to its rows, by way and kind."""

    def make(of=batch, kinds=KINDS):
        made = loss_rows.Workload(tiny_lm("bert"), LAYER, of).rows("cpu", torch.float32, kinds)
        return {(row.way, row.kind): row for row in made}

    return make


def outcome(row):
    """The loss, and the gradients of features and projection; the same noise every time."""
    torch.manual_seed(1)
    value = row.update()
    return value, row.batch.features.grad, row.batch.weight.grad


def assert_same(row, other):
    for one, two in zip(outcome(row), outcome(other), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("kind", ["softmax", "sparsemax", "entmax15"])
def test_plain_is_ours(rows, kind):
    made = rows()
    assert_same(made["plain", kind], made["ours", kind])


@pytest.mark.parametrize("kind", ["softmax", "sparsemax", "gumbel_softmax"])
def test_published_is_plain_where_nothing_is_padded(rows, batch, kind):
    whole = int(batch.target.ne(PAD).all(dim=1).sum())
    assert whole > 1, "the longest sentences come first"
    made = rows(batch.shrunk(whole))
    assert_same(made["published", kind], made["plain", kind])


def test_padding_lowers_the_published_score_by_its_share(rows, batch):
    published = rows()["published", "softmax"].update()
    expected = 0.0
    for i, length in enumerate(batch.target.ne(PAD).sum(dim=1).tolist()):
        alone = replace(batch, features=batch.features[i : i + 1, :length], target=batch.target[i : i + 1, :length])
        expected += rows(alone, ["softmax"])["plain", "softmax"].update() * length / batch.target.size(1)
    torch.testing.assert_close(published, expected, rtol=0, atol=1e-5)


def test_cached_references_are_the_same_but_for_their_precision(tiny_lm, batch, tmp_path):
    workload = loss_rows.Workload(tiny_lm("bert"), LAYER, batch, cache=str(tmp_path))
    made = {row.way: row for row in workload.rows("cpu", torch.float32, ["softmax"])}
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    assert sum(path.stat().st_size for path in files) > batch.tokens * 2, "nothing is cached"
    for one, two in zip(outcome(made["ours, cached references"]), outcome(made["ours"]), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=2e-3 * float(two.abs().max()))
    assert {path: path.stat().st_mtime_ns for path in files} == files, "an update wrote to the cache"


def test_cross_entropy_of_real_tokens_is_that_of_all(rows, batch):
    made = rows()
    value, _, weight_gradient = outcome(made["cross-entropy", None])
    logits = batch.features @ batch.weight.T
    real = batch.target.ne(PAD)
    expected = torch.nn.functional.cross_entropy(logits[real], batch.target[real], reduction="sum")
    torch.testing.assert_close(value, expected)
    assert_same(made["cross-entropy", None], made["cross-entropy, real tokens", None])
    made["floor", None].update()
    torch.testing.assert_close(made["floor", None].batch.weight.grad, weight_gradient)


def test_sparsemax_by_sorting():
    torch.manual_seed(1)
    scores = torch.cat([torch.randn(20, 60), 4 * torch.randn(20, 60), torch.zeros(1, 60), torch.randn(5, 60).round()])
    results = []
    for sparsemax in (loss_rows.sorting_sparsemax, lambda z: entmax.sparsemax(z, dim=-1)):
        leaf = scores.double().requires_grad_()
        result = sparsemax(leaf)
        (result * torch.linspace(-1, 1, 60) ** 3).sum().backward()
        results.append((result.detach(), leaf.grad))
    torch.testing.assert_close(*(result for result, _ in results))
    torch.testing.assert_close(*(gradient[:40] for _, gradient in results))  # where no score is at the threshold itself


def test_wider_features_give_the_same_logits(batch):
    features, weight = loss_inputs.widened(batch.features, batch.weight, 64)
    assert features.size(-1) == weight.size(-1) == 64
    torch.testing.assert_close(features @ weight.T, batch.features @ batch.weight.T, rtol=1e-5, atol=1e-5)
    assert features[..., 24:].abs().min() > 0, "the cost is not that of the wider features if the rest is 0"
    with pytest.raises(ValueError, match="24 wide, more than --features-dim 20"):
        loss_inputs.widened(batch.features, batch.weight, 20)


def test_made_up_batch():
    symbols = [str(i) for i in range(3000)]
    made = loss_inputs.synthetic(301, symbols, dim=64, longest=20)
    real = made.target.ne(PAD)
    assert made.tokens == 301 and (made.target.eq(EOS).sum(dim=1) == 1).all()
    assert (made.target[torch.arange(len(made.target)), real.sum(dim=1) - 1] == EOS).all()
    logits = (made.features @ made.weight.T)[real]
    assert 0.3 < (logits.argmax(dim=-1) == made.target[real]).float().mean() < 0.8
    assert 1 < (entmax.sparsemax(logits, dim=-1) > 0).sum(dim=-1).float().mean() < 3
    again = loss_inputs.synthetic(301, symbols, dim=64, longest=20)
    assert torch.equal(made.features, again.features) and torch.equal(made.target, again.target)


def test_exponent_of_a_power_law():
    sizes = [8000, 16000, 50000, 250000]
    assert loss_growth.exponent(sizes, [3e-5 * size**0.85 for size in sizes]) == pytest.approx(0.85)
    assert math.isnan(loss_growth.exponent(sizes, [0, 1, 2, 3]))


def test_growth_tables():
    points = [loss_growth.Point(size, {"ours": 2e-3 * size}, {"ours": size**2}) for size in (1000.0, 4000.0)]
    head, _, time, _, _, _, memory = loss_report.growth_tables("tokens", points).splitlines()
    assert head == "| s, by tokens | 1,000 | 4,000 | exponent |" and time == "| ours | 2.000 | 8.000 | 1.00 |"
    assert memory == "| ours | 0.0010 | 0.0160 | 2.00 |"


@pytest.mark.parametrize("limit", [0, 63, 64, 65, 1000, 70_000, 200_000])
def test_bisection(limit):
    found = loss_growth.largest(lambda tokens: tokens <= limit, most=100_000)
    assert found <= (0 if limit < 64 else min(limit, 100_000)) <= math.ceil(1.02 * found)


def test_resident_growth():
    def use_80_mb():
        torch.ones(10_000_000).add(1)  # 40 MB, twice at the same time
        torch.ones(16_000_000)  # 64 MB, after those are gone

    use_80_mb()
    assert 75e6 < loss_measure.resident_growth(use_80_mb) < 95e6


def test_memory_in_a_fresh_process(tiny_lm, tmp_path):
    symbols = loss_inputs.made_up_symbols(tiny_lm("bert"), 40_000)
    made = loss_inputs.synthetic(400, symbols, dim=16, longest=20)
    torch.save(loss_rows.Workload(tiny_lm("bert"), LAYER, made), tmp_path / "workload.pt")
    inputs = [(str(tmp_path / "workload.pt"), name, None, MACHINE) for name in ("cross-entropy", "no such row")]
    growths = loss_measure.each_in_a_process(inputs)
    # Logits and log-probabilities with the gradients of both, when the largest number of them is alive.
    assert 2.9 < next(growths) / (made.target.numel() * len(symbols) * 4) < 4.5
    with pytest.raises(ChildProcessError, match="memory of 'no such row' ended early"):
        next(growths)


def arguments(lm, *more):
    sizes = "--tokens 30 --longest 8 --vocabulary 100 --features-dim 16 --rounds 2 --warm-up 1".split()
    return ["--lm", lm, "--layer", "2", *sizes, *more]


def test_command(tiny_lm, tmp_path, capsys):
    files = [tmp_path / "rows.csv", tmp_path / "rows.svg"]
    loss.main(arguments(tiny_lm("bert"), "--no-memory", "--csv", str(files[0]), "--plot", str(files[1])))
    table = capsys.readouterr().out
    with open(files[0], encoding="utf-8", newline="") as file:
        lines = {line["row"]: line for line in csv.DictReader(file)}
    common = ["cross-entropy", "cross-entropy, real tokens", "language model", "cross-entropy + language model"]
    ways = [f"{kind}, {way}" for kind in KINDS for way in loss_rows.WAYS]
    ways.remove("entmax15, published")
    assert list(lines) == [*common, "floor", "dense products + language model", *ways]
    assert all(f"\n| {row} | " in table for row in lines) and "30 tokens in " in table and "vocabulary 100" in table
    for line in lines.values():
        p20, p50, p80 = (float(line[f"seconds_p{quantile}"]) for quantile in (20, 50, 80))
        assert 0 < p20 <= p50 <= p80 and float(line["ratio_p50"]) > 0
    assert float(lines["floor"]["ratio_p20"]) == float(lines["floor"]["ratio_p80"]) == 1
    assert all(word in files[1].read_text(encoding="utf-8") for word in ("gumbel_softmax", "published"))
    assert sorted(tmp_path.iterdir()) == files


@pytest.mark.parametrize(
    "more, message",
    [
        ("--device cuda", "torch finds no GPU here"),
        ("--checkpoint x", "--checkpoint needs --data"),
        ("--data x", "--checkpoint needs --data"),
        ("--checkpoint x --data y", "leave out --vocabulary"),
        ("--fit-memory 16", "--fit-memory needs --device cuda"),
        ("--sizes 5 6", "--sizes belongs to --growth"),
        ("--growth tokens --sizes 512 many", "not 'many'"),
        ("--growth tokens --sizes 512", "at least two --sizes"),
        ("--growth lm", "leave out --layer"),
        ("--growth tokens --no-memory", "leave out --no-memory"),
        ("--plot figure.pdf", "must end with .png or .svg"),
        ("--csv nowhere/rows.csv", "there is no folder for nowhere/rows.csv"),
        ("--rounds 0", "argument --rounds"),
        ("--typical-batch", "needs --checkpoint and --data"),
        ("--kinds gumbel", "invalid choice: 'gumbel'"),
        ("--layer 9", "no layer 9"),
        ("--lm random:100x2", "write random:WIDTHxLAYERS"),
        ("--longest 200 --tokens 300", "has positions for 99 symbols"),
    ],
)
def test_bad_calls(tiny_lm, capsys, more, message):
    if "cuda" in more and torch.cuda.is_available():
        pytest.skip("here is a GPU")
    with pytest.raises(SystemExit) as stop:
        loss.main(arguments(tiny_lm("bert"), *more.split()))
    error = capsys.readouterr().err
    assert stop.value.code == 2 and message in error.splitlines()[-1], error


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder as from fairseq-preprocess, with sentences of 2 to 21 symbols, the end included."""
    folder = tmp_path_factory.mktemp("data")
    for language in ("de", "en"):
        (folder / f"dict.{language}.txt").write_text("".join(f"{language}{i} 1\n" for i in range(50)))
        dictionary = Dictionary.load(str(folder / f"dict.{language}.txt"))
        prefix = str(folder / f"valid.de-en.{language}")
        builder = indexed_dataset.make_builder(f"{prefix}.bin", impl="mmap", vocab_size=len(dictionary))
        for length in range(1, 21):
            line = " ".join(f"{language}{i}" for i in range(length))
            builder.add_item(dictionary.encode_line(line, add_if_not_exist=False))
        builder.finalize(f"{prefix}.idx")
    return str(folder)


@pytest.fixture(scope="module")
def checkpoint(data, tmp_path_factory):
    """A checkpoint of fairseq-train, of a model with random weights."""
    sizes = [f"--{side}-{part}" for side in ("encoder", "decoder") for part in ("embed-dim=32", "ffn-embed-dim=32")]
    arguments = [data, "--arch=transformer_iwslt_de_en", "--encoder-layers=1", "--decoder-layers=1", *sizes]
    with warnings.catch_warnings(action="ignore"):  # fairseq calls hydra in ways that hydra advises against
        config = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), arguments))
    torch.manual_seed(1)
    model = tasks.setup_task(config.task).build_model(config.model)
    path = str(tmp_path_factory.mktemp("model") / "checkpoint_last.pt")
    saved = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    state = {"num_updates": 1, "criterion_name": "", "best_loss": 0.0, "optimizer_name": "", "lr_scheduler_state": {}}
    extra = {"epoch": 1, "val_loss": None, "train_iterator": {"epoch": 1}}
    torch.save({"cfg": saved, "model": model.state_dict(), "optimizer_history": [state], "extra_state": extra}, path)
    return path


def test_logits_of_a_trained_model(checkpoint, data):
    batch = loss_inputs.trained(checkpoint, data, "valid", 60, 19, 48)
    assert batch.target.ne(PAD).sum(dim=1).tolist() == [19, 18, 17], "the next would exceed 60 tokens"
    assert batch.features.shape == (3, 19, 48) and batch.weight.shape == (54, 48)
    assert batch.target[0].tolist() == [*range(4, 22), EOS]

    model, task = load_model(checkpoint, data)
    task.load_dataset("valid")
    with torch.no_grad():
        logits, _ = model(**task.dataset("valid").collater([task.dataset("valid")[17]])["net_input"])
    torch.testing.assert_close(batch.features[:1] @ batch.weight.T, logits, rtol=0, atol=1e-4)


def test_a_typical_batch_is_as_padded_as_half_of_them_are_at_most(checkpoint, data):
    # Sentences of 2 to 21 symbols, shortest first: 2 to 7 (6 x 7 <= 45), 8 to 11, 12 to 14, 15 and 16, ..., 21.
    padding = [1 - 4.5 / 7, 1 - 9.5 / 11, 1 - 13 / 14, 1 - 15.5 / 16, 1 - 17.5 / 18, 1 - 19.5 / 20, 0.0]
    assert sorted(padding)[3] == padding[3]
    batch = loss_inputs.trained(checkpoint, data, "valid", 45, None, 48)
    assert sorted(batch.target.ne(PAD).sum(dim=1).tolist()) == [15, 16]


@pytest.mark.parametrize("longest", [21, None])
def test_too_few_tokens_for_a_sentence(checkpoint, data, longest):
    with pytest.raises(ValueError, match="--tokens 20 is less than the longest sentence"):
        loss_inputs.trained(checkpoint, data, "valid", 20, longest, 32)


@pytest.mark.parametrize(
    "subset, tokens, message",
    [
        ("valid", 10**6, "230 target tokens in sentences of at most 21 symbols, not 1000000: lower --tokens"),
        ("train", 60, "has no subset 'train'"),
    ],
)
def test_data_that_does_not_suffice(checkpoint, data, subset, tokens, message):
    with pytest.raises(ValueError, match=message):
        loss_inputs.trained(checkpoint, data, subset, tokens, 21, 32)
