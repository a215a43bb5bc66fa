"""scripts/hydra_configs.py: configs/*.yaml say what configs/*.flags say."""

import importlib.util
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parent.parent


def hydra_configs():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("hydra_configs", REPOSITORY / "scripts" / "hydra_configs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_files_are_what_the_script_writes():
    script = hydra_configs()
    files = {path.stem: path.read_text(encoding="utf-8") for path in (REPOSITORY / "configs").glob("*.yaml")}
    written = {name: script.text(experiment) for name, experiment in script.EXPERIMENTS.items()}
    assert files == written, "edit configs/*.flags, and run `python scripts/hydra_configs.py`"


def test_an_edited_option_reaches_its_section(tmp_path, monkeypatch):
    script = hydra_configs()
    before = yaml.safe_load(script.text(script.EXPERIMENTS["baseline"]))
    for path in script.CONFIGS.glob("*.flags"):
        (tmp_path / path.name).write_text(path.read_text().replace("--label-smoothing 0.1", "--label-smoothing 0.25"))
    monkeypatch.setattr(script, "CONFIGS", tmp_path)
    after = yaml.safe_load(script.text(script.EXPERIMENTS["baseline"]))
    assert before["criterion"].pop("label_smoothing") == 0.1
    assert after["criterion"].pop("label_smoothing") == 0.25
    assert after == before
