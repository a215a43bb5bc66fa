"""A small real corpus, written as files, and `bertloss prepare` run on it as a user runs it."""

import subprocess
import sys
from pathlib import Path

BERTLOSS = [sys.executable, "-m", "fairseq_bertloss.cli"]
"""The command `bertloss`, also where it is not on the PATH, as in `make test`."""

PAIRS = [
    ("Ein Mann mit Ohrringen trägt eine Brille und einen orangefarbenen Hut.",
     "The man with pierced ears is wearing glasses and an orange hat."),
    ("Ein schwarz-weißer Hund läuft durch einen Garten mit weißem Zaun.",
     "A black and white dog is running in a garden with a white fence."),
    ("Zwei Männer sitzen auf dem Dach eines Hauses.", "Two men are sitting on the roof of a house."),
    ("Eine Frau steht mit drei anderen Leuten in einem Laden.",
     "A woman is standing with three other people in a store."),
    ("Die Leute reparieren das Dach eines Hauses.", "People are fixing the roof of a house."),
    ('"Wie geht\'s?", fragt Dr. Müller.', '"How\'s it going?", asks Dr. Müller.'),
    ("Bitte prüfe die Netzwerkverbindung & starte neu!", "Please check the network connection & restart!"),
    ("Der Zug <unk> kostet 3,50 € [SEP] am Abend.", "The train <unk> costs €3.50 [SEP] at night."),
]  # fmt: skip


def write_corpus(folder: Path, repeats: int = 1) -> list[str]:
    """Writes train, valid and test files and returns the options of `bertloss prepare` that name them."""
    training = PAIRS * repeats + [("", "Nothing on the other side."), ("Sehr " * 40, "Very much."), ("Ja.", " ")]
    splits = {"": training, "valid-": [*PAIRS[:4], ("", "An empty source."), PAIRS[4]], "test-": PAIRS[3:]}
    options = []
    for split, pairs in splits.items():
        for side, lines in zip(("source", "target"), zip(*pairs, strict=True), strict=True):
            path = folder / f"{split}{side}.txt"
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            options += [f"--{split}{side}", str(path)]
    return options


def command(corpus: list[str], lm: str, destdir: Path, *more: str) -> list[str]:
    """The command line of a small preparation."""
    languages = ["--source-lang", "de", "--target-lang", "en"]
    sizes = ["--merges", "100", "--max-length", "30", "--lowercase"]
    return [*BERTLOSS, "prepare", *corpus, "--lm", lm, *languages, *sizes, "--destdir", str(destdir), *more]


def run(arguments: list[str]) -> subprocess.CompletedProcess:
    """Runs a command to its end, output captured as text."""
    return subprocess.run(arguments, capture_output=True, text=True)


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder, by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
