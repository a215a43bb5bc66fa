"""Checkpoints from other environments: what numpy 1, numpy 2 and fairseq before 0.11 write, read by every command."""

import io
import pickle
import shutil
from argparse import Namespace
from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fairseq.logging import meters
from training import fairseq, train

from fairseq_bertloss import cli
from fairseq_bertloss.checkpoints.loading import NotAdmitted, allow_fairseq_classes, load
from fairseq_bertloss.curve import find_checkpoints
from fairseq_bertloss.forced_decoding import load_model

allow_fairseq_classes()

NUMPY_1, NUMPY_2 = b"cnumpy.core.multiarray\n", b"cnumpy._core.multiarray\n"
"""How a pickle begins to name what makes a number or an array of numpy again."""


def save(state, path, *renamed: tuple[bytes, bytes]) -> None:
    """Saves a state as another environment does: under other names."""

    class Renaming(pickle.Pickler):
        def __init__(self, file, protocol):
            self.file, self.buffer = file, io.BytesIO()
            super().__init__(self.buffer, protocol)

        def dump(self, value):
            super().dump(value)
            content = self.buffer.getvalue()
            for here, there in renamed:
                content = content.replace(here, there)
            self.file.write(content)

    torch.save(state, path, pickle_module=SimpleNamespace(__name__="renaming", Pickler=Renaming))


def of_numpy_1(state, path) -> None:
    save(state, path, (NUMPY_2, NUMPY_1))


def of_numpy_2(state, path) -> None:
    save(state, path, (NUMPY_1, NUMPY_2))


def of_fairseq_0_10(state, path) -> None:
    """One Namespace in the place of a configuration."""
    args = vars(state["cfg"]["model"]) | {"update_freq": [1]}
    of_numpy_1({name: value for name, value in state.items() if name != "cfg"} | {"args": Namespace(**args)}, path)


def of_fairseq_0_8(state, path) -> None:
    """Meters are objects, of a module that lies elsewhere now."""
    args = Namespace(**vars(state["cfg"]["model"]) | {"update_freq": [1]})
    kinds = {"train_loss": meters.AverageMeter(), "wps": meters.TimeMeter(), "train_wall": meters.StopwatchMeter()}
    extra = {name: value for name, value in state["extra_state"].items() if name not in ("metrics", "best")}
    extra["train_meters"] = OrderedDict(kinds)
    names = ("model", "optimizer_history", "last_optimizer_state")
    older = {name: state[name] for name in names} | {"args": args, "extra_state": extra}
    save(older, path, (b"cfairseq.logging.meters\n", b"cfairseq.meters\n"))


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    """A baseline that --eval-bleu chose: with numpy's numbers in its checkpoints."""
    folder = tmp_path_factory.mktemp("run")
    train(corpus, folder, "--criterion", "label_smoothed_cross_entropy", "--max-update", "4", "--batch-size", "64",
          "--save-interval-updates", "2", "--eval-bleu", "--eval-bleu-args", '{"beam": 1}',
          "--best-checkpoint-metric", "bleu", "--maximize-best-checkpoint-metric")  # fmt: skip
    return folder


@pytest.fixture(params=[of_numpy_1, of_numpy_2, of_fairseq_0_10, of_fairseq_0_8], ids=lambda write: write.__name__)
def older(run, tmp_path, request):
    """The folder of that training as an older environment would have left it."""
    folder = tmp_path / "older"
    folder.mkdir()
    for path in run.glob("*.pt"):
        state = torch.load(path)
        state["extra_state"]["best"] = np.float64(state["extra_state"]["best"])
        request.param(state, folder / path.name)
    return folder


@pytest.mark.parametrize("older", [of_numpy_1, of_fairseq_0_8], ids=lambda write: write.__name__, indirect=True)
def test_fairseq_goes_on(older, run, corpus, tmp_path):
    """It fine-tunes and resumes from it as from its own, and translates."""
    criterion = ["--criterion", "label_smoothed_cross_entropy", "--batch-size", "64", "--disable-validation"]
    best, last = older / "checkpoint_best.pt", older / "checkpoint_last.pt"
    train(corpus, tmp_path / "tuned", *criterion, "--finetune-from-model", str(best), "--max-update", "1")
    train(corpus, tmp_path / "resumed", *criterion, "--restore-file", str(last), "--max-update", "6")
    assert load(tmp_path / "resumed" / "checkpoint_last.pt")["optimizer_history"][-1]["num_updates"] == 6

    def translations(path) -> list[str]:
        done = fairseq(
            "generate", corpus, "--path", path, "--gen-subset", "valid", "--required-batch-size-multiple", "1"
        )
        return [line for line in done.stdout.splitlines() if line.startswith("H-")]

    assert translations(best) == translations(run / "checkpoint_best.pt") != []


def test_every_command_reads_it(older, run, corpus, tmp_path, capsys):
    here, there = find_checkpoints(str(run)), find_checkpoints(str(older))
    assert [checkpoint[1:] for checkpoint in there] == [checkpoint[1:] for checkpoint in here] and len(here) > 1
    assert cli.main(["mend", str(older)]) == 0
    assert "of update 4: nothing to do" in capsys.readouterr().err
    checkpoint = older / "checkpoint_last.pt"
    average = ["average", str(checkpoint), "--baseline", here[0].path, "--output", str(tmp_path / "mean.pt")]
    assert cli.main(average) == 0
    model, _ = load_model(str(checkpoint), str(corpus))
    weights = torch.load(run / "checkpoint_last.pt")["model"]
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "old", [np.float16(1.5), np.float64(2.85), np.int64(7), np.uint8(7), np.bool_(True), np.arange(3.0)]
)
def test_numbers_of_numpy(old, tmp_path):
    for write in (of_numpy_1, of_numpy_2):
        write({"value": old}, tmp_path / "checkpoint.pt")
        found = load(tmp_path / "checkpoint.pt")["value"]
        assert np.array_equal(found, old) and found.dtype == old.dtype


@pytest.mark.parametrize("name", ["fromfile", "_reconstruct_evil", "set_typeDict"])
def test_nothing_else_of_numpys_old_module(name, tmp_path):
    save(
        {"value": np.zeros(1)},
        tmp_path / "checkpoint.pt",
        (NUMPY_2 + b"_reconstruct\n", NUMPY_1 + name.encode() + b"\n"),
    )
    with pytest.raises(NotAdmitted, match=f"safe loader refuses numpy.core.multiarray.{name} in it"):
        load(tmp_path / "checkpoint.pt")


def test_torchs_format_before_1_6(run, tmp_path):
    """No archive; the commands that leave weights on the disk read all of it."""
    shutil.copytree(run, tmp_path / "run")
    for path in (tmp_path / "run").glob("*.pt"):
        torch.save(torch.load(path), path, _use_new_zipfile_serialization=False)
    found = find_checkpoints(str(tmp_path / "run"))
    assert [checkpoint.updates for checkpoint in found] == [
        checkpoint.updates for checkpoint in find_checkpoints(str(run))
    ]
