"""corpus/wit3.py: the pair is found in every shape that WIT3 comes in, and what is wrong with it is said."""

import shutil

import pytest
from archives import TRAIN_PAIRS, mteval, pair_files, pair_tgz, tgz, write_tree

from fairseq_bertloss.corpus.archive import Limits
from fairseq_bertloss.corpus.wit3 import Wit3
from fairseq_bertloss.files import checksum

INNER = "texts/de/en/de-en.tgz"
SETS = ["train", "dev2010", "dev2012", "tst2010"]


def write_shape(shape: str, folder, files=None) -> str:
    """The pair in one of the shapes; the path to give."""
    year = {f"2014-01/{INNER}": pair_tgz(files), "2014-01/texts/en/de/en-de.tgz": b"not looked into"}
    if shape == "year":
        return write_tree(folder, {"2014-01.tgz": tgz(year)}) + "/2014-01.tgz"
    if shape == "year without folder":
        return write_tree(folder, {"2014-01.tgz": tgz({f"./{INNER}": pair_tgz(files)})}) + "/2014-01.tgz"
    if shape == "unpacked year":
        return write_tree(folder, year) + "/2014-01"
    if shape == "around the unpacked year":
        return write_tree(folder, year)
    if shape == "pair":
        return write_tree(folder, {"de-en.tgz": pair_tgz(files)}) + "/de-en.tgz"
    return write_tree(folder / "de-en", files or pair_files())


@pytest.mark.parametrize(
    "shape",
    ["year", "year without folder", "unpacked year", "around the unpacked year", "pair", "unpacked pair"],
)
def test_shapes(shape, tmp_path):
    path = write_shape(shape, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    corpus = Wit3(path, "de", "en")
    assert corpus.sets() == SETS
    assert corpus.pairs("train") == TRAIN_PAIRS
    assert corpus.pairs("dev2012")[1] == ("Sie dehnt sich im Winter aus. [dev2012]", "It expands in winter. [dev2012]")
    assert sorted(tmp_path.rglob("*")) == before


def test_checksums_are_of_what_is_read(tmp_path):
    path = write_shape("pair", tmp_path / "a")
    assert Wit3(path, "de", "en").checksums(["train"]) == {"de-en.tgz": checksum(path)}
    year = write_shape("unpacked year", tmp_path / "b")
    assert Wit3(year, "de", "en").checksums(["train"]) == {"de-en.tgz": checksum(f"{year}/{INNER}")}
    folder = write_shape("unpacked pair", tmp_path / "c")
    assert list(Wit3(folder, "de", "en").checksums(["train", "tst2010"])) == [
        "train.tags.de-en.de",
        "train.tags.de-en.en",
        "IWSLT14.TED.tst2010.de-en.de.xml",
        "IWSLT14.TED.tst2010.de-en.en.xml",
    ]


def test_real_files(shared, tmp_path):
    files = {path.name: path.read_bytes() for path in (shared / "data" / "wit3" / "de-en").iterdir()}
    names = "train.tags.de-en.de", "train.tags.de-en.en"
    path = write_shape("year", tmp_path, files | {name: pair_files()[name] for name in names})
    corpus = Wit3(path, "de", "en")
    assert corpus.sets() == ["train", "dev2010"] and len(corpus.pairs("dev2010")) == 887


def test_talks_out_of_step_are_named_with_their_file(tmp_path):
    files = pair_files()
    files["train.tags.de-en.en"] = files["train.tags.de-en.en"].replace("(Applause)\n", "")
    with pytest.raises(ValueError, match="train.tags.de-en.de: talk 344 .line 11. has 3 sentences, but .*en-?.* has 2"):
        Wit3(write_shape("pair", tmp_path, files), "de", "en").pairs("train")


@pytest.mark.parametrize(
    "languages, files, name, message",
    [
        (("en", "en"), {}, "train", "source and target language are both 'en'"),
        (("de", "en"), {}, "tst2015", "no set 'tst2015'; its sets: train, dev2010, dev2012, tst2010$"),
        (("de", "en"), {}, "tst2014", "the en side of tst2014 is missing"),
        (
            ("de", "en"),
            {"IWSLT14.TEDX.tst2010.de-en.de.xml": mteval("de")},
            "tst2010",
            "the de side of tst2010 exists more than once: .*TED.tst2010.*, .*TEDX.tst2010",
        ),
        (("de", "en"), {"IWSLT14.TED.tst2010.de-en.en.xml": b"<seg"}, "tst2010", "tst2010.de-en.en.xml has no <seg>"),
    ],
)
@pytest.mark.parametrize("shape", ["year", "pair", "unpacked pair"])
def test_bad_sets(shape, languages, files, name, message, tmp_path):
    path = write_shape(shape, tmp_path, pair_files() | files)
    with pytest.raises(ValueError, match=message):
        Wit3(path, *languages).pairs(name)


@pytest.mark.parametrize(
    "content, message",
    [
        (
            tgz({"2014-01/texts/es/en/es-en.tgz": "", "2014-01/texts/tr/en/tr-en.tgz": "", "2014-01/README": ""}),
            "neither train.tags.de-en.de nor texts/de/en/de-en.tgz, only the pairs es-en, tr-en$",
        ),
        (tgz({"a.txt": "x"}), "x.tgz has neither .*; is it an archive of WIT3"),
        (tgz({f"2014-01/{INNER}": "no archive"}), "x.tgz: 2014-01/texts/de/en/de-en.tgz is damaged"),
        (tgz({f"2014-01/{INNER}": pair_tgz()[:-100]}), "texts/de/en/de-en.tgz is damaged, truncated"),
        (pair_tgz()[:-100], "x.tgz is damaged, truncated"),
        (b"", "x.tgz is damaged"),
    ],
)
def test_bad_archives(content, message, tmp_path):
    write_tree(tmp_path, {"x.tgz": content})
    with pytest.raises(ValueError, match=message):
        Wit3(str(tmp_path / "x.tgz"), "de", "en").sets()
    assert [path.name for path in tmp_path.iterdir()] == ["x.tgz"]


def test_bounds_hold_in_the_inner_archive(tmp_path):
    path = write_shape("year", tmp_path)
    with pytest.raises(ValueError, match="member '2014-01/texts/de/en/de-en.tgz' has more than 100 bytes"):
        Wit3(path, "de", "en", Limits(member=100)).sets()
    inner = len(pair_tgz())
    with pytest.raises(ValueError, match="member 'de-en/train.tags.de-en.de' has more than"):
        files = pair_files() | {"train.tags.de-en.de": "x" * 10 * inner}
        Wit3(write_shape("year", tmp_path, files), "de", "en", Limits(member=2 * inner)).pairs("train")


def test_paths_without_the_pair(tmp_path):
    with pytest.raises(FileNotFoundError, match="no.tgz does not exist"):
        Wit3(str(tmp_path / "no.tgz"), "de", "en")
    with pytest.raises(ValueError, match="has neither de-en.tgz, nor texts/de/en/de-en.tgz, nor train.tags.de-en.de"):
        Wit3(str(tmp_path), "de", "en")
    path = write_shape("around the unpacked year", tmp_path)
    shutil.copytree(f"{path}/2014-01", f"{path}/2015-01")
    with pytest.raises(ValueError, match="has the pair more than once, as .*2014-01.* and .*2015-01.*; name one"):
        Wit3(path, "de", "en")
