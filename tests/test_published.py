"""Published scores beside ours: the right numbers and gains in every format, and files that are refused."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
from results import comparison, system, write
from waiting import HANG

from fairseq_bertloss.cli import main
from fairseq_bertloss.evaluation import tables
from fairseq_bertloss.evaluation.latex import main_table
from fairseq_bertloss.evaluation.results import HEADLINE
from fairseq_bertloss.report import published
from fairseq_bertloss.report.markup import POLICY, document
from fairseq_bertloss.report.write_report import write_report

SOURCE = "Somebody et al. (2021), Table 1, means of 3 seeds"
SCORES = {
    "baseline": {"bleu": 33.61, "f_bert": 77.56},
    "tuned": {"bleu": 33.37, "f_bert": 78.32, "moverscore": 53.58},
    "reinforced": {"bleu": 34, "f_bert": None},
    "forgotten": {"bleu": None},
}


def file(folder: Path, **content) -> str:
    """A file of published scores; an argument that is None leaves its key out."""
    content = {"source": SOURCE, "scores": SCORES} | content
    path = folder / "paper.json"
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}), encoding="utf-8")
    return str(path)


@pytest.fixture
def theirs(tmp_path):
    return published.read(file(tmp_path, note="Their F_BERT is of layer 9."))


def markdown_rows(markdown: str) -> list[list[str]]:
    return [[cell.strip() for cell in line[1:-1].split(" | ")] for line in markdown.splitlines() if line[:1] == "|"]


def test_numbers(theirs):
    ours = comparison()
    numbers = published.numbers(theirs, ours)
    assert list(numbers) == ["baseline", "control", "tuned", "reinforced"]
    assert all(tuple(by_metric) == HEADLINE for by_metric in numbers.values())
    assert numbers["baseline"]["bleu"] == (30.0, 33.61, None, None)
    assert numbers["control"]["bleu"] == (31.5, None, 1.5, None)
    assert numbers["tuned"]["bleu"] == (33.25, 33.37, 3.25, pytest.approx(-0.24))
    assert numbers["tuned"]["moverscore"][1:] == (53.58, pytest.approx(1.6), None)  # their baseline has none
    assert numbers["reinforced"]["bleu"] == (None, 34, None, pytest.approx(0.39))
    assert numbers["reinforced"]["f_bert"] == (None, None, None, None)


def test_the_gain_is_over_the_baseline_of_the_comparison(tmp_path):
    theirs = published.read(file(tmp_path))
    renamed = comparison(system("mle", 30.0), system("baseline", 31.0), control=None)
    numbers = published.numbers(theirs, renamed)
    assert numbers["baseline"]["bleu"] == (31.0, 33.61, 1.0, None) and numbers["mle"]["bleu"][1:] == (None, None, None)


def test_markdown(theirs):
    text = published.markdown(theirs, comparison())
    titles, _, baseline, control, tuned, reinforced = markdown_rows(text)
    assert titles[:6] == ["system", "BLEU ours", "BLEU theirs", "Δ ours", "Δ theirs", "F_BERT ours"]
    assert baseline[:5] == ["baseline", "30.00", "33.61", "", ""]
    assert control[:5] == ["control", "31.50", "–", "+1.50", "–"]
    assert tuned[:5] == ["tuned", "33.25", "33.37", "+3.25", "−0.24"] and tuned[8] == "+0.76"
    assert reinforced == ["reinforced", "–", "34.00", "–", "+0.39", *["–"] * 8]
    assert f"somebody else's run, {SOURCE}." in text and text.endswith("\nTheir F_BERT is of layer 9.")


def test_means_over_runs(theirs):
    several = comparison(system("baseline", 30.0, 31.0), system("tuned", 33.0, 35.0), control=None)
    assert markdown_rows(published.markdown(theirs, several))[3][:5] == ["tuned", "34.00", "33.37", "+3.50", "−0.24"]
    assert "means over runs" in published.markdown(theirs, several)
    assert "means over runs" not in published.markdown(theirs, comparison())


def test_latex(theirs):
    latex = published.latex(theirs, comparison())
    body = re.search(r"\\begin\{tabular\}\{l(r+)\}(.*)\\end\{tabular\}", latex, re.S)
    lines = [line for line in body[2].splitlines() if line.endswith(r" \\")]
    widths = [
        sum(int(span[1]) if (span := re.search(r"\\multicolumn\{(\d)\}", cell)) else 1 for cell in line.split("&"))
        for line in lines
    ]
    assert widths == [1 + len(body[1])] * 7 == [13] * 7
    assert lines[5].startswith(r"tuned & 33.25 & 33.37 & +3.25 & $-$0.24 & ")
    assert r"$F_{\mathrm{BERT}}$" in lines[0] and r"Their F\_BERT is of layer 9.}" in latex


def test_report(tmp_path):
    whole = comparison()
    paths = write_report(write(tmp_path, whole), str(tmp_path / "report.html"), file(tmp_path, note="A <note>."))
    html, markdown, latex, content = (Path(path).read_text(encoding="utf-8") for path in paths[:4])
    theirs = published.read(str(tmp_path / "paper.json"))
    headings = re.findall("<h2>(.*?)</h2>", html)
    assert headings[:2] == ["Scores", "Published scores, from somebody else's run"]
    section = html.split("<h2>")[2]
    assert SOURCE in section and "<p>A &lt;note&gt;.</p>" in section and "Table 1b." in section
    rows = re.findall(r'<tr><th scope="row" dir="auto">(.*?)</th>(.*?)</tr>', section)
    shown = [[unescape(name), *re.findall("<td.*?>(.*?)</td>", cells)] for name, cells in rows]
    assert shown == markdown_rows(published.markdown(theirs, whole))[2:]
    assert markdown == f"{tables.markdown(whole)}\n\n{published.markdown(theirs, whole)}\n"
    assert latex == f"{main_table(whole)}\n\n{published.latex(theirs, whole)}\n"
    content = json.loads(content)
    added = content.pop("published")
    assert content == json.loads(tables.to_json(whole)) and (added["source"], added["note"]) == (SOURCE, "A <note>.")
    assert [part["name"] for part in added["systems"]] == ["baseline", "control", "tuned", "reinforced"]
    assert added["systems"][1]["scores"]["bleu"] == {"ours": 31.5, "theirs": None, "our_gain": 1.5, "their_gain": None}


@pytest.mark.parametrize("scores", [{}, {"baseline": {}, "tuned": {"bleu": None}}])
def test_no_score_is_at_hand(scores, tmp_path):
    path = file(tmp_path, scores=scores, note="The paper has another pair.")
    paths = write_report(write(tmp_path, comparison()), str(tmp_path / "report.html"), path)
    html, markdown, latex, content = (Path(path).read_text(encoding="utf-8") for path in paths[:4])
    section = html.split("<h2>")[2]
    for text in (section, markdown, latex):
        assert f"No published score is at hand for this comparison. Source: {SOURCE}." in text
        assert "The paper has another pair." in text
    assert "<table" not in section and "theirs" not in latex
    assert json.loads(content)["published"]["systems"] == []


def test_five_systems_of_three_runs_fit_the_page(tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("needs Chromium")
    names = ["baseline", "control", "softmax", "sparsemax", "gumbel_softmax"]
    whole = comparison(*(system(name, 30.0 + i, 31.0 + i, 32.0 + i) for i, name in enumerate(names)))
    theirs = published.Published(SOURCE, {name: dict.fromkeys(HEADLINE, 40 + i) for i, name in enumerate(names)}, "")
    script = 'const x = document.querySelector(".scroll"); document.title += `: ${x.scrollWidth - x.clientWidth}`;'
    # Without the policy, which refuses the script that looks at the page.
    page = document("overflow", [*published.section(theirs, whole), f"<script>{script}</script>"]).replace(POLICY, "")
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    done = subprocess.run(
        [browser, *options, "--window-size=1200,800", f"file://{tmp_path}/page.html"],
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    assert "<title>overflow: 0</title>" in done.stdout


@pytest.mark.parametrize(
    "content, fault",
    [
        ({"source": None}, "'source' must be text"),
        ({"source": " "}, "'source' must be text"),
        ({"source": 7}, "'source' must be text"),
        ({"note": ["a"]}, "'note' must be text"),
        ({"notes": "a"}, "the key 'notes' is unknown; known are 'source', 'note', 'scores'"),
        ({"scores": None}, "'scores' must be an object"),
        ({"scores": [1]}, "'scores' must be an object"),
        ({"scores": {"tuned": 33.1}}, "scores['tuned'] must be an object"),
        ({"scores": {"tuned": {"chrf": 50}}}, "scores['tuned']['chrf'] is an unknown metric; known are bleu, f_bert"),
        ({"scores": {"tuned": {"bleu": "33"}}}, "scores['tuned']['bleu'] is '33'; it must be a number between 0 and"),
        ({"scores": {"tuned": {"bleu": True}}}, "scores['tuned']['bleu'] is True"),
        ({"scores": {"tuned": {"bleu": 100.1}}}, "scores['tuned']['bleu'] is 100.1"),
        ({"scores": {"tuned": {"bleu": -0.1}}}, "scores['tuned']['bleu'] is -0.1"),
        ({"scores": {"tuned": {"bleu": float("nan")}}}, "scores['tuned']['bleu'] is nan"),
    ],
)
def test_malformed(content, fault, tmp_path):
    path = file(tmp_path, **content)
    with pytest.raises(ValueError) as error:
        published.read(path)
    assert path in str(error.value) and fault in str(error.value)


@pytest.mark.parametrize(
    "text, fault",
    [
        (b"{", "cannot read"),
        (b"\xff", "cannot read"),
        (b"[]", "must be a JSON object with the keys 'source' and 'scores'"),
        (b'{"source": "a", "scores": {"b": {}, "b": {}}}', "an object has the key 'b' twice"),
    ],
)
def test_not_an_object_of_json(text, fault, tmp_path):
    path = tmp_path / "paper.json"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=fault) as error:
        published.read(str(path))
    assert str(path) in str(error.value)


def test_command_without_the_file_writes_nothing(tmp_path, capsys):
    runs, output = write(tmp_path, comparison()), str(tmp_path / "report.html")
    missing = str(tmp_path / "none.json")
    assert main(["report", "--runs", runs, "--output", output, "--published", missing]) == 2
    assert f"cannot read {missing}" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["comparison.json"]


def test_command(tmp_path):
    runs, output = write(tmp_path, comparison()), tmp_path / "report.html"
    assert main(["report", "--runs", runs, "--output", str(output), "--published", file(tmp_path)]) == 0
    assert SOURCE in output.read_text(encoding="utf-8")
