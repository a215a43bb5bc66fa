"""TED talks as WIT3 distributes them for the IWSLT tasks (Cettolo et al., 2012).

    bertloss extract 2014-01.tgz --corpus wit3 --source-lang de --target-lang en --destdir DIR

The archive of a year holds one archive for each pair, such as texts/de/en/de-en.tgz. That holds the training text,
train.tags.de-en.{de,en}, and the evaluation sets, such as IWSLT14.TED.dev2010.de-en.{de,en}.xml.
"""

import glob
import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property

from fairseq_bertloss.corpus.archive import LIMITS, Folder, Limits, Tarball
from fairseq_bertloss.corpus.mteval import aligned_segments, read_segments
from fairseq_bertloss.corpus.raw import TRAIN, Corpus, Pair
from fairseq_bertloss.corpus.train_tags import aligned_talks, read_talks
from fairseq_bertloss.files import checksum


class Wit3(Corpus):
    """One language pair of WIT3. Its sets are train and the evaluation sets, such as tst2010.

    Args:
        path: the archive of a year or of the pair, or the folder of either one unpacked.
        source_lang, target_lang: codes as WIT3 spells them, such as de and en.
        limits: bounds on what is read from archives.

    Raises:
        FileNotFoundError: the path does not exist.
        ValueError: the path is a folder without this pair.
    """

    def __init__(self, path: str, source_lang: str, target_lang: str, limits: Limits = LIMITS):
        super().__init__(path, source_lang, target_lang)
        if not os.path.exists(path):
            raise FileNotFoundError(
                f"{path} does not exist; it should be an archive of WIT3, or the folder of an unpacked one"
            )
        self.settings = {"corpus": "wit3", **self.settings}
        self._limits = limits
        self._pair = f"{source_lang}-{target_lang}"
        self._inner = f"texts/{source_lang}/{target_lang}/{self._pair}.tgz"
        self._archive = self._find_archive()

    def sets(self) -> list[str]:
        """The names of the sets that have both sides; train first."""
        complete = [name for name, sides in self._members.items() if len(sides) == 2]
        return sorted(complete, key=lambda name: (name != TRAIN, name))

    def pairs(self, name: str) -> list[Pair]:
        """The set's pairs of plain text, in order, white space normalised.

        Raises:
            ValueError: there is no such set, its two sides are not parallel, or the archive is damaged.
        """
        read, align = (read_talks, aligned_talks) if name == TRAIN else (read_segments, aligned_segments)
        members = self._sides(name)
        names = tuple(map(posixpath.basename, members))
        sides = []
        for member, called in zip(members, names, strict=True):
            with self._files.open(member) as file:
                sides.append(read(file, called))
        return align(*sides, names)

    def checksums(self, names: Iterable[str]) -> dict[str, str]:
        """The SHA-256 checksum of the archive, or of the unpacked files that these sets are read from, by name."""
        if self._archive is not None:
            return {os.path.basename(self._archive): checksum(self._archive)}
        files = [file for name in names for file in self._sides(name)]
        return {file: checksum(os.path.join(self.path, file)) for file in files}

    def _find_archive(self) -> str | None:
        """The archive on disk that holds the pair; None if the path is the pair's own folder."""
        if not os.path.isdir(self.path):
            return self.path
        if any(os.path.isfile(os.path.join(self.path, self._training(language))) for language in self.languages):
            return None
        found = [
            os.path.join(self.path, file)
            for pattern in (f"{self._pair}.tgz", self._inner, f"*/{self._inner}")
            for file in sorted(glob.glob(pattern, root_dir=self.path))
        ]
        if len(found) > 1:
            raise ValueError(f"{self.path} has the pair more than once, as {' and '.join(found)}; name one of them")
        if not found:
            raise ValueError(
                f"{self.path} has neither {self._pair}.tgz, nor {self._inner}, nor {self._training(self.languages[0])}"
            )
        return found[0]

    def _training(self, language: str) -> str:
        return f"train.tags.{self._pair}.{language}"

    @cached_property
    def _files(self) -> Folder | Tarball:
        """The files of the pair."""
        if self._archive is None:
            return Folder(self.path)
        outer = Tarball(self._archive, self._archive, self._limits)
        if {posixpath.basename(name) for name in outer.names} & set(map(self._training, self.languages)):
            return outer
        for name in outer.names:
            if name == self._inner or name.endswith(f"/{self._inner}"):
                return Tarball(outer.open(name), f"{self._archive}: {name}", self._limits)
        there = sorted(re.findall(r"\btexts/\w+/\w+/([\w-]+)\.tgz$", "\n".join(outer.names), re.MULTILINE))
        raise ValueError(
            f"{self._archive} has neither {self._training(self.languages[0])} nor {self._inner}"
            + (f", only the pairs {', '.join(there)}" if there else "; is it an archive of WIT3?")
        )

    @cached_property
    def _members(self) -> dict[str, dict[str, list[str]]]:
        """The files of each set and language; more than one becomes an error when the set is read."""
        pattern = re.compile(
            rf"(?:train\.tags|IWSLT\d\d\.TEDX?\.(?P<set>\w+))\.{re.escape(self._pair)}"
            rf"\.(?P<language>{'|'.join(map(re.escape, self.languages))})(?(set)\.xml)"
        )
        members = defaultdict(lambda: defaultdict(list))
        for name in self._files.names:
            if match := pattern.fullmatch(posixpath.basename(name)):
                members[match["set"] or TRAIN][match["language"]].append(name)
        return members

    def _sides(self, name: str) -> list[str]:
        """The two files of the set, the source first.

        Raises:
            ValueError: there is no such set, or a side is missing or exists more than once.
        """
        if name not in self._members:
            raise self.no_such_set(name)
        sides = []
        for language in self.languages:
            files = self._members[name].get(language, [])
            if len(files) != 1:
                count = f"exists more than once: {', '.join(files)}" if files else "is missing"
                raise ValueError(f"{self.path}: the {language} side of {name} {count}")
            sides += files
        return sides
