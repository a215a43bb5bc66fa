"""Tables as Markdown, LaTeX and JSON: the right numbers and marks, whatever the names are made of."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from results import comparison, system

from fairseq_bertloss.evaluation import latex, tables
from fairseq_bertloss.evaluation.plain_text import aligned, display_width, printable

BETTER = {
    ("tuned", "baseline", "bleu"): 0.0099,
    ("tuned", "control", "bleu"): 0.9901,
    ("control", "baseline", "bleu"): 0.01,
}


def rows(markdown: str) -> list[list[str]]:
    """The cells of a Markdown table, and of those that follow it."""
    return [[cell.strip() for cell in line[1:-1].split(" | ")] for line in markdown.splitlines() if line[:1] == "|"]


@pytest.fixture
def marked():
    return comparison(p=BETTER)


def test_main_table(marked):
    titles, _, baseline, control, tuned, *_ = rows(tables.markdown(marked))
    assert titles[:5] == ["system", "BLEU", "Δ baseline", "Δ control", "F_BERT"]
    assert baseline[:4] == ["baseline", "30.00", "", ""]
    assert control[:4] == ["control", "31.50", "+1.50", ""]  # p = 0.01 is not below 0.01
    assert tuned[:4] == ["tuned", "33.25†", "+3.25", "+1.75‡"]
    gain = marked.systems[2].mean("f_bert") - marked.systems[0].mean("f_bert")
    assert tuned[5] == f"{gain:+.2f}" and "†" not in "".join(tuned[4:])


def test_several_runs_have_a_mean_a_deviation_and_the_p_over_runs():
    systems = system("baseline", 30.0, 31.0), system("tuned", 33.0, 35.0, 34.0)
    whole = comparison(*systems, control=None, p={("tuned", "baseline", "bleu"): 0.001})
    titles, _, baseline, tuned, *others = rows(tables.markdown(whole))
    assert titles[:3] == ["system", "BLEU", "Δ baseline"] and "Δ control" not in titles
    assert baseline[1] == "30.50 ± 0.71" and tuned[1:3] == ["34.00 ± 1.00†", "+3.50"]
    tests = others[others.index(next(row for row in others if "p runs" in row)) :]
    assert tests[2] == ["tuned", "baseline", "BLEU", "+3.50", "[+2.00, +5.00]", "0.4321", "0.0010", "0.0010", "†"]
    assert "the test over runs" in tables.markdown(whole) and "another training seed" not in tables.markdown(whole)


def test_tests_that_were_not_made_have_no_column(marked):
    titles = next(row for row in rows(tables.markdown(marked)) if "p bootstrap" in row)
    assert "p runs" not in titles and "p sacrebleu bootstrap" in titles and "p randomization" in titles
    unmarked, table = tables.test_table(comparison())
    assert unmarked[-1] == "p sacrebleu bootstrap" and [row[-1] for row in table[:3]] == ["0.0625", "", ""]


def test_the_baseline_alone():
    whole = comparison(system("baseline", 30.0), control=None)
    assert rows(tables.markdown(whole))[0] == ["system", "BLEU", "F_BERT", "MoverScore"]
    assert "p bootstrap" not in tables.markdown(whole)
    assert r"\begin{tabular}{lrrr}" in latex.main_table(whole)


def test_notes_say_what_a_single_run_does_not_prove(marked):
    notes = " ".join(tables.notes(marked))
    assert "20 sentences of test.en" in notes and "another training seed may give another result" in notes
    assert "one-sided p < 0.01" in notes and "not corrected for the number of tests" in notes


def test_json_has_every_figure(marked):
    content = json.loads(tables.to_json(marked))
    assert (content["baseline"], content["control"], content["sentences"]) == ("baseline", "control", 20)
    tuned = content["systems"][2]
    assert tuned["scores"]["bleu"] == {"mean": 33.25, "deviation": None, "runs": [33.25]}
    assert tuned["scores"]["length_ratio"]["mean"] == 0.95
    marks = {(test["against"], test["metric"]): test["mark"] for test in tuned["tests"]}
    assert marks["baseline", "bleu"] == "†" and marks["control", "bleu"] == "‡" and marks["baseline", "f_bert"] == ""
    assert tuned["tests"][0]["p_bootstrap"] == 0.0099 and tuned["tests"][0]["interval"] == [1.75, 4.75]
    assert content["signatures"] == marked.signatures


def latex_rows(latex: str) -> list[list[str]]:
    """The cells of a tabular's lines; a cell over several columns counts as many times."""
    body = re.search(r"\\begin\{tabular\}\{l(r+)\}(.*)\\end\{tabular\}", latex, re.S)
    lines = [re.sub(r"\\(top|mid|bottom)rule|\\cmidrule\S+", "", line) for line in body[2].split(r" \\")]
    found = [re.split(r" (?<!\\)& ?", line.strip("\n")) for line in lines if line.strip()]
    for line in found:
        spans = [int(span[1]) if (span := re.match(r"\\multicolumn\{(\d)\}", cell)) else 1 for cell in line]
        assert sum(spans) == 1 + len(body[1])
    return found


def test_latex(marked):
    written = latex.main_table(marked)
    assert r"\usepackage{booktabs}" in written and r"\begin{table*}" in written and r"\end{table*}" in written
    assert "% BLEU: case:lc|version:2.6.0" in written.splitlines()
    head, details, baseline, control, tuned = latex_rows(written)
    assert r"\multicolumn{3}{c}{$F_{\mathrm{BERT}}$}" in head
    assert details[1:4] == ["score", r"$\Delta$ baseline", r"$\Delta$ control"]
    assert tuned[:4] == ["tuned", r"\textbf{33.25}\rlap{$\dagger$}", "+3.25", r"+1.75\rlap{$\ddagger$}"]
    assert baseline[:4] == ["baseline", "30.00", "", ""]


def test_the_best_score_is_bold_and_so_is_its_equal():
    """As far as the digits show; a table of one system has no best."""
    three = [system(name, bleu) for name, bleu in (("baseline", 30.0), ("a", 31.004), ("b", 31.001))]
    written = latex_rows(latex.main_table(comparison(*three, control=None)))
    assert [row[1] for row in written[-3:]] == ["30.00", r"\textbf{31.00}", r"\textbf{31.00}"]
    assert "textbf" not in latex.main_table(comparison(three[0], control=None))


def test_latex_escapes_names():
    name = '50%_F & $x$ #1 {a} ~b^ \\c <d> |e| "f"\n'
    written = latex.main_table(comparison(system("baseline", 30.0), system(name, 29.0), control=None))
    assert latex_rows(written)[3][0] == (
        r"50\%\_F \& \$x\$ \#1 \{a\} \textasciitilde{}b\textasciicircum{} \textbackslash{}c "
        r"\textless{}d\textgreater{} \textbar{}e\textbar{} ''f''␊"
    )
    assert "$-$1.00" in written


@given(st.text(st.characters(codec="utf-8"), max_size=20))
def test_latex_of_any_name_is_balanced(name):
    written = latex.main_table(comparison(system("baseline", 30.0), system(name + "!", 29.0), control=None))
    code = re.sub(r"\\[^a-zA-Z]", "", "\n".join(line for line in written.splitlines() if line[:1] != "%"))
    assert code.count("{") == code.count("}") and code.count("$") % 2 == 0
    assert not re.search(r"[#~^%]|(?<!\$F)_", code) and len(latex_rows(written)) == 4


@given(st.lists(st.lists(st.text(max_size=8), min_size=3, max_size=3), max_size=4))
def test_aligned_lines_are_equally_wide(cells):
    lines = aligned(["a", "b", "c"], cells).split("\n")
    assert len(lines) == 2 + len(cells) and len({display_width(line) for line in lines}) == 1


def test_aligned():
    table = aligned(["system", "BLEU"], [["中文", "3.1"], ["a|b", "12.10"]])
    assert table == "| system |  BLEU |\n|:-------|------:|\n| 中文   |   3.1 |\n| a\\|b   | 12.10 |"


def test_printable_shows_what_controls_and_keeps_the_rest():
    assert printable("ok é 中 مرحبا") == "ok é 中 مرحبا"
    assert printable("\x1b[31m\n\x7f\x85\u2028\ud800") == "␛[31m␊␡\ufffd\ufffd\ufffd"


@pytest.mark.parametrize("value, text", [(1.254, "+1.25"), (-1.0, "−1.00"), (0.004, "0.00"), (-0.004, "0.00")])
def test_signed(value, text):
    assert tables.signed(value, 2) == text


def test_number():
    assert tables.number(-13.957, 2) == "−13.96" and tables.number(0.5, 3) == "0.500"


@pytest.mark.parametrize("p, text", [(None, ""), (0.00004, "<0.0001"), (0.0001, "0.0001"), (0.99995, ">0.9999")])
def test_p_value(p, text):
    assert tables.p_value(p) == text
