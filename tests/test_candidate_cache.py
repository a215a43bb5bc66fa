"""--cache-candidates (candidate_cache.py, candidate_settings.py, drawing.py): drawn once, used again, interrupted."""

import shutil
import sqlite3
import subprocess

import pytest
import torch
from test_criterion import PIECES, build, gradients, make_sample  # noqa: F401, build is a fixture
from test_end_to_end import hydra_train  # noqa: F401, a fixture
from text_models import foreign  # noqa: F401, a fixture
from training import bertscore, train

from fairseq_bertloss.training.candidate_cache import CandidateCache, Kept, keys

RISK = ["--objective", "risk", "--candidates", "2", "--sampled-candidates", "1"]
KEPT = Kept(3, [[5, 6, 2], [2]], {"bertscore": [0.1, 1 / 3], "mine": [float("nan"), 7.0]}, [0.5, 2 / 3])


def test_what_is_kept_comes_back(tmp_path):
    """To the last bit, in another process too; what is there already stays."""
    cache = CandidateCache(str(tmp_path / "new" / "folder"), {"candidates": 2})
    assert cache.read([b"one", b"two"]) == [None, None]
    cache.write([b"one"], [KEPT])
    cache.write([b"one", b"two"], [KEPT._replace(f=None), KEPT._replace(f=None)])
    one, two = CandidateCache(str(tmp_path / "new" / "folder"), {"candidates": 2}).read([b"one", b"two"])
    assert repr(one) == repr(KEPT) and two.f is None
    assert CandidateCache(str(tmp_path / "new" / "folder"), {"candidates": 3}).read([b"one"]) == [None]


def test_a_folder_that_cannot_be_used(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="--cache-candidates .*file: cannot write there .*; choose another"):
        CandidateCache(str(tmp_path / "file"), {})
    CandidateCache(str(tmp_path), {}).write([b"one"], [KEPT])
    (file,) = tmp_path.glob("*.sqlite")
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(ValueError, match="sqlite: file is not a database; remove the file, or choose another folder"):
        CandidateCache(str(tmp_path), {})


def test_what_can_be_read_later_is_not_to_be_removed(tmp_path, monkeypatch):
    """A file without room, or that another process holds."""
    cache = CandidateCache(str(tmp_path), {})
    cache._database.execute("PRAGMA max_page_count = 3")
    with pytest.raises(ValueError, match="database or disk is full; see whether the disk is full, another process"):
        cache.write([bytes([i]) for i in range(100)], [KEPT] * 100)
    monkeypatch.setattr("fairseq_bertloss.training.candidate_cache.TIMEOUT", 0)
    (file,) = tmp_path.glob("*.sqlite")
    with sqlite3.connect(file) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ValueError, match="database is locked; see whether"):
            CandidateCache(str(tmp_path), {})


def test_the_log_tells_what_is_there(tmp_path, caplog):
    caplog.set_level("INFO")
    cache = CandidateCache(str(tmp_path), {})
    cache.write([b"one", b"two"], [KEPT, KEPT._replace(updates=0)])
    CandidateCache(str(tmp_path), {})
    assert "has the candidates of 2 sentences, 1 of them drawn before the first update" in caplog.text


def test_a_sentence_is_known_by_its_number_and_its_sides():
    sample = {
        "id": torch.tensor([7, 8, 7]),
        "net_input": {
            "src_tokens": torch.tensor([[1, 5, 2], [1, 5, 2], [6, 5, 2]]),
            "prev_output_tokens": torch.tensor([[2, 4, 1]] * 3),
        },
        "target": torch.tensor([[4, 2, 1], [4, 2, 1], [4, 2, 1]]),
    }
    own = keys(sample, 1)
    assert len(set(own)) == 3
    into_another_language = {**sample["net_input"], "prev_output_tokens": torch.tensor([[9, 4, 1]] * 3)}
    assert not set(keys({**sample, "net_input": into_another_language}, 1)) & set(own)
    padded = {**sample, "target": torch.tensor([[4, 2]] * 3)}
    assert keys(padded, 1) == own


@pytest.fixture
def cached(build, baseline, tmp_path):  # noqa: F811
    """A function that builds criterion, model and a sample as a training with a cache does."""

    def make(*arguments):
        options = ["--finetune-from-model", str(baseline), "--cache-candidates", str(tmp_path / "cache")]
        criterion, network, task = build(*RISK, *options, *arguments)
        return criterion, network, make_sample(task, PIECES)

    return make


def counted(criterion, monkeypatch) -> list:
    """Whatever is drawn from now on."""
    drawn = []
    draw = criterion.objective.translator.draw
    monkeypatch.setattr(criterion.objective.translator, "draw", lambda *given: drawn.append(draw(*given)) or drawn[-1])
    return drawn


@pytest.mark.parametrize("arguments", [[], ["--reference-among-candidates", "--reward", "bertscore,chrf"]])
def test_a_sentence_is_drawn_once(cached, monkeypatch, arguments):
    """The second time, and in another run, loss and gradient are the same without a drawing."""
    first = None
    for run in range(2):
        criterion, network, sample = cached(*arguments)
        drawn = counted(criterion, monkeypatch)
        for update in range(2):
            torch.manual_seed(10 * run + update)
            loss, _, log = criterion(network, sample)
            now = (loss.detach(), {name: float(value) for name, value in log.items()}, gradients(loss, network))
            first = first or now
            torch.testing.assert_close(now, first, rtol=0, atol=0)
        assert len(drawn) == (1 if run == 0 else 0)


def test_a_batch_of_old_and_new_sentences(cached, monkeypatch):
    """Those that are known keep their candidates; afterwards all are known."""
    criterion, network, sample = cached()
    criterion(network, _only(sample, [0, 2]))
    old = [kept.candidates for kept in criterion.objective.drawing._cache.read(keys(_only(sample, [0, 2]), 1))]
    drawn = counted(criterion, monkeypatch)
    torch.manual_seed(5)
    loss = criterion(network, sample)[0]
    assert [kept.candidates for kept in criterion.objective.drawing._cache.read(keys(sample, 1))[::2]] == old
    assert torch.equal(criterion(network, sample)[0], loss) and len(drawn) == 1


def _only(sample: dict, some: list[int]) -> dict:
    """Some of a batch's sentences."""
    net_input = {name: part[some] for name, part in sample["net_input"].items()}
    return {**sample, "id": sample["id"][some], "target": sample["target"][some], "net_input": net_input}


def test_a_sentence_that_stands_twice_in_a_batch(cached):
    """It has the same candidates both times, so that the batch comes again as it was."""
    criterion, network, sample = cached("--sampled-candidates", "3")
    twice = _only(sample, [0, 1, 0])
    first = criterion(network, twice)[0]
    assert torch.equal(criterion(network, twice)[0], first)


def test_other_options_have_other_candidates(cached, monkeypatch):
    """What decides candidates or rewards makes another file; what weighs them, or the cross-entropy, does not."""
    criterion, network, sample = cached()
    criterion(network, sample)
    for arguments, times in (
        (["--risk-alpha", "2", "--cross-entropy-weight", "0.2", "--reward-scale", "min-max"], 0),
        (["--sampled-candidates", "0"], 1),
        (["--reward-matching", "one-to-one"], 1),
        (["--bert-layer", "1"], 1),
        (["--reward", "bertscore,chrf"], 1),
        (["--reward", "bertscore:2,chrf"], 0),
        (["--reward", "bertscore,chrf", "--candidates-as", "text"], 1),
    ):
        criterion, network, sample = cached(*arguments)
        drawn = counted(criterion, monkeypatch)
        criterion(network, sample)
        assert len(drawn) == times, arguments


def test_validation_draws_from_the_model_as_it_is(cached, monkeypatch):
    criterion, network, sample = cached()
    criterion(network, sample)
    drawn = counted(criterion, monkeypatch)
    criterion.eval()
    criterion(network.eval(), sample)
    assert len(drawn) == 1


def test_nothing_is_kept_of_a_broken_model(cached):
    criterion, network, sample = cached()
    next(network.parameters()).data[:] = float("nan")
    criterion(network, sample)
    assert criterion.objective.drawing._cache.read(keys(sample, 1)) == [None] * 3


def test_it_needs_the_model_that_draws(build, tmp_path):  # noqa: F811
    with pytest.raises(ValueError, match="--cache-candidates needs --finetune-from-model"):
        build(*RISK, "--cache-candidates", str(tmp_path))
    with pytest.raises(ValueError, match="--cache-candidates depends on .*nothing.pt, which cannot be read: No such"):
        build(*RISK, "--cache-candidates", str(tmp_path), "--finetune-from-model", str(tmp_path / "nothing.pt"))


def test_candidates_as_text(foreign, minilm, tmp_path, monkeypatch):  # noqa: F811
    """Their text is not made again, and gives the same rewards."""
    (tmp_path / "model.pt").touch()
    options = ["--finetune-from-model", str(tmp_path / "model.pt"), "--cache-candidates", str(tmp_path)]
    criterion, network, _, sample = foreign("subword_nmt").build(*RISK, *options, lm=minilm)
    loss = criterion(network, sample)[0]
    monkeypatch.setattr(criterion.rewards, "texts", None)
    assert torch.equal(criterion(network, sample)[0], loss)


def parameters(folder) -> dict:
    return torch.load(folder / "checkpoint_last.pt")["model"]


@pytest.fixture
def fine_tuned(corpus, baseline, tiny_lm):
    """A function that trains in a folder with a cache: two epochs of four updates, with dropout."""

    def run(folder, cache, *arguments):
        return train(corpus, folder, *bertscore(tiny_lm("bert")), *RISK, "--cross-entropy-weight", "0.2", "--dropout",
                     "0.1", "--batch-size", "65", "--max-update", "8", "--disable-validation",
                     "--finetune-from-model", baseline, "--cache-candidates", cache, *arguments)  # fmt: skip

    return run


def test_an_interrupted_training_goes_on_exactly(fine_tuned, tmp_path):
    """From a checkpoint of the first epoch, with what was drawn after it in the cache."""
    done = fine_tuned(tmp_path / "whole", tmp_path / "cache", "--save-interval-updates", "2", "--keep-interval-updates",
                      "-1")  # fmt: skip
    assert "has the candidates of 0 sentences" in done.stdout + done.stderr
    (tmp_path / "resumed").mkdir()
    shutil.copy(tmp_path / "whole" / "checkpoint_1_2.pt", tmp_path / "resumed" / "checkpoint_last.pt")
    done = fine_tuned(tmp_path / "resumed", tmp_path / "cache")
    assert "has the candidates of 256 sentences, 65 of them drawn before" in done.stdout + done.stderr
    torch.testing.assert_close(parameters(tmp_path / "resumed"), parameters(tmp_path / "whole"), rtol=0, atol=0)
    for updates in ("2", "8"):  # or with what it had drawn so far
        fine_tuned(tmp_path / "halves", tmp_path / "other cache", "--max-update", updates)
    torch.testing.assert_close(parameters(tmp_path / "halves"), parameters(tmp_path / "whole"), rtol=0, atol=0)


def test_a_damaged_file_is_told_in_one_line(fine_tuned, tmp_path):
    _, *command = fine_tuned(tmp_path / "run", tmp_path / "cache", "--max-update", "1").args
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(b"no database" * 1000)
    done = subprocess.run(["fairseq-train", *command, "--max-update", "2"], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith("ValueError: --cache-candidates: ")
    assert "Traceback" not in done.stderr


def test_candidates_can_be_drawn_ahead(fine_tuned, corpus, baseline, tmp_path):
    """By an epoch at the learning rate 0, which leaves the model as it is."""
    fine_tuned(tmp_path / "ahead", tmp_path / "cache", "--lr", "0", "--max-epoch", "1", "--max-update", "0")
    torch.testing.assert_close(parameters(tmp_path / "ahead"), torch.load(baseline)["model"], rtol=0, atol=0)
    done = fine_tuned(tmp_path / "after", tmp_path / "cache")
    assert "has the candidates of 256 sentences, 65 of them" in done.stdout + done.stderr
    before, after = torch.load(baseline)["model"], parameters(tmp_path / "after")
    assert any(not torch.equal(after[name], before[name]) for name in before)


def test_hydra_train(hydra_train, tmp_path):  # noqa: F811
    """In a YAML file, where the model to begin from stands in another section."""
    options = {"objective": "risk", "soft_prediction": None, "soft_temperature": None}
    hydra_train("run", 2, options | {"cache_candidates": str(tmp_path / "cache")})
    assert len(list((tmp_path / "cache").glob("*.sqlite"))) == 1
