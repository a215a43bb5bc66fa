"""Results that were edited or cut: each fault is named with its file, and no report is written."""

import json
from pathlib import Path

import pytest
from results import comparison, curves, entropies, write

from fairseq_bertloss.report.write_report import write_report


def damage(path: Path, edit) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    edit(content["results"])
    path.write_text(json.dumps(content), encoding="utf-8")


def set_nan(name):
    def edit(results):
        part = results[0]
        if name == "comparison":
            part["systems"][1]["runs"][0]["sentences"]["f_bert"][3] = float("nan")
        elif name == "entropy":
            part["mean"] = float("inf")
        else:
            part["points"][0]["scores"]["bleu"] = float("nan")

    return edit


EDITS = {
    "comparison: number is nan": set_nan("comparison"),
    "entropy: number is inf": set_nan("entropy"),
    "curve: number is nan": set_nan("curve"),
    "comparison: no comparison": lambda results: results.clear(),
    "comparison: no system 'x'": lambda results: results[0].update(control="x"),
    "comparison: no system 'y'": lambda results: results[0].update(weaker_controls=["y"]),
    "comparison: same name": lambda results: results[0]["systems"].append(results[0]["systems"][0]),
    "comparison: no runs": lambda results: results[0]["systems"][0].update(runs=[]),
    "comparison: 20 translations": lambda results: results[0]["systems"][0]["runs"][0]["hypotheses"].pop(),
    "comparison: lacks a metric": lambda results: results[0]["systems"][0]["runs"][0]["corpus"].pop("ter"),
    "comparison: no number": lambda results: results[0]["systems"][0]["runs"][0]["corpus"].update(ter="1"),
    "comparison: unknown": lambda results: results[0]["tests"][0].update(metric="blau"),
    "comparison: not a row": lambda results: results[0]["similarities"][0]["cosine"].pop(),
    "comparison: neither true nor false": lambda results: results[0].update(paired_runs="yes"),
    "comparison: has no name": lambda results: results[0].update(further_reference_files=[3]),
    "comparison: wrong kind": lambda results: results[0].update(references=3),
    "entropy: empty or negative": lambda results: results[0].update(counts=[0]),
    "curve: no checkpoints": lambda results: results[0].update(points=[]),
    "entropy: not one of counts": lambda results: results[0].update(system=None),
    "curve: no number": lambda results: results[0].update(epoch_ends=["x"]),
    "curve: are no number": lambda results: results[0]["points"][1].update(updates="a"),
    "curve: or no name": lambda results: results[0].update(system=None),
    "curve: lacks a score": lambda results: results[0]["points"][0]["scores"].pop("bleu"),
}


@pytest.mark.parametrize("case", EDITS)
def test_damaged_results_are_refused(case, tmp_path):
    name, words = case.split(": ")
    write(tmp_path, comparison(), entropies("baseline"), curves("tuned"))
    damage(tmp_path / f"{name}.json", EDITS[case])
    with pytest.raises(ValueError, match=f"(?=.*{name}.json).*{words}"):
        write_report(str(tmp_path), str(tmp_path / "report.html"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["comparison.json", "curve.json", "entropy.json"]
