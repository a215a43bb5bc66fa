"""The report: what a browser makes of it, what it says, what it refuses."""

import base64
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from results import OUTPUTS, SICK, comparison, curves, entropies, similarity, system, with_outputs, write
from waiting import HANG

from fairseq_bertloss.cli import main
from fairseq_bertloss.evaluation import latex, tables
from fairseq_bertloss.report import figures
from fairseq_bertloss.report.changes import length_buckets
from fairseq_bertloss.report.markup import POLICY
from fairseq_bertloss.report.style import system_styles
from fairseq_bertloss.report.write_report import write_report

EVIL = '<script>document.title = "broken into"</script> & "quoted" <img src="http://example.org/x.png">'
NAMES = ["_$x_1$ <b>", "系统 & `co`", "sıstem \u202eمرحبا\u202c \x07"]
TOKENS = ["[CLS]", "猫", "ağaç", "مرحبا", "$5_", "a\x1bb", "<s>", "\ud800"]

INSPECTION = """<script>
addEventListener("load", async () => {
  const found = [];
  for (const image of document.images) {
    await image.decode().catch(() => 0);
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth || 1, image.naturalHeight || 1];
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const pixels = new Uint32Array(context.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
    found.push({width: image.naturalWidth, colors: new Set(pixels).size, shown: image.getBoundingClientRect().width});
  }
  const overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  document.body.innerHTML = "<pre>" + JSON.stringify({images: found, overflow, title: document.title}) + "</pre>";
});
</script>"""


def evil_comparison():
    """Names, translations and tokens with everything that HTML, SVG, mathtext or a font may stumble over."""
    systems = [system(name, 30.0 + i, gain=float(i)) for i, name in enumerate(NAMES)]
    whole = comparison(*systems, control=NAMES[1], p={(NAMES[2], NAMES[0], "f_bert"): 0.001})
    whole = with_outputs(whole, NAMES[1], [""] * 20)
    whole = with_outputs(whole, NAMES[2], ["مرحبا", "猫坐在垫子上。", "", EVIL, "ağaçta \ud800 \x00"] * 4)
    return replace(
        whole, references=[EVIL] * 20, similarities=[similarity(name, TOKENS, TOKENS) for name in NAMES[::2]]
    )


def make(folder: Path, *parts, name: str = "report.html") -> SimpleNamespace:
    """Writes results and their report."""
    folder.mkdir(exist_ok=True)
    runs = write(folder, *parts)
    paths = write_report(runs, str(folder / name))
    return SimpleNamespace(runs=runs, paths=paths, html=Path(paths[0]).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    return make(tmp_path_factory.mktemp("evil") / "runs", evil_comparison(), entropies(*NAMES), curves(*NAMES[1:]))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return make(tmp_path_factory.mktemp("plain") / "runs", comparison())


def images(html: str) -> list[str]:
    """The SVGs in a page."""
    return [base64.b64decode(data).decode() for data in re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', html)]


def text(html: str) -> str:
    """What a reader sees, roughly."""
    return " ".join(unescape(re.sub("<[^>]+>", "", re.sub("<style>.*?</style>", "", html, flags=re.S))).split())


def test_a_browser_shows_every_image_and_finds_no_error(evil, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("needs Chromium")
    assert f'content="{POLICY}"' in evil.html
    # The policy stays, but for the script that looks at the page.
    page = evil.html.replace(POLICY, f"{POLICY}; script-src 'unsafe-inline'").replace("</head>", f"{INSPECTION}</head>")
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=10000"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=400,800", "--dump-dom"]
    done = subprocess.run(
        [browser, *options, f"file://{tmp_path}/page.html"], capture_output=True, text=True, timeout=HANG
    )
    # What the policy refuses is reported here too.
    assert "CONSOLE" not in done.stderr, done.stderr
    found = json.loads(unescape(re.findall("<pre>(.*?)</pre>", done.stdout, re.S)[-1]))
    assert len(found["images"]) == 5
    assert all(image["width"] > 200 and image["colors"] > 10 and image["shown"] > 200 for image in found["images"])
    assert found["overflow"] == 0 and found["title"] == "Translations of test.en"


def test_the_page_needs_nothing_but_itself(evil):
    tags = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, dict(attributes)))
    parser.feed(evil.html)
    assert {tag for tag, _ in tags}.isdisjoint({"script", "link", "iframe", "object", "base", "form", "a"})
    sources = [
        value for _, attributes in tags for name, value in attributes.items() if name in ("src", "href", "srcset")
    ]
    assert len(sources) == 5 and all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert not re.search(r"@import|url\(", evil.html)
    for svg in images(evil.html):
        references = [
            value
            for part in ElementTree.fromstring(svg).iter()
            for name, value in part.items()
            if name.endswith("href")
        ]
        assert references and all(reference.startswith(("#", "data:image/png")) for reference in references)


def test_text_is_shown_as_it_is(evil):
    shown = text(evil.html)
    assert EVIL in shown and "猫坐在垫子上。" in shown and "ağaçta \ufffd ␀" in shown and "(empty)" in shown
    for name in NAMES[:2]:
        assert name in shown
    assert not re.search(r"[\x00-\x08\x0e-\x1f\x7f]", evil.html)


def test_figures_name_systems_and_tokens_as_they_are(evil):
    entropy, curve, *_, heat_map = [
        ["".join(part.itertext()) for part in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
        for svg in images(evil.html)
    ]
    shown = [NAMES[0], NAMES[1], NAMES[2].replace("\x07", "␇")]
    assert set(shown) <= set(entropy) and set(shown[1:]) <= set(curve)
    assert all(heat_map.count(token) == 4 for token in ["[CLS]", "猫", "ağaç", "مرحبا", "$5_", "a␛b", "<s>", "\ufffd"])
    assert "cosine" in heat_map and "entropy (nats)" in entropy and "end of an epoch" in curve


def test_every_image_has_a_description_and_every_figure_a_caption(evil):
    descriptions = re.findall(r'<img [^>]*alt="([^"]+)"', evil.html)
    assert len(descriptions) == 5 and all(len(description) > 50 for description in descriptions)
    shown = text(evil.html)
    for title in (
        "Table 1.",
        "Table 2.",
        "Table 3.",
        "Table 4.",
        "Figure 1.",
        "Figure 2.",
        "Figure 3.1.",
        "Figure 3.2.",
        "Figure 4.",
    ):
        assert title in shown


def test_the_same_results_make_the_same_bytes(evil, tmp_path):
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": None}):
        again = write_report(evil.runs, str(tmp_path / "report.html"))
    assert [Path(path).read_bytes() for path in again] == [Path(path).read_bytes() for path in evil.paths]
    assert dict(matplotlib.rcParams) == before


def test_tables_and_figures_stand_beside_the_page(plain):
    tables_of_it = [f"report.{kind}" for kind in ("html", "table.md", "table.tex", "table.json", "examples.tex")]
    figures_of_it = [f"report.figure{number}.{form}" for number in ("3.1", "3.2", "4") for form in ("svg", "pdf")]
    assert [Path(path).name for path in plain.paths] == tables_of_it + figures_of_it
    for path in plain.paths[5:]:
        content = Path(path).read_bytes()
        if path.endswith(".svg"):
            assert base64.b64encode(content).decode() in plain.html
        else:
            assert content.startswith(b"%PDF-") and content.rstrip().endswith(b"%%EOF")
    whole = comparison()
    written = [Path(path).read_text(encoding="utf-8") for path in plain.paths[1:4]]
    assert written == [f"{form(whole)}\n" for form in (tables.markdown, latex.main_table, tables.to_json)]
    assert latex.main_table(whole) in unescape(plain.html) and tables.markdown(whole) in unescape(plain.html)
    assert not list(Path(plain.runs).glob("*.partial"))


def test_examples_in_latex(plain, evil):
    """Each system's largest changes, the words that differ in bold; whatever the text has, LaTeX gets as text."""
    control, tuned = Path(plain.paths[4]).read_text(encoding="utf-8").split("\n\n")
    assert r"\midrule" not in control and "of tuned. Bold: words" in tuned
    first = tuned[tuned.index(r"\midrule") :].splitlines()[1:4]
    assert first[0] == r"reference & a hat , a coat and a red scarf & \\"
    assert first[1].startswith("baseline & a hat and a red coat & ") and first[2].startswith("tuned & a hat and a red")
    assert tuned.count("reference & ") == 5 + 4  # sentences that gained, and all that lost
    text = Path(evil.paths[4]).read_text(encoding="utf-8")
    assert r"\textbf{\textless{}script\textgreater{}document" in text and r"baseline" not in text


def test_figure_1_shows_the_difference_from_the_first_system():
    names = NAMES[:2]
    figure = figures.entropy.__wrapped__(entropies(*names), system_styles(names))
    first, second = (line.get_ydata() for line in figure.axes[1].lines[::2])
    assert np.allclose(first, 0)
    end, (one, other) = 0.5, entropies(*names)
    expected = [100 * sum(part.counts[:50]) / sum(part.counts) for part in (one, other)]
    entropy = figure.axes[1].lines[2].get_xdata()
    assert np.interp(end, entropy, second) == pytest.approx(expected[1] - expected[0], abs=0.5)


def test_figure_2_has_equal_heights_for_equal_changes():
    names = NAMES[:2]
    for lines, height in ((curves(*names), 2.2), (curves(names[0]), figures.LEAST_SPAN)):
        figure = figures.curve.__wrapped__(lines, system_styles(names))
        spans = [axes.get_ylim()[1] - axes.get_ylim()[0] for axes in figure.axes]
        assert spans == pytest.approx([height] * 3)


def test_tables_on_the_page(tmp_path):
    systems = system("baseline", 30.0), system("control", 31.5), system("tuned", 33.25, **SICK)
    p = {("tuned", "baseline", "bleu"): 0.001, ("tuned", "control", "bleu"): 0.999}
    html = make(tmp_path / "runs", replace(comparison(*systems, p=p), similarities=[])).html
    rows = re.findall(r'<tr><th scope="row" dir="auto">tuned</th>(.*?)</tr>', html)
    cells = [[text(cell) for cell in row.split("</td>")[:-1]] for row in rows]
    assert cells[0][:3] == ["33.25†", "+3.25", "+1.75‡"]
    assert cells[1] == ["[10.00, 90.00]", "[11.00, 91.00]", "[12.00, 92.00]"]
    assert cells[2][:4] == ["baseline", "BLEU", "+3.25", "[+1.75, +4.75]"] and cells[2][4] == "0.0010"
    assert re.findall('<td class="alarm">(.*?)</td>', html) == ["0.849", "19.9", "1", "6.1"]


def test_files_are_named_in_full(plain):
    shown = text(plain.html)
    assert "corpus/test.en" in shown and "tuned-0.out" in shown and "1000 resamples, seed 7" in shown


def test_what_is_missing_is_named_with_its_command(plain):
    shown = text(plain.html)
    assert f"Figure 1 is missing: bertloss entropy ... --output {plain.runs}/entropy.json" in shown
    assert f"Figure 2 is missing: bertloss curve ... --output {plain.runs}/curve.json" in shown


def test_the_baseline_alone(tmp_path):
    alone = replace(comparison(system("baseline", 30.0), control=None), similarities=[])
    shown = text(make(tmp_path / "runs", alone, entropies("baseline")).html)
    assert "There is no other system" in shown and "Figure 1." in shown
    assert "Figure 3" not in shown and "Table 3" not in shown and "Table 2" in shown and "Δ baseline" not in shown


def test_several_runs_without_control(tmp_path):
    whole = comparison(system("baseline", 30.0, 31.0), system("tuned", 33.0, 35.0), control=None)
    shown = text(make(tmp_path / "runs", whole, (), curves("tuned")).html)
    assert "with 2 runs each" in shown and "34.00 ± 1.41" in shown and "Δ control" not in shown


def test_systems_that_change_nothing(tmp_path):
    same = comparison(system("baseline", 30.0), system("same", 30.0), control=None)
    shown = text(make(tmp_path / "runs", replace(same, similarities=[])).html)
    assert "No gains in FBERT" in shown and "No losses in FBERT" in shown and "Figure 4 is missing" in shown


def test_examples_mark_what_differs(tmp_path):
    new = [f"{line} indeed" for line in OUTPUTS]
    html = make(tmp_path / "runs", with_outputs(comparison(), "tuned", new)).html
    article = re.search(r"<article><h4>Sentence 5: (.*?)</article>", html)[1]
    assert "<ins>indeed</ins>" in article and "(+5.00)" in article and "<del>" not in article


@pytest.mark.parametrize(
    "before, after, old, new",
    [
        ("我在北京工作。", "我在南京工作。", "北", "南"),
        ("ฉันรักแมวของฉัน", "ฉันรักหมวของฉัน", "แ", "ห"),
        ("これはペンです", "これはパンです", "ペ", "パ"),
    ],
)
def test_a_language_without_spaces_is_counted_by_character(before, after, old, new, tmp_path):
    whole = replace(comparison(), references=[before] * 19 + ["猫"], by_character=True)
    whole = with_outputs(with_outputs(whole, "baseline", [before] * 20), "tuned", [after] * 20)
    html = make(tmp_path / "runs", whole).html
    assert f"<del>{old}</del>" in html and f"<ins>{new}</ins>" in html
    assert "length ratio: characters of the outputs divided by characters of the references" in html
    lengths = [name for name, _ in length_buckets(whole.references, by_character=True)]
    assert lengths == [f"1–{len(before)} characters"]


def test_density_keeps_every_position():
    (distribution,) = entropies("baseline")
    edges, counts = figures._joined_bins(distribution, 0.05)
    assert counts.sum() == sum(distribution.counts) and (counts[:-1] >= figures.ENOUGH_POSITIONS).all()
    assert edges[0] == 0 and (np.diff(edges)[:-1] >= 0.0499).all() and len(edges) == len(counts) + 1


@pytest.mark.parametrize("folder", [".", "missing"])
def test_no_comparison(folder, tmp_path):
    with pytest.raises(ValueError, match=r"bertloss compare \.\.\. --output .*comparison.json"):
        write_report(str(tmp_path / folder), str(tmp_path / "report.html"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "output, message",
    [
        ("report.htm", "must end in .html"),
        ("missing/report.html", "there is no folder"),
        ("folder.html", "folder.table.md is a folder"),
    ],
)
def test_output_that_cannot_be_written(output, message, tmp_path):
    runs = write(tmp_path, comparison())
    (tmp_path / "folder.table.md").mkdir()
    with pytest.raises(ValueError, match=message):
        write_report(runs, str(tmp_path / output))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["comparison.json", "folder.table.md"]


def test_a_failure_leaves_the_former_report(monkeypatch, tmp_path):
    alone = replace(comparison(system("baseline", 30.0), control=None), similarities=[])
    former = make(tmp_path, alone)
    before = {path: Path(path).read_bytes() for path in former.paths}
    write(tmp_path, replace(alone, level=0.05))

    def fail(source, destination):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(former.runs, former.paths[0])
    assert {path: Path(path).read_bytes() for path in former.paths} == before
    assert not list(tmp_path.glob("*.partial"))


def test_a_title_of_ones_own(plain, tmp_path):
    page = str(tmp_path / "own.html")
    assert main(["report", "--runs", plain.runs, "--output", page, "--title", "Ours & <theirs>"]) == 0
    html = Path(page).read_text(encoding="utf-8")
    assert "<title>Ours &amp; &lt;theirs&gt;</title>" in html and "<h1>Ours &amp; &lt;theirs&gt;</h1>" in html
    assert re.search(r'<td class="first"><b>[\d.]+</b><span class="mark">', html), "the best score is bold"
