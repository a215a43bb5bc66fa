"""corpus/archive.py: honest archives are read; hostile and damaged ones are refused, in words that help."""

import gzip
import io
import tarfile
import zlib

import pytest
from archives import tar_of, tgz

from fairseq_bertloss.corpus.archive import Folder, Limits, Tarball

FILES = {"./a/one.txt": "eins\nzwei\n", "a//two.txt": "drei\n"}


def tarball(content: bytes, **limits) -> Tarball:
    return Tarball(io.BytesIO(content), "x.tgz", Limits(**limits))


def read(archive: Tarball | Folder, name: str) -> bytes:
    with archive.open(name) as file:
        return file.read()


def member(name: str, **attributes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    return info


def long_tar(**options) -> bytes:
    """An archive whose content does not compress."""
    noise = b"".join(zlib.crc32(str(i).encode()).to_bytes(4, "big") for i in range(5000))
    return tar_of([(member("a.txt"), noise), (member("b.txt"), noise)], **options)


@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_read_by_name_in_any_order(format_):
    long = "ü" * 120 + ".txt"
    files = [(member("d", type=tarfile.DIRTYPE), b""), *((member(name), text.encode()) for name, text in FILES.items())]
    if format_ != tarfile.USTAR_FORMAT:
        files.append((member(long), b"lang"))
    archive = tarball(tar_of(files, format=format_))
    assert [name for name in archive.names if name != long] == ["a/one.txt", "a/two.txt"]
    assert read(archive, "a/two.txt") == b"drei\n"
    assert read(archive, "a/one.txt") == b"eins\nzwei\n"
    assert format_ == tarfile.USTAR_FORMAT or read(archive, long) == b"lang"


def test_archive_on_disk_and_archive_in_archive(tmp_path):
    path = tmp_path / "x.tgz"
    path.write_bytes(tgz({"inner.tgz": tgz(FILES)}))
    inner = Tarball(Tarball(str(path), "x.tgz").open("inner.tgz"), "inner.tgz")
    assert read(inner, "a/one.txt") == b"eins\nzwei\n"
    assert list(tmp_path.iterdir()) == [path]


def test_folder_lists_its_own_files(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.txt").write_text("nein")
    (tmp_path / "a.txt").write_text("ja")
    folder = Folder(str(tmp_path))
    assert folder.names == ["a.txt"] and read(folder, "a.txt") == b"ja"


def without_end(content: bytes) -> bytes:
    """The archive without tar's two closing blocks, its gzip stream whole."""
    return gzip.compress(gzip.decompress(content).rstrip(b"\0") + b"\0" * 200)


def damaged_header(content: bytes) -> bytes:
    """The archive with a second member whose header is overwritten, its gzip stream whole."""
    plain = gzip.decompress(content)
    return gzip.compress(plain.replace(b"b.txt\0", b"c.txt\0", 1))


def wrong_sum(content: bytes) -> bytes:
    """The archive with another checksum at its end."""
    return content[:-8] + b"\1\2\3\4" + content[-4:]


def pax_bomb() -> bytes:
    return tar_of([(member("a.txt", pax_headers={"comment": "x" * (20 << 20)}), b"x")], format=tarfile.PAX_FORMAT)


def header_chain() -> bytes:
    """Headers on headers, each announcing the name of the next."""
    one = member("x", type=tarfile.GNUTYPE_LONGNAME, size=2).tobuf() + b"y\0".ljust(512, b"\0")
    return gzip.compress(one * 3000 + b"\0" * 1024)


@pytest.mark.parametrize(
    "content, message",
    [
        (tgz({"/etc/a": "x"}), "x.tgz: member '/etc/a' leads out of the archive; download"),
        (tgz({"a/../../b": "x"}), "member 'a/../../b' leads out"),
        (tgz({"..": "x"}), "leads out"),
        (tar_of([(member("a"), b"1"), (member("./a"), b"2")]), "x.tgz has two members 'a'; download"),
        (tgz({"a": "x"})[:-20], "x.tgz is damaged, truncated or not a .tgz archive .*; download"),
        (long_tar()[:9000], "damaged, truncated"),
        (without_end(long_tar()), "damaged, truncated"),
        (damaged_header(long_tar()), "it has a damaged header"),
        (wrong_sum(tgz({"a": "x"})), "CRC check failed"),
        (b"kein gzip", "not a .tgz archive .Not a gzipped file"),
        (b"", "x.tgz is damaged"),
        (gzip.compress(b"kein tar" * 100), "x.tgz is damaged"),
        (pax_bomb(), "x.tgz has a header of 209[0-9]+ bytes"),
        (header_chain(), "x.tgz is damaged"),
    ],
)
def test_bad_archives_are_refused(content, message):
    with pytest.raises(ValueError, match=message):
        _ = tarball(content).names


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_no_files(kind):
    content = tar_of([(member("b"), b"x"), (member("a", type=kind, linkname="/etc/passwd"), b"")])
    archive = tarball(content)
    with pytest.raises(ValueError, match="x.tgz: member 'a' is a link or device, not a plain file"):
        archive.open("a")
    assert read(archive, "b") == b"x"


def test_a_member_may_be_only_so_large():
    content = tgz({"a": b"\0" * 3000, "b": b"\0" * 3001})
    archive = tarball(content, member=3000)
    assert len(read(archive, "a")) == 3000
    with pytest.raises(ValueError, match="member 'b' has more than 3000 bytes"):
        archive.open("b")


def test_an_archive_may_unpack_to_only_so_much():
    content = tgz({"a": b"\0" * (3 << 20)})
    assert len(content) < 10_000
    with pytest.raises(ValueError, match="x.tgz unpacks to more than 1048576 bytes"):
        _ = tarball(content, archive=1 << 20).names
    assert tarball(content, archive=4 << 20).names == ["a"]


def test_a_size_that_is_a_lie_is_found_by_reading():
    huge = member("a", size=1 << 40)
    content = gzip.compress(huge.tobuf() + b"\0" * 4096)
    with pytest.raises(ValueError, match="x.tgz is damaged, truncated"):
        _ = tarball(content).names


def test_an_archive_may_have_only_so_many_members():
    assert len(tarball(tgz(dict.fromkeys("abc", "x")), count=3).names) == 3
    with pytest.raises(ValueError, match="x.tgz has more than 3 members"):
        _ = tarball(tgz(dict.fromkeys("abcd", "x")), count=3).names
