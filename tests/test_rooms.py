"""The house: which room may import which, so that nothing goes up and no circle exists."""

import ast
import sys
from pathlib import Path

import fairseq_bertloss

PACKAGE = Path(fairseq_bertloss.__file__).parent

FLOORS = (
    {"choices", "files", "one_line", "progress", "text"},
    {"language_model", "checkpoints"},
    {"loss", "evaluation", "corpus"},
    {"training", "report"},
    {"encoders", "mbart_task", "scorers", "curve", "forced_decoding"},
    {"", "commands"},
    {"cli"},
)
"""Rooms, and modules at the door, from the ground up; "" is the package itself. Each imports from floors below, and
from itself."""

REGISTERS = {("forced_decoding", ""), ("commands", "")}
"""Who imports the package itself, because it reads checkpoints with names that the package registers."""

LIBRARIES = {
    "text": {"langcodes", "regex"},
    "loss": {"torch", "numpy", "scipy", "ot", "entmax"},
    "language_model": {"torch", "numpy", "transformers", "huggingface_hub", "tokenizers", "bert_score"},
}
"""What the rooms below fairseq may import beside Python's own modules and what stands below them."""


def modules() -> dict[str, Path]:
    """Every module by its name inside of the package."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        found[name.removesuffix("__init__").rstrip(".")] = path
    return found


def imported(path: Path) -> set[str]:
    """Names of all that a module imports, in functions too; modules of this package without its name."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own(names: set[str]) -> set[str]:
    """Those of this package, as modules() names them."""
    known = modules()
    found = set()
    for name in names:
        package, _, rest = name.partition(".")
        if package == "fairseq_bertloss":
            found.add(rest if rest in known else rest.rpartition(".")[0])
    return found


def room(module: str) -> str:
    return module.partition(".")[0]


def floor(place: str) -> int:
    (number,) = (number for number, rooms in enumerate(FLOORS) if place in rooms)
    return number


def test_no_import_is_relative():
    """The other tests know a module by its whole name."""
    for module, path in modules().items():
        imports = (
            node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)
        )
        assert not any(node.level for node in imports), f"{module} has a relative import"


def test_every_module_has_a_room():
    for module in modules():
        floor(room(module))


def test_nothing_imports_upwards():
    wrong = set()
    for module, path in modules().items():
        for other in own(imported(path)):
            here = room(module)
            there = room(other)
            if here != there and floor(there) >= floor(here) and (here, there) not in REGISTERS:
                wrong.add(f"{module} imports {other}")
    assert not wrong


def test_no_circle_exists():
    edges = {module: own(imported(path)) - {"", module} for module, path in modules().items()}
    while edges:
        leaves = {module for module, others in edges.items() if not others & edges.keys()}
        assert leaves, f"a circle among {sorted(edges)}"
        edges = {module: others for module, others in edges.items() if module not in leaves}


def test_no_two_modules_have_one_name():
    names = [module.rpartition(".")[2] for module in modules() if module]
    assert sorted(names) == sorted(set(names))


def test_rooms_below_fairseq_import_what_they_may():
    for module, path in modules().items():
        allowed = LIBRARIES.get(room(module))
        if allowed is None:
            continue
        for name in imported(path):
            library = name.partition(".")[0]
            known = library in allowed or library == "fairseq_bertloss" or library in sys.stdlib_module_names
            assert known, f"{module} imports {library}"
