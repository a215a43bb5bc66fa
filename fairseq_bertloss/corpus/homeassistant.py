"""Real parallel text from a wheel of Home Assistant: the sentences of its user interface.

    pip download --no-deps --ignore-requires-python homeassistant==2026.2.3
    bertloss homeassistant homeassistant-2026.2.3-py3-none-any.whl --source-lang de --target-lang en --destdir DIR

The wheel (Apache 2.0) is read, never installed, so that its Python need not be ours. The strings are those of
translations/<language>.json of every component, joined on their keys and split into sentences. Labels, and what has
placeholders, addresses or markup, are left out: a small model learns nothing from them but loops.
"""

import json
import random
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence

from fairseq_bertloss.corpus.folder import build_once
from fairseq_bertloss.corpus.lines import fold, normalize
from fairseq_bertloss.corpus.raw import SPLITS, TRAIN, Pair, write_splits
from fairseq_bertloss.corpus.source import chinese_words
from fairseq_bertloss.files import checksum
from fairseq_bertloss.text.languages import closest, language_of

RECORD = "homeassistant.json"
TRANSLATION = re.compile(r"homeassistant/components/([^/]+)/translations/([^/]+)\.json")
WORDS = range(4, 31)
"""Lengths in words that both sides must have: what is shorter is a label, what is longer a paragraph."""

STOPS = (".", "?", "!", "。", "？", "！")
"""What a sentence ends with; a label has none of them."""

BREAK = re.compile(r"\n|(?<=[.?!])\s+|(?<=[。？！])")
"""Where a sentence may end: before a capital letter it does."""

MARKUP = re.compile(r"[][{}<>|*_`#@=\\%$~^]|//|\w\.\w\w")
"""Placeholders, Markdown, HTML, addresses, and names of files and hosts."""

HELD_OUT = 500
SEED = 1


def extract(wheel: str, source_lang: str, target_lang: str, destdir: str, overwrite: bool = False) -> tuple[dict, bool]:
    """Writes train, valid and test in both languages; a folder of the same wheel and languages stays as it is.

    Args:
        wheel: a homeassistant-*.whl.
        source_lang, target_lang: codes of the languages in any spelling, such as de, zh_TW or eng_Latn; also the
            endings of the files.
        destdir: the folder to write.
        overwrite: replace a folder that was written from another wheel or for other languages.

    Returns:
        The record in the folder, with the number of pairs, and whether the folder was written now.

    Raises:
        ValueError: the file is not a wheel of Home Assistant, or lacks a language or enough strings in it.
    """
    settings = {
        "wheel": f"sha256:{checksum(wheel)}",
        "source_lang": source_lang,
        "target_lang": target_lang,
        "words": [WORDS.start, WORDS.stop - 1],
        "held_out": HELD_OUT,
        "seed": SEED,
    }

    def build(folder: str, _lock: int) -> dict:
        pairs = parallel_sentences(wheel, source_lang, target_lang)
        splits = isolated_splits(pairs, HELD_OUT, SEED)
        return {"counts": write_splits(folder, (source_lang, target_lang), splits)}

    return build_once(destdir, RECORD, settings, build, overwrite)


def parallel_sentences(wheel: str, source_lang: str, target_lang: str) -> list[Pair]:
    """The wheel's distinct pairs of sentences, sorted.

    Raises:
        ValueError: as for extract().
    """
    pairs = set()
    try:
        with zipfile.ZipFile(wheel) as archive:
            for source, target in translation_files(archive, wheel, (source_lang, target_lang)):
                targets = dict(flatten(json.loads(archive.read(target))))
                for key, text in flatten(json.loads(archive.read(source))):
                    if key in targets:
                        pairs.update(aligned(text, targets[key]))
    except zipfile.BadZipFile as error:
        raise ValueError(f"{wheel} is not a wheel: {error}") from error
    return sorted(
        (source, target)
        for source, target in pairs
        if is_sentence(source, source_lang) and is_sentence(target, target_lang)
    )


def aligned(source: str, target: str) -> list[Pair]:
    """The sentences of two strings in pairs; the strings as they are, where one has more sentences than the other."""
    sides = sentences(source), sentences(target)
    if len(sides[0]) != len(sides[1]):
        return [(normalize(source), normalize(target))]
    return list(zip(*sides, strict=True))


def sentences(text: str) -> list[str]:
    """The sentences of a string, normalised: one ends with its line, and at a stop that no small letter follows."""
    found = [""]
    for part in BREAK.split(text):
        if part[:1].islower():
            found[-1] += f" {part}"
        else:
            found.append(part)
    return [sentence for sentence in map(normalize, found) if sentence]


def is_sentence(text: str, language: str) -> bool:
    """Whether a normalised text is a plain sentence of suitable length."""
    return text.rstrip("\"'”“»)").endswith(STOPS) and not MARKUP.search(text) and word_count(text, language) in WORDS


def translation_files(archive: zipfile.ZipFile, wheel: str, codes: Sequence[str]) -> list[tuple[str, str]]:
    """The names in the archive of every component's source and target file, where it has both."""
    files = defaultdict(dict)
    for name in archive.namelist():
        if match := TRANSLATION.fullmatch(name):
            component, code = match.groups()
            files[code][component] = name
    if not files:
        raise ValueError(f"{wheel} has no homeassistant/components/*/translations; is it a wheel of Home Assistant?")
    sides = []
    for code in codes:
        found = closest(code, sorted(files))
        if found is None:
            raise ValueError(f"{wheel} has no translations into {code!r}, only {', '.join(sorted(files))}")
        sides.append(files[found])
    sources, targets = sides
    return [(sources[component], targets[component]) for component in sorted(sources) if component in targets]


def flatten(tree: dict, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """The strings in nested JSON objects, each with its path."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flatten(value, (*path, key))
        elif isinstance(value, str):
            yield (*path, key), value


def word_count(text: str, language: str) -> int:
    """The number of words in a normalised text; jieba splits Chinese, which has no spaces between words."""
    return sum(map(str.isalnum, chinese_words(text))) if language_of(language) == "zh" else len(text.split())


def isolated_splits(pairs: Sequence[Pair], held_out: int, seed: int) -> dict[str, list[Pair]]:
    """Splits pairs so that no text of either side is in two splits, whatever its letter case and accents.

    Pairs that share a text, directly or through others, form a group that stays together. Of its groups, validation
    and test get one pair for each source; training gets all pairs.

    Args:
        pairs: sorted, distinct.
        held_out: number of distinct sources of validation, and of test.
        seed: seed of the shuffle.

    Raises:
        ValueError: there are too few pairs.
    """
    groups = connected(pairs)
    random.Random(seed).shuffle(groups)  # a repeatable split, no secret  # nosec B311
    splits = {split: [] for split in SPLITS}
    for group in groups:
        by_source = {fold(source): (source, target) for source, target in reversed(group)}
        for split in ("valid", "test"):
            if len(splits[split]) + len(by_source) <= held_out:
                splits[split] += by_source.values()
                break
        else:
            splits[TRAIN] += group
    if not splits[TRAIN] or len(splits["valid"]) < held_out or len(splits["test"]) < held_out:
        raise ValueError(
            f"{len(pairs)} pairs in {len(groups)} unconnected groups are too few: validation and test take "
            f"{held_out} each"
        )
    return splits


def connected(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """The pairs in groups, connected through equal sources or equal targets (union-find)."""
    parent = {}

    def root(node):
        while parent.setdefault(node, node) != node:
            parent[node] = node = parent[parent[node]]  # halve the path on the way up
        return node

    for source, target in pairs:
        parent[root(("source", fold(source)))] = root(("target", fold(target)))
    groups = defaultdict(list)
    for pair in pairs:
        groups[root(("source", fold(pair[0])))].append(pair)
    return list(groups.values())
