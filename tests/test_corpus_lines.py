"""corpus/lines.py: what counts as a line, and errors that name the file and the line."""

import gzip

import pytest

from fairseq_bertloss.corpus.lines import batches, fold, lowercase, read_lines, read_pairs


def write(path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def test_lines_end_at_newline_only(tmp_path):
    text = "\ufeffein\u2028Satz \x85 mit\x0bLücken\r\n\r\n  letzter\tSatz ohne Ende"
    path = write(tmp_path / "a.de", text.encode())
    assert list(read_lines(path)) == ["ein Satz mit Lücken", "", "letzter Satz ohne Ende"]


def test_gzip_reads_as_plain(tmp_path):
    text = "Zwei Hunde laufen.\nÖl\n".encode()
    plain, packed = write(tmp_path / "a.de", text), write(tmp_path / "a.de.gz", gzip.compress(text))
    assert list(read_lines(packed)) == list(read_lines(plain)) == ["Zwei Hunde laufen.", "Öl"]


def test_reading_is_a_stream(tmp_path):
    path = write(tmp_path / "a.de", b"gut\nschlecht \xff\n")
    lines = read_lines(path)
    assert next(lines) == "gut"
    with pytest.raises(ValueError, match=r"a\.de:2: not UTF-8"):
        next(lines)


def test_truncated_gzip_is_named(tmp_path):
    whole = gzip.compress("".join(f"Satz {i} von vielen\n" for i in range(5000)).encode())
    path = write(tmp_path / "a.de.gz", whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"a\.de\.gz:\d+: damaged or truncated"):
        list(read_lines(path))


def test_gzip_by_name_only_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"a\.gz:1: damaged"):
        list(read_lines(write(tmp_path / "a.gz", b"kein gzip\n")))


def test_empty_and_missing_files(tmp_path):
    with pytest.raises(ValueError, match=r"a\.de is empty"):
        list(read_lines(write(tmp_path / "a.de", b"")))
    with pytest.raises(FileNotFoundError, match="b.de"):
        list(read_lines(str(tmp_path / "b.de")))


@pytest.mark.parametrize("counts", [(3, 5), (5, 3), (1, 2)])
def test_mismatch_gives_both_counts(tmp_path, counts):
    source, target = (
        write(tmp_path / name, b"x\n" * count) for name, count in zip(("a.de", "a.en"), counts, strict=True)
    )
    with pytest.raises(ValueError, match=rf"a\.de has {counts[0]} lines but .*a\.en has {counts[1]};"):
        list(read_pairs(source, target))


def test_lowercase_knows_the_turkish_i():
    assert lowercase("IŞIK İZMİR", "tr") == "ışık izmir"
    assert lowercase("IT IS", "en") == "it is"


@pytest.mark.parametrize("language", ["tr", "en"])
def test_fold_equates_what_lower_casing_equates(language):
    for text in ("IŞIK", "İzmir", "Café", "Straße"):
        assert fold(text) == fold(lowercase(text, language))
    assert fold("Café") == fold("CAFE") != fold("caff")


def test_batches_keep_all_items_in_order():
    assert list(batches(iter(range(7)), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
