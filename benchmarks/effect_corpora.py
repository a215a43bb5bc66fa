"""The corpora of benchmarks/effect.py, all of them into English."""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import effect_commands
from effect_pieces import Pieces

from fairseq_bertloss.corpus.held_out import HeldOut, key
from fairseq_bertloss.corpus.lines import write_lines
from fairseq_bertloss.corpus.plain import PlainText
from fairseq_bertloss.corpus.raw import Pair

QUICKSTART = Path(__file__).resolve().parent.parent / "scripts" / "quickstart.sh"
"""Which release of Home Assistant is the quickstart's corpus stands there."""

PLACEHOLDER = re.compile(r"<T_\d+>")
"""Stands in the training text where something was taken out."""

TARGET_LANG = "en"

Lines = tuple[str, slice]
"""A file's name, and which of its lines."""


@dataclass(frozen=True)
class Part:
    """Text of one kind: files of a folder, and which lines of them."""

    train: tuple[Lines, ...]
    valid: tuple[Lines, ...] = ()
    test: tuple[Lines, ...] = ()
    folder: str | None = None  # of --data; None: Home Assistant, which is fetched
    tokenized: bool = False  # as Moses does, with its escapes

    def read(self, data: Path, work: Path, source_lang: str) -> dict[str, list[Pair]]:
        """The pairs of each subset.

        Args:
            data: the folder above the corpora.
            work: where to keep what is fetched.
            source_lang: the code of the source's language.

        Raises:
            ValueError: there is no such folder.
        """
        folder = data / self.folder if self.folder else _homeassistant(source_lang, work)
        if not folder.is_dir():
            raise ValueError(f"there is no folder {folder}: --data names the folder above it")
        text = PlainText(str(folder), source_lang, TARGET_LANG, self.tokenized)
        return {
            subset: [
                pair
                for name, lines in getattr(self, subset)
                for pair in text.pairs(name)[lines]
                if not any(map(PLACEHOLDER.search, pair))
            ]
            for subset in SUBSETS
        }


SUBSETS = ("train", "valid", "test")


@dataclass(frozen=True)
class Corpus:
    """Text of one kind or several, which are trained on together and scored apart."""

    parts: dict[str, Part]
    source_lang: str = "de"
    size: str = "small"  # of effect_sizes.py, unless another is asked for

    def read(self, data: Path, work: Path) -> dict[str, dict[str, list[Pair]]]:
        """The pairs of each subset and part; of several parts without what stands twice.

        Args:
            data, work: as of Part.read.

        Raises:
            ValueError: there is no such corpus.
        """
        parts = {name: part.read(data, work, self.source_lang) for name, part in self.parts.items()}
        subsets = {subset: {name: own[subset] for name, own in parts.items() if own[subset]} for subset in SUBSETS}
        return subsets if len(parts) == 1 else _isolated(subsets)

    def prepare(self, data: Path, work: Path, pieces: Pieces, options: list[str]) -> None:
        """The pairs as text in `work`/text, with the sizes of the parts in PARTS, and as what fairseq reads.

        Args:
            data, work: as `read`.
            pieces: what the text is split into.
            options: of `bertloss prepare`, for the pieces of a language model.
        """
        text = work / "text"
        text.mkdir(parents=True, exist_ok=True)
        subsets = self.read(data, work)
        for subset, parts in subsets.items():
            pairs = [pair for own in parts.values() for pair in own]
            for language, column in zip(self.languages, zip(*pairs, strict=True), strict=True):
                write_lines(text / f"{subset}.{language}", column)
        pieces.prepare({subset: text / subset for subset in subsets}, self.languages, work / "data", options)
        sizes = {subset: {name: len(own) for name, own in parts.items()} for subset, parts in subsets.items()}
        (text / PARTS).write_text(json.dumps(sizes), encoding="utf-8")

    @property
    def languages(self) -> tuple[str, str]:
        """Codes of the source's language and the target's."""
        return self.source_lang, TARGET_LANG


PARTS = "parts.json"
"""Holds how many lines each part has, in order, by subset; it is written last."""


def _isolated(subsets: dict[str, dict[str, list[Pair]]]) -> dict[str, dict[str, list[Pair]]]:
    """The subsets without pairs that stand there twice, and without text of the one in another.

    Test comes first, then validation: what stands there is taken from the others. Texts are the same by their letters.
    """
    held_out = HeldOut()
    kept = {}
    for subset in ("test", "valid", "train"):
        distinct = set()
        kept[subset] = {}
        for name, own in subsets[subset].items():
            kept[subset][name] = []
            for pair in own:
                own_key = key(pair)
                if own_key not in distinct and own_key not in held_out:
                    kept[subset][name].append(pair)
                    distinct.add(own_key)
            gone = len(own) - len(kept[subset][name])
            print(f"{subset}, {name}: {len(own)} pairs less {gone} that stand elsewhere too", file=sys.stderr)
        held_out.add(distinct)
    return {subset: kept[subset] for subset in SUBSETS}


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
HELD_OUT = 200
"""Lines at the end of a file that has no validation set, which become one; as many before them are its test set."""


def _files(*names: str) -> dict[str, tuple[Lines, ...]]:
    """Files without a validation set: neighbours are much alike, so that each loses its end."""
    lines = {
        "train": slice(None, -2 * HELD_OUT),
        "valid": slice(-HELD_OUT, None),
        "test": slice(-2 * HELD_OUT, -HELD_OUT),
    }
    return {subset: tuple((name, of) for name in names) for subset, of in lines.items()}


def _halved(folder: str, tokenized: bool = False) -> Part:
    """Validation and test from even and odd lines of a validation set, since talks stand in one piece."""
    return Part((("train", _ALL),), (("valid", _EVEN),), (("valid", _ODD),), folder=folder, tokenized=tokenized)


MULTI30K = Part((("train", _ALL),), (("val", _ALL),), (("test_2016_flickr", _ALL),), folder="multi30k")
IWSLT14 = _halved("iwslt14.de-en", tokenized=True)
TED_ZH_EN = _halved("ted.zh-en")

CORPORA = {
    "multi30k": Corpus({"multi30k": MULTI30K}),
    "iwslt14": Corpus({"iwslt14": IWSLT14}),
    "ted-zh-en": Corpus({"ted": TED_ZH_EN}, source_lang="zh"),
    "homeassistant": Corpus(
        {"homeassistant": Part((("train", _ALL),), (("valid", _ALL),), (("test", _ALL),))}, size="quickstart"
    ),
    "mixed": Corpus(
        {
            "multi30k": MULTI30K,
            "iwslt14": IWSLT14,
            "ted-extra": Part((("train", _ALL),), folder="ted-extra.de-en"),
            "tatoeba": _halved("tatoeba.de-en"),
            "software": Part(**_files("lohelp", "games", "man", "ui", "gnomedoc"), folder="software.de-en"),
            "europarl": Part(**_files("train"), folder="europarl.de-en"),
        },
        size="medium",
    ),
    "mixed-zh-en": Corpus(
        {
            "ted": TED_ZH_EN,
            "tatoeba": _halved("tatoeba.zh-en"),
            "software": Part(**_files("pydoc", "games", "lohelp", "ui", "gnomedoc"), folder="software.zh-en"),
        },
        source_lang="zh",
        size="medium",
    ),
}
