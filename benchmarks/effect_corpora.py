"""The corpora of benchmarks/effect.py, all of them into English."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import effect_commands

from fairseq_bertloss.corpus.lines import write_lines
from fairseq_bertloss.corpus.plain import PlainText
from fairseq_bertloss.corpus.raw import Pair

QUICKSTART = Path(__file__).resolve().parent.parent / "scripts" / "quickstart.sh"
"""Which release of Home Assistant is the quickstart's corpus stands there."""

PLACEHOLDER = re.compile(r"<T_\d+>")
"""Stands in the training text where something was taken out."""

TARGET_LANG = "en"


@dataclass(frozen=True)
class Corpus:
    """Where text of both sides comes from: files of a folder, and which lines of them."""

    files: dict[str, tuple[str, slice]]  # train, valid and test
    folder: str | None = None  # of --data; None: Home Assistant, which is fetched
    source_lang: str = "de"
    tokenized: bool = False  # as Moses does, with its escapes
    size: str = "small"  # of effect_sizes.py, unless another is asked for

    def read(self, data: Path, work: Path) -> dict[str, list[Pair]]:
        """The pairs of each subset.

        Args:
            data: the folder above the corpora.
            work: where to keep what is fetched.

        Raises:
            ValueError: there is no such corpus.
        """
        folder = data / self.folder if self.folder else _homeassistant(self.source_lang, work)
        if not folder.is_dir():
            raise ValueError(f"there is no folder {folder}: --data names the folder above it")
        text = PlainText(str(folder), self.source_lang, TARGET_LANG, self.tokenized)
        pairs = {subset: text.pairs(name)[lines] for subset, (name, lines) in self.files.items()}
        return {
            subset: [pair for pair in own if not any(map(PLACEHOLDER.search, pair))] for subset, own in pairs.items()
        }

    def prepare(self, data: Path, work: Path, lm: str, options: list[str]) -> None:
        """The pairs as text in `work`/text, and as what fairseq reads in `work`/data.

        Args:
            data, work: as `read`.
            lm: whose pieces the target is made of.
            options: of `bertloss prepare`.
        """
        languages = self.source_lang, TARGET_LANG
        text = work / "text"
        text.mkdir(parents=True, exist_ok=True)
        sides = []
        for subset, pairs in self.read(data, work).items():
            files = [text / f"{subset}.{language}" for language in languages]
            for file, column in zip(files, zip(*pairs, strict=True), strict=True):
                write_lines(str(file), column)
            prefix = "" if subset == "train" else f"{subset}-"
            sides += [f"--{prefix}source", files[0], f"--{prefix}target", files[1]]
        named = ["--source-lang", self.source_lang, "--target-lang", TARGET_LANG]
        effect_commands.call(
            "bertloss", "prepare", *sides, "--lm", lm, *named, "--lowercase", *options, "--destdir", work / "data"
        )


def _homeassistant(source_lang: str, work: Path) -> Path:
    """The folder of the quickstart's corpus, fetched as that does."""
    release = re.search(r"homeassistant==[\d.]+", QUICKSTART.read_text(encoding="utf-8"))[0]
    wheels = work / "wheel"
    corpus = work / "corpus"
    effect_commands.call(
        sys.executable, "-m", "pip", "download", "--no-deps", "--ignore-requires-python", "--dest", wheels, release
    )
    (wheel,) = wheels.glob("*.whl")
    effect_commands.call("bertloss", "homeassistant", wheel, "--source-lang", source_lang, "--target-lang", TARGET_LANG,
                         "--destdir", corpus)  # fmt: skip
    return corpus


_ALL, _EVEN, _ODD = slice(None), slice(0, None, 2), slice(1, None, 2)

CORPORA = {
    "multi30k": Corpus(
        {"train": ("train", _ALL), "valid": ("val", _ALL), "test": ("test_2016_flickr", _ALL)}, folder="multi30k"
    ),
    # Even and odd lines: talks stand in one piece.
    "iwslt14": Corpus(
        {"train": ("train", _ALL), "valid": ("valid", _EVEN), "test": ("valid", _ODD)},
        folder="iwslt14.de-en",
        tokenized=True,
    ),
    "ted-zh-en": Corpus(
        {"train": ("train", _ALL), "valid": ("valid", _EVEN), "test": ("valid", _ODD)},
        folder="ted.zh-en",
        source_lang="zh",
    ),
    "homeassistant": Corpus(
        {"train": ("train", _ALL), "valid": ("valid", _ALL), "test": ("test", _ALL)}, size="quickstart"
    ),
}
