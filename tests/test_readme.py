"""The commands of README and docs/, run as they stand there; only the models' names and the lengths of runs differ.

What else a page must keep: its links and paths lead somewhere, its lines are short.
"""

import re
import shlex
import subprocess
from pathlib import Path

import fairseq.options
import pytest
from prepared import write_corpus
from test_rooms import FLOORS

from fairseq_bertloss import cli
from fairseq_bertloss.evaluation.results import METRICS

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = sorted(str(page.relative_to(REPOSITORY)) for page in REPOSITORY.glob("*.md")) + sorted(
    str(page.relative_to(REPOSITORY))
    for folder in ("docs", "benchmarks")
    for page in (REPOSITORY / folder).rglob("*.md")
)


def text(page: str) -> str:
    return (REPOSITORY / page).read_text(encoding="utf-8")


def examples(language: str, *pages: str) -> str:
    """The fenced blocks of a language, one after the other."""
    return "\n".join(
        block for page in pages for block in re.findall(rf"^```{language}\n(.*?)^```$", text(page), re.M | re.S)
    )


def replace(text: str, replacements: dict[str, str]) -> str:
    for old, new in replacements.items():
        assert old in text, f"the pages no longer have {old!r}"
        text = text.replace(old, new)
    return text


def test_commands(tiny_lm, tmp_path):
    write_corpus(tmp_path, repeats=60)  # more than one batch: no checkpoint of an interval is kept where an epoch ends
    for split in ("train", "valid", "test"):
        for side, language in (("source", "de"), ("target", "en")):
            prefix = "" if split == "train" else f"{split}-"
            (tmp_path / f"{prefix}{side}.txt").rename(tmp_path / f"{split}.{language}")
    pages = ("README.md", "docs/data.md", "docs/training.md", "docs/evaluation.md")
    script = replace(examples("bash", *pages), {
        "REPO=../fairseq-bertloss LM=bert-base-uncased LAYER=9": f"REPO={REPOSITORY} LM={tiny_lm('bert')} LAYER=2",
        "--arch transformer_iwslt_de_en": "--arch transformer_tiny",
        "--patience 3": "--max-update 2",
        "--max-update 300": "--max-update 2",
        "++optimization.max_update=300": "++optimization.max_update=2 ++common.cpu=true",
        "model._name=transformer_iwslt_de_en": "model._name=transformer_tiny",
        "--save-interval-updates 60": "--save-interval-updates 1",
    })  # fmt: skip
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    for system in ("baseline", "control", "recipe"):
        table = [line for line in done.stdout.splitlines() if line.startswith(f"| {system} ")]
        assert table and len(re.findall(r"\d+\.\d+", table[0])) == len(METRICS) - 1, "empty outputs are a whole number"
    assert (tmp_path / "report.html").stat().st_size > 10000
    assert len(re.findall(r"^D-\d+\t", done.stdout, re.M)) == 3, "fairseq-interactive did not translate"
    assert (tmp_path / "dict.txt").is_file()
    assert (tmp_path / "interpolated.pt").is_file()
    assert (tmp_path / "by_yaml" / "checkpoint_last.pt").is_file()


def test_python_example(minilm):
    variables = {}
    exec(replace(examples("python", "docs/python.md"), {"bert-base-uncased": minilm, "layer=9": "layer=5"}), variables)
    assert variables["logits"].grad.abs().sum() > 0
    assert variables["score"].f1.shape == (2,)


def test_programs_of_significance():
    """In two repetitions each, where the page has hundreds."""
    script, found = re.subn(r"in range\(\d{3,}\)", "in range(2)", examples("sh", "docs/significance.md"))
    assert found >= 2, "the page no longer repeats what it measures"
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout


def code(page: str) -> str:
    """All code of a page: indented, in fences, and short commands within a line; one command a line."""
    whole = text(page)
    indented = re.findall(r"^ {4,}(\S.*)$", whole, re.M)
    lines = "\n".join(indented).replace("\\\n", " ")
    return lines + "\n" + examples("bash", page).replace("\\\n", " ")


def test_bertloss_takes_every_command():
    """Those too that need what is not at hand: the words and options of each are what the command knows."""
    found = 0
    for page in PAGES:
        for command in re.findall(r"(?:^|&& )bertloss (.*)$", code(page), re.M):
            command = re.sub(r"\$METRICS|\"\$\{\w+\[@\]\}\"", "--lm LM", command).replace("$LAYER", "1")
            arguments = cli.argument_parser().parse_args(shlex.split(command, comments=True))
            assert callable(arguments.run)
            found += 1
    assert found >= 10


def test_benchmarks_know_every_option():
    """Options of each script, or of the training that it starts."""
    sources = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "benchmarks").glob("*.py"))
    own = set(re.findall(r'"(--[\w-]+)"', sources)) | set(re.findall(r"`(--[\w-]+)", text("docs/options.md")))
    known = own | set(fairseq.options.get_training_parser()._option_string_actions)
    commands = [
        command for page in PAGES for command in re.findall(r"python (benchmarks/\w+\.py [^`\n#]*)", code(page))
    ]
    assert len(commands) >= 10
    assert {option for command in commands for option in re.findall(r"--[\w-]+", command)} - known == set()


def test_every_option_is_in_the_table():
    from fairseq_bertloss.training.criterion import BERTScoreCriterionConfig

    fields = BERTScoreCriterionConfig.__dataclass_fields__.values()
    own = [
        f for f in fields if f.name != "_name" and not str(f.default).startswith("${")
    ]  # "${group.name}" is fairseq's
    names = {f.metadata.get("argparse_alias", "--" + f.name.replace("_", "-")) for f in own}
    assert {name for name in names if f"`{name}" not in text("docs/options.md")} == set()


@pytest.mark.parametrize("page", PAGES)
def test_links_and_paths_lead_somewhere(page):
    whole = text(page)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", whole) if not re.match(r"https?:", link)]
    beside = {(REPOSITORY / page).parent / link.partition("#")[0] for link in links}
    paths = re.findall(
        r"\b((?:fairseq_bertloss|scripts|benchmarks|configs|tests|docs)/[a-z0-9_./-]+\.(?:py|sh|md|flags))", whole
    )
    named = {REPOSITORY / path.replace("PAIR", "de-en") for path in paths}
    tests = {REPOSITORY / "tests" / name for name in re.findall(r"`(test_\w+\.py)`", whole)}
    assert {str(path) for path in beside | named | tests if not path.exists()} == set()


def test_rooms_are_in_architecture():
    table = re.findall(r"^\| (\d) \| (.*?) \|", text("ARCHITECTURE.md"), re.M)
    places = {
        (int(floor), name.removesuffix(".py").rstrip("/").replace("__init__", ""))
        for floor, names in table
        for name in re.findall("`(.*?)`", names)
    }
    assert places == {(floor, room) for floor, rooms in enumerate(FLOORS) for room in rooms}


def test_every_page_is_listed_in_readme():
    listed = re.findall(r"\]\(([\w./-]+\.md)\)", text("README.md"))
    assert {page for page in PAGES if page not in listed} - {"README.md", "benchmarks/README.md"} == set()


@pytest.mark.parametrize("page", PAGES)
def test_lines_are_short(page):
    longest = 100 if page == "README.md" else 120
    lines = text(page).splitlines()
    assert [line for line in lines if len(line) > longest and not line.startswith("|")] == []
    if page == "README.md":
        assert len(lines) <= 130 and max(map(len, lines)) <= longest
