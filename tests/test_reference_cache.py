"""The cache of references: right or missing, whatever happens to its processes and files."""

import inspect
import logging
import random
import shutil
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from fairseq_bertloss.language_model.pretrained import encoder_config, fingerprint, load_encoder
from fairseq_bertloss.language_model.reference_cache import ENTRY, ReferenceCache, _Index

SIZE = 8
RECORD = 32  # bytes, the header's too


def embed(ids, size=SIZE):
    """Normalised embeddings that follow from the ids, in float32."""
    matrix = np.random.default_rng(list(ids)).standard_normal((len(ids), size), "f4")
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def corpus(count, longest=6):
    """Different sentences, each with its number in it."""
    return [[number, *range(number % longest)] for number in range(count)]


def open_cache(folder, size=SIZE, name="lm", limit=10**9):
    return ReferenceCache(str(folder), name, size, limit)


def fill(cache, sentences):
    cache.write(sentences, [embed(ids) for ids in sentences])


def found_right(found, sentences, size=SIZE):
    """Which sentences were found; none may have been found wrong."""
    for rows, ids in zip(found, sentences, strict=True):
        if rows is not None:
            assert rows.dtype == np.float16
            np.testing.assert_array_equal(rows, embed(ids, size).astype(np.float16))
    return [rows is not None for rows in found]


def files(folder, suffix):
    return sorted(folder.glob(f"lm/*{suffix}"))


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)


PROGRAM = f"""
import logging, resource, sys
import numpy as np
from fairseq_bertloss.language_model.reference_cache import ReferenceCache
SIZE = {SIZE}
{inspect.getsource(embed)}
{inspect.getsource(corpus)}
folder, size = sys.argv[1], int(sys.argv[2])
cache = ReferenceCache(folder, "lm", size, 10**9)
def fill(sentences):
    missing = [ids for ids, rows in zip(sentences, cache.read(sentences)) if rows is None]
    cache.write(missing, [embed(ids, size) for ids in missing])
"""


def start(program, *arguments):
    """A process with `cache`, `fill` and what the tests here make sentences with; it imports no torch."""
    command = [sys.executable, "-c", PROGRAM + inspect.cleandoc(program), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("convert", [np.float16, np.float32, np.float64, np.asfortranarray])
def test_what_was_written_is_read(tmp_path, convert):
    sentences = corpus(50)
    cache = open_cache(tmp_path)
    assert cache.read(sentences) == [None] * 50
    cache.write(sentences[:20], (convert(embed(ids)) for ids in sentences[:20]))
    cache.write(sentences[20:40], [convert(embed(ids)) for ids in sentences[20:40]])
    for reader in (cache, open_cache(tmp_path)):
        assert found_right(reader.read(sentences), sentences) == [True] * 40 + [False] * 10
        shuffled = random.Random(0).choices(sentences, k=70)
        assert sum(found_right(reader.read(shuffled), shuffled)) == sum(ids[0] < 40 for ids in shuffled)
    assert not reader.read(sentences)[0].flags.writeable


def test_nothing_to_read_or_write(tmp_path):
    cache = open_cache(tmp_path)
    cache.write([], [])
    assert cache.read([]) == [] and not files(tmp_path, "")
    cache.write([[]], [embed([])])
    assert cache.read([[]])[0].shape == (0, SIZE)


def test_a_sentence_twice_in_a_batch_is_kept_once(tmp_path):
    cache = open_cache(tmp_path)
    fill(cache, [[1, 2], [3], [1, 2]])
    assert files(tmp_path, ".data")[0].stat().st_size == 3 * SIZE * 2
    assert found_right(cache.read([[3], [1, 2], [1]]), [[3], [1, 2], [1]]) == [True, True, False]


def test_rounding_is_bounded(tmp_path):
    exact = np.random.default_rng(0).standard_normal((3000, 64)) * np.logspace(-6, 0, 64)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    cache = open_cache(tmp_path, size=64)
    cache.write([range(3000)], [exact])
    kept = cache.read([range(3000)])[0].astype(np.float64)
    assert (np.abs(kept - exact) <= np.abs(exact) / 2**11 + 2**-25).all()
    assert (kept != exact).any()
    cosines = (kept / np.linalg.norm(kept, axis=1, keepdims=True)) @ exact.T
    assert np.abs(cosines - exact @ exact.T).max() < 2**-10


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 7e4, -7e4])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_what_float16_cannot_hold_stays_missing(tmp_path, value, dtype):
    cache = open_cache(tmp_path)
    sentences = [[1, 2], [3, 4], [5]]
    with np.errstate(over="ignore"):
        embeddings = [embed(ids).astype(dtype) for ids in sentences]
        embeddings[1][1, 5] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.write(sentences, embeddings)
        assert found_right(cache.read(sentences), sentences) == [True, False, True]


def test_embeddings_that_do_not_belong_to_the_sentences(tmp_path):
    cache = open_cache(tmp_path)
    with pytest.raises(ValueError, match=r"embeddings \(3, 8\) of 2 tokens, each of size 8"):
        cache.write([[1, 2]], [embed([1, 2, 3])])
    with pytest.raises(ValueError, match=r"embeddings \(2, 9\)"):
        cache.write([[1, 2]], [embed([1, 2], 9)])
    with pytest.raises(ValueError, match="shorter"):
        cache.write([[1, 2], [3]], [embed([1, 2])])
    assert cache.read([[1, 2]]) == [None]


def test_another_fingerprint_sees_nothing(tmp_path):
    fill(open_cache(tmp_path), corpus(5))
    other = open_cache(tmp_path, name="other")
    assert other.read(corpus(5)) == [None] * 5
    fill(other, corpus(3))
    assert found_right(open_cache(tmp_path).read(corpus(5)), corpus(5)) == [True] * 5


def test_a_reader_sees_files_grow(tmp_path):
    sentences = corpus(300)
    reader, writer = open_cache(tmp_path), open_cache(tmp_path)
    views = []
    for end in range(0, 301, 20):
        fill(writer, sentences[max(end - 20, 0) : end])
        views.append(reader.read(sentences))
        assert found_right(views[-1], sentences) == [True] * end + [False] * (300 - end)
    for view in views:
        found_right(view, sentences)  # those of the shorter maps still hold
    assert sum(len(entries) for _, entries in reader._index._runs) == 300, "records were read twice"
    fill(open_cache(tmp_path), corpus(310)[300:])
    assert found_right(reader.read(corpus(310)), corpus(310)) == [True] * 310


def test_a_record_counts_once_it_is_whole(tmp_path):
    fill(open_cache(tmp_path / "whole"), corpus(4))
    data, index = (files(tmp_path / "whole", suffix)[0].read_bytes() for suffix in (".data", ".index"))
    reader = open_cache(tmp_path)
    (tmp_path / "lm" / "a.data").write_bytes(data)
    for size in range(len(index) + 1):
        (tmp_path / "lm" / "a.index").write_bytes(index[:size])
        assert sum(found_right(reader.read(corpus(4)), corpus(4))) == max(size // RECORD - 1, 0)


def test_what_is_there_is_read_without_a_look_into_the_folder(tmp_path):
    fill(open_cache(tmp_path), corpus(5))
    reader = open_cache(tmp_path)
    reader.read(corpus(5))
    shutil.rmtree(tmp_path / "lm")
    assert found_right(reader.read(corpus(5)), corpus(5)) == [True] * 5


def test_a_folder_removed_in_the_middle(tmp_path, caplog):
    cache = open_cache(tmp_path)
    fill(cache, corpus(5))
    shutil.rmtree(tmp_path / "lm")
    assert cache.read(corpus(5)) == [None] * 5
    fill(cache, corpus(5))
    fill(cache, corpus(9))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "No such file" in caplog.text and "from now on" in caplog.text


def test_two_processes_write_at_once(tmp_path):
    program = """
        print("ready", flush=True)
        input()
        sentences = corpus(1500)[::int(sys.argv[3])]
        for first in range(0, 1500, 10):
            fill(sentences[first : first + 10])
        print(sum((rows == embed(ids).astype("f2")).all() for rows, ids in zip(cache.read(sentences), sentences)))
    """
    processes = [start(program, tmp_path, SIZE, direction) for direction in (1, -1)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        assert process.communicate() == ("1500\n", "")
    assert all(found_right(open_cache(tmp_path).read(corpus(1500)), corpus(1500)))
    indexes = files(tmp_path, ".index")
    assert len(indexes) == 2
    records = sum(path.stat().st_size // RECORD - 1 for path in indexes)
    assert records < 3000, "neither found what the other had written"


def test_killed_writers_leave_a_right_cache(tmp_path, caplog):
    """Each is killed when its data have reached a size by chance, mostly in the middle of a write."""
    program = """
        sentences = corpus(2000 * (int(sys.argv[3]) + 1), 40)[-2000:]
        embeddings = [embed(ids, size) for ids in sentences]
        print("ready", flush=True)
        for first in range(0, 2000, 20):
            cache.write(sentences[first : first + 20], embeddings[first : first + 20])
        input()
    """
    size, numbers, left_behind = 64, [], {}
    for attempt in range(6):
        process = start(program, tmp_path, size, attempt)
        assert process.stdout.readline() == "ready\n"
        enough = random.Random(attempt).uniform(0.01, 0.5) * 2000 * 20 * size * 2
        while not any(path.stat().st_size > enough for path in set(files(tmp_path, ".data")) - set(left_behind)):
            assert process.poll() is None, process.stderr.read()
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        sentences = corpus(2000 * (attempt + 1), 40)[-2000:]
        there = found_right(open_cache(tmp_path, size).read(sentences), sentences, size)
        numbers.append(sum(there))
        assert all(there[: numbers[-1]]), "what was written before is whole"
        states = {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in files(tmp_path, "")}
        assert left_behind.items() <= states.items(), "a file of an earlier process has changed"
        left_behind = states
    assert any(0 < number < 2000 for number in numbers)
    rest = sentences[numbers[-1] :]
    open_cache(tmp_path, size).write(rest, [embed(ids, size) for ids in rest])
    assert all(found_right(open_cache(tmp_path, size).read(sentences), sentences, size))
    assert not caplog.records, "a record was there before its data"


def test_lost_data_are_missing(tmp_path, caplog):
    fill(open_cache(tmp_path), corpus(5))
    data = files(tmp_path, ".data")[0]
    data.unlink()
    assert open_cache(tmp_path).read(corpus(5)) == [None] * 5
    assert len(caplog.records) == 1 and str(data) in caplog.text


@pytest.mark.parametrize("cut", [1, 2 * SIZE - 1, 2 * SIZE, 100, 10**6])
def test_truncated_data_are_missing_and_written_anew(tmp_path, caplog, cut):
    sentences = corpus(12)
    fill(open_cache(tmp_path), sentences)
    data = files(tmp_path, ".data")[0]
    kept = max(data.stat().st_size - cut, 0)
    data.write_bytes(data.read_bytes()[:kept])
    ends = np.cumsum([len(ids) for ids in sentences]) * SIZE * 2
    cache = open_cache(tmp_path)
    for _ in range(2):
        assert found_right(cache.read(sentences), sentences) == (ends <= kept).tolist()
    assert [record.levelname for record in caplog.records] == ["WARNING"] and str(data) in caplog.text
    fill(cache, [ids for ids, end in zip(sentences, ends, strict=True) if end > kept])
    for reader in (cache, open_cache(tmp_path)):
        assert all(found_right(reader.read(sentences), sentences))


def test_a_flipped_byte_never_gives_wrong_embeddings(tmp_path, caplog):
    sentences = corpus(4)
    fill(open_cache(tmp_path), sentences)
    data, index = (files(tmp_path, suffix)[0] for suffix in (".data", ".index"))
    owner = np.repeat(range(4), [len(ids) * SIZE * 2 for ids in sentences])
    for position, sentence in enumerate(owner):
        flip(data, position)
        assert found_right(open_cache(tmp_path).read(sentences), sentences) == [i != sentence for i in range(4)]
        flip(data, position)
    assert len(caplog.records) == len(owner)
    for position in range(index.stat().st_size):
        flip(index, position)
        hit = position // RECORD - 1
        expected = [hit not in (-1, i) for i in range(4)]  # without its header it is not ours
        assert found_right(open_cache(tmp_path).read(sentences), sentences) == expected
        flip(index, position)
    cache = open_cache(tmp_path)
    assert all(found_right(cache.read(sentences), sentences))


def test_what_is_damaged_is_found_in_another_file(tmp_path, caplog):
    for _ in range(2):  # as two workers that computed it at once
        fill(open_cache(tmp_path), [[1, 2, 3]])
    for damaged in files(tmp_path, ".data"):
        flip(damaged, 7)
        assert found_right(open_cache(tmp_path).read([[1, 2, 3]]), [[1, 2, 3]]) == [True]
        flip(damaged, 7)
    for damaged in files(tmp_path, ".data"):
        flip(damaged, 7)
    assert open_cache(tmp_path).read([[1, 2, 3]]) == [None]


def test_files_of_others_are_left_alone(tmp_path, caplog):
    sentences = corpus(5)
    fill(open_cache(tmp_path), sentences)
    other_size = open_cache(tmp_path, size=SIZE + 1)
    assert other_size.read(sentences) == [None] * 5 and "left out" in caplog.text
    caplog.clear()
    folder = tmp_path / "lm"
    strange = {"README": b"hello", "a.index": b"x" * 500, "b.index": b"bertloss", "c.index": b"", "d.data": b"x" * 9}
    for name, content in strange.items():
        (folder / name).write_bytes(content)
    (folder / "e.index").mkdir()
    cache = open_cache(tmp_path)
    for _ in range(2):
        assert found_right(cache.read(corpus(8)), corpus(8)) == [True] * 5 + [False] * 3
    fill(cache, corpus(8)[5:])
    assert all(found_right(cache.read(corpus(8)), corpus(8)))
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert "a.index" in caplog.text and "e.index" in caplog.text
    assert {name: (folder / name).read_bytes() for name in strange} == strange


def test_reserve_says_how_large_the_files_become(tmp_path, caplog):
    sentences = corpus(1000)
    cache = open_cache(tmp_path)
    with caplog.at_level(logging.INFO):
        bytes_reserved = cache.reserve(1000, sum(map(len, sentences)))
    assert caplog.messages == [
        f"1,000 references (3,496 tokens of 8 values in float16) take at most 0.00 GB in {tmp_path}/lm, "
        "where 0.00 GB are already"
    ]
    fill(cache, sentences)
    assert sum(path.stat().st_size for path in files(tmp_path, "")) == bytes_reserved


def test_reserve_refuses_what_there_is_no_room_for(tmp_path, monkeypatch):
    def disk(free: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, free))

    disk(free=10**12)
    cache = open_cache(tmp_path, size=768, limit=5 * 10**9)
    assert cache.reserve(100_000, 3_250_000) < 5 * 10**9
    expected = (
        r"170,000 references .5,000,000 tokens of 768 .* take at most 7.69 GB.* the cap is 5.00 GB.*references-limit"
    )
    with pytest.raises(ValueError, match=expected):
        cache.reserve(170_000, 5_000_000)
    boundless = open_cache(tmp_path, size=768, limit=10**30)
    with pytest.raises(ValueError, match=r"1,536,000,032,000.00 GB in .* the disk has only .* GB free"):
        boundless.reserve(10**12, 10**18)

    fill(open_cache(tmp_path), corpus(100))
    there = sum(path.stat().st_size for path in files(tmp_path, ""))
    needed = boundless.reserve(10, 1000)
    for free, refused in ((needed - there, False), (needed - there - 1, True)):
        disk(free)
        if refused:
            with pytest.raises(ValueError, match="the disk has only 0.00 GB free"):
                boundless.reserve(10, 1000)
        else:
            assert boundless.reserve(10, 1000) == needed


def test_the_cap_is_reached_in_the_middle(tmp_path, caplog):
    sentences = corpus(100)
    first = open_cache(tmp_path, limit=RECORD + 40 * (RECORD + 6 * SIZE * 2))
    fill(first, sentences[:20])
    second = open_cache(tmp_path, limit=first._limit)
    for start_at in range(20, 100, 10):
        fill(second, sentences[start_at : start_at + 10])
    assert sum(path.stat().st_size for path in files(tmp_path, "")) <= first._limit
    there = found_right(second.read(sentences), sentences)
    assert sum(there) == 50 and all(there[:50])
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "the cap of 0.00 GB (--cache-references-limit) is reached" in caplog.text
    fill(open_cache(tmp_path), sentences[50:])
    assert all(found_right(second.read(sentences), sentences))


@pytest.mark.parametrize("size, longest", [(SIZE, 6), (1, 1)], ids=["data", "index"])
def test_a_full_disk(tmp_path, caplog, size, longest):
    """A limit on the size of a file stands for the disk: a write stops in the middle and fails."""
    program = """
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_011, 20_011))
        sentences = corpus(2000, int(sys.argv[3]))
        for first in range(0, 2000, 100):
            fill(sentences[first : first + 100])
        print("done")
    """
    process = start(program, tmp_path, size, longest)
    output, errors = process.communicate()
    assert output == "done\n"
    assert errors.count("\n") == 1 and "File too large" in errors and "from now on" in errors
    full = files(tmp_path, ".data" if size == SIZE else ".index")[0]
    assert full.stat().st_size == 20_011, "nothing was cut off in the middle"
    sentences = corpus(2000, longest)
    cache = open_cache(tmp_path, size)
    there = found_right(cache.read(sentences), sentences, size)
    assert 0 < sum(there) < 2000 and all(there[: sum(there)])
    rest = sentences[sum(there) :]
    cache.write(rest, [embed(ids, size) for ids in rest])
    assert all(found_right(cache.read(sentences), sentences, size))
    assert not caplog.records


@pytest.mark.parametrize("folder", ["file", "file/below", "/proc/cache"])
def test_a_folder_that_cannot_be(tmp_path, folder):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=f"--cache-references .*{folder}: cannot write there .*choose another"):
        open_cache(tmp_path / folder)


def test_the_index_tells_digests_apart_by_both_halves():
    generator = np.random.default_rng(0)
    index, places = _Index(), {}
    for shard, count in enumerate(generator.integers(0, 60, 40).tolist()):
        entries = np.zeros(count, ENTRY)
        entries["head"], entries["tail"] = generator.integers(0, 9, (2, count), "u8") << 60
        entries["first_token"], entries["tokens"], entries["crc32"] = generator.integers(0, 2**32, (3, count), "u8")
        entries["shard"] = shard
        index.add(entries)
        for head, tail, *place in entries.tolist():
            places.setdefault((head, tail), set()).add(tuple(place))
    wanted = np.zeros(100, ENTRY)
    wanted["head"], wanted["tail"] = np.divmod(np.arange(100, dtype="u8"), 10) << np.uint64(60)
    found = index.find(wanted)
    assert [set(list_) for list_ in found] == [places.get((head, tail), set()) for head, tail, *_ in wanted.tolist()]
    assert sum(map(len, found)) == sum(map(len, places.values())) and [] in found


def test_the_fingerprint_names_all_that_embeddings_depend_on(tiny_lm, tmp_path):
    bert = tiny_lm("bert")

    def load(folder=bert):
        return load_encoder(str(folder), encoder_config(str(folder)))

    name = fingerprint(load(), 2, "float32")
    assert len(name) == 32 and int(name, 16)
    moved = shutil.copytree(bert, tmp_path / "moved")
    assert fingerprint(load(moved), 2, "float32") == name
    changed = load()
    weight = changed.encoder.layer[1].output.dense.weight.data
    weight[3, 5] = torch.nextafter(weight[3, 5], torch.tensor(9.0))
    configured = load()
    configured.config.layer_norm_eps *= 2
    others = [
        fingerprint(load(), 1, "float32"),
        fingerprint(load(), 2, "bfloat16"),
        fingerprint(changed, 2, "float32"),
        fingerprint(configured, 2, "float32"),
        fingerprint(load().half(), 2, "float32"),
        fingerprint(load().bfloat16(), 2, "float32"),
        fingerprint(load(tiny_lm("electra")), 2, "float32"),
    ]
    assert len({name, *others}) == 8


def test_the_files_need_only_numpy(tmp_path):
    process = start('print("torch" in sys.modules)', tmp_path, SIZE)
    assert process.communicate() == ("False\n", "")
