"""Bad input to the `bertloss` command: one line that says what is wrong and where, status 2, and nothing left behind."""

import gzip
import io
import json
import os
import pickle
import re
import shutil
import socket
import tarfile
import zipfile
from pathlib import Path

import lms
import pytest
import torch
from prepared import write_corpus

from fairseq_bertloss import cli


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path):
        self._path = path

    def __reduce__(self):
        return (Path.touch, (self._path,))


@pytest.fixture
def here(tmp_path, tiny_lm, monkeypatch):
    """A folder with good input of every kind: text/, lm/, hyp.txt, ref.txt, text.tgz."""
    (tmp_path / "text").mkdir()
    write_corpus(tmp_path / "text")
    shutil.copytree(tiny_lm("bert"), tmp_path / "lm")
    (tmp_path / "hyp.txt").write_text("a man\na dog\n", encoding="utf-8")
    (tmp_path / "ref.txt").write_text("a man\nthe dog\n", encoding="utf-8")
    (tmp_path / "hyp2.txt").write_text("one man\na dog\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def everything(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


PREPARE = ("prepare --source text/source.txt --target text/target.txt --lm lm --source-lang de --target-lang en --merges 50 "
           "--destdir out")  # fmt: skip
SCORE = "score --reference ref.txt --lm lm --layer 2 hyp.txt"
COMPARE = "compare --baseline hyp.txt --system new=hyp2.txt --reference ref.txt --lm lm --layer 2 --output out.json"
EXTRACT = "extract archive --corpus wit3 --source-lang de --target-lang en --valid dev2010 --test tst2010 --destdir out"
PLAIN = "extract plain --corpus plain --source-lang de --target-lang en --destdir out"
VOCABULARY = "vocabulary --lm lm --output dict.txt"
REPORT = "report --runs runs --output page.html"
ENTROPY = "entropy data --system a model.pt generated.out --output out.json"
CURVE = "curve data --baseline model.pt --run a=runs --reference ref.txt --lm lm --layer 2 --output out.json"
AVERAGE = "average model.pt model.pt --output out.pt"
WHEEL = "homeassistant ha.whl --source-lang de --target-lang en --destdir out"


def write(name: str, content: str | bytes):
    """A change of the folder."""

    def change(here: Path) -> None:
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return change


def remove(name: str):
    return lambda here: (here / name).unlink()


def truncated_gzip(name: str):
    return lambda here: write(name, gzip.compress(b"Ein Mann.\n" * 1000)[:-20])(here)


def archive(*members: tuple[str, bytes], link: str | None = None):
    def change(here: Path) -> None:
        with tarfile.open(here / "archive", "w:gz") as tar:
            for name, content in members:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            if link:
                info = tarfile.TarInfo("link")
                info.type, info.linkname = tarfile.SYMTYPE, link
                tar.addfile(info)

    return change


def both(*changes):
    def change(here: Path) -> None:
        for one in changes:
            one(here)

    return change


def config(**values):
    """Other facts in the language model's config.json."""

    def change(here: Path) -> None:
        path = here / "lm" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def pickled_weights(here: Path) -> None:
    (here / "lm" / "model.safetensors").unlink()
    torch.save({"x": Trap(here / "made-by-a-pickle")}, here / "lm" / "pytorch_model.bin")


def truncated_weights(here: Path) -> None:
    path = here / "lm" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:2000])


def gpt2(here: Path) -> None:
    from transformers import GPT2Config, GPT2Model

    GPT2Model(GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=200)).save_pretrained(here / "lm")


def without_room(here: Path) -> None:
    lms.save_tiny("bert", str(here / "lm"), max_position_embeddings=2)


def malicious(name: str):
    def change(here: Path) -> None:
        with open(here / name, "wb") as file:
            pickle.dump({"cfg": Trap(here / "made-by-a-pickle")}, file)

    return change


def malicious_zip(name: str):
    return lambda here: torch.save({"cfg": Trap(here / "made-by-a-pickle")}, here / name)


def whl(**members: str):
    def change(here: Path) -> None:
        with zipfile.ZipFile(here / "ha.whl", "w") as file:
            for name, content in members.items():
                file.writestr(name, content)

    return change


def pipe(name: str):
    """A pipe that nobody writes to: whoever opens it waits for ever."""

    def change(here: Path) -> None:
        (here / name).unlink(missing_ok=True)
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(here / name)

    return change


def socket_file(name: str):
    def change(here: Path) -> None:
        (here / name).unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(name)  # whole paths of temporary folders are too long

    return change


def link(name: str, target: str):
    return lambda here: (here / name).symlink_to(target)


LONG = "a " * 100_000 + "\n"
AGAIN = (
    "and is read more than once: write what comes from it to a file first .one whose name ends in .gz is read as it is"
)
SPLIT = "fairseq would take {} for several paths, apart by ':': give a path that does not have it"

CASES = {
    "missing source": (PREPARE, remove("text/source.txt"), "text/source.txt: No such file"),
    "source is a folder": (
        PREPARE,
        both(remove("text/source.txt"), lambda h: (h / "text/source.txt").mkdir()),
        "text/source.txt: Is a directory",
    ),
    "source is a pipe": (PREPARE, pipe("text/source.txt"), f"text/source.txt is a pipe, {AGAIN}"),
    "target is a pipe": (PREPARE, pipe("text/target.txt"), f"text/target.txt is a pipe, {AGAIN}"),
    "source is a gzipped pipe": (
        PREPARE.replace("source.txt", "source.gz"),
        pipe("text/source.gz"),
        f"text/source.gz is a pipe, {AGAIN}",
    ),
    "validation is a pipe": (PREPARE + " --valid-source v --valid-target ref.txt", pipe("v"), f"v is a pipe, {AGAIN}"),
    "source is a socket": (PREPARE, socket_file("text/source.txt"), f"text/source.txt is a socket, {AGAIN}"),
    "source is a device": (PREPARE.replace("text/source.txt", "/dev/null"), None, f"/dev/null is a device, {AGAIN}"),
    "destination that fairseq splits": (
        PREPARE.replace("destdir out", "destdir a:b/out"),
        None,
        SPLIT.format("a:b/out"),
    ),
    "destination that fairseq splits, absolute": (
        PREPARE.replace("destdir out", "destdir /tmp/a:b"),
        None,
        SPLIT.format("/tmp/a:b"),
    ),
    "empty source": (PREPARE, write("text/source.txt", ""), "text/source.txt is empty"),
    "both empty": (
        PREPARE,
        both(write("text/source.txt", ""), write("text/target.txt", "")),
        "text/source.txt is empty",
    ),
    "blank lines alone": (
        PREPARE,
        both(write("text/source.txt", "\n \n"), write("text/target.txt", "\n\n")),
        "no training pair of text/source.txt and text/target.txt is left: 2 read, 2 empty source; check the text",
    ),
    "fewer lines": (
        PREPARE,
        write("text/target.txt", "One.\n"),
        "text/source.txt has 11 lines but text/target.txt has 1; line i of one must be the translation of line i",
    ),
    "NUL": (
        PREPARE,
        write("text/source.txt", b"Ein\0 Mann.\n" * 11),
        "text/source.txt:1: not text: there is a NUL character; convert the file to UTF-8",
    ),
    "lone surrogate": (
        PREPARE,
        write("text/source.txt", b"gut\n" * 5 + b"\xed\xa0\x80 Mann.\n" * 6),
        "text/source.txt:6: not UTF-8: invalid continuation byte at byte 1",
    ),
    "Latin-1": (
        PREPARE,
        write("text/source.txt", "gut\nMänner\n".encode("latin-1")),
        "text/source.txt:2: not UTF-8: .* at byte 2",
    ),
    "UTF-16": (
        PREPARE,
        write("text/source.txt", "gut\nMänner\n".encode("utf-16")),
        "text/source.txt:1: not UTF-8: invalid start byte at byte 1",
    ),
    "truncated gzip": (
        PREPARE.replace("source.txt", "source.gz"),
        truncated_gzip("text/source.gz"),
        "text/source.gz:[0-9]+: damaged or truncated gzip file",
    ),
    "no gzip": (
        PREPARE.replace("source.txt", "source.gz"),
        write("text/source.gz", "Ein Mann.\n"),
        "text/source.gz:1: damaged or truncated gzip file: Not a gzipped file",
    ),
    "only endless lines": (
        PREPARE,
        both(write("text/source.txt", LONG), write("text/target.txt", LONG)),
        "is left: 1 read, 1 long source; check the text, --max-length",
    ),
    "merges 0": (PREPARE + " --merges 0", None, "--merges must be at least 1, not 0"),
    "merges -5": (PREPARE + " --merges -5", None, "--merges must be at least 1, not -5"),
    "max length 0": (PREPARE + " --max-length 0", None, "--max-length must be at least 1, not 0"),
    "max length 1": (
        PREPARE + " --max-length 1",
        None,
        "is left: 11 read, .* 9 long source; check the text, --max-length",
    ),
    "max ratio 0.5": (PREPARE + " --max-ratio 0.5", None, "--max-ratio must be at least 1, not 0.5"),
    "no workers": (PREPARE + " --workers 0", None, "--workers must be at least 1, not 0"),
    "destination holds something": (
        PREPARE,
        write("out/mine.txt", "mine"),
        "/out exists and has no prepare.json, so it is not overwritten; choose another --destdir",
    ),
    "destination is a file": (
        PREPARE,
        write("out", "mine"),
        "/out exists and has no prepare.json, so it is not overwritten; choose another --destdir",
    ),
    "destination below a file": (
        PREPARE.replace("destdir out", "destdir ref.txt/out"),
        None,
        "ref.txt/out.partial: Not a directory",
    ),
    "no language model": (
        PREPARE.replace("--lm lm", "--lm nothing"),
        None,
        "cannot load the language model's tokenizer from 'nothing': .*pass a Hugging Face hub name .* or an existing folder",
    ),
    "language model without tokenizer": (
        PREPARE,
        both(remove("lm/tokenizer.json"), remove("lm/tokenizer_config.json")),
        "cannot load the language model's tokenizer from 'lm': .*the folder must hold",
    ),
    "broken tokenizer": (
        PREPARE,
        write("lm/tokenizer.json", "{"),
        "cannot load the language model's tokenizer from 'lm': .*the folder must hold",
    ),
    "one language": (
        PREPARE.replace("target-lang en", "target-lang de"),
        None,
        "source and target language are both 'de'",
    ),
    "language with a slash": (
        PREPARE.replace("source-lang de", "source-lang ../de"),
        None,
        "language code '../de': fairseq's file names allow letters, digits and _ only",
    ),
    "validation's source alone": (
        PREPARE + " --valid-source text/valid-source.txt",
        None,
        "--valid-source and --valid-target go together",
    ),
    "empty validation": (
        PREPARE + " --valid-source v.de --valid-target v.en",
        both(write("v.de", ""), write("v.en", "")),
        "v.de is empty",
    ),
    "missing hypotheses": (SCORE, remove("hyp.txt"), "cannot read hyp.txt: No such file"),
    "fewer hypotheses": (
        SCORE,
        write("hyp.txt", "a man\n"),
        "hyp.txt has 1 sentences and the reference ref.txt has 2; both must be of one test set",
    ),
    "hypotheses in Latin-1": (SCORE, write("hyp.txt", "a man\ncaf\u00e9\n".encode("latin-1")), "hyp.txt:2: not UTF-8"),
    "missing references": (SCORE, remove("ref.txt"), "cannot read ref.txt: No such file"),
    "hypotheses are a folder": (SCORE.replace("hyp.txt", "text"), None, "cannot read text: Is a directory"),
    "hypotheses are a socket": (SCORE, socket_file("hyp.txt"), "cannot read hyp.txt: No such device or address"),
    "nothing to score": (SCORE, both(write("hyp.txt", ""), write("ref.txt", "")), "ref.txt is empty"),
    "cut output of fairseq-generate": (
        SCORE,
        write("hyp.txt", "S-0\tein Mann\nT-0\ta man\nH-0\t-0.5\n"),
        "hyp.txt has 3 sentences and the reference ref.txt has 2",
    ),
    "layer 99": (
        SCORE.replace("layer 2", "layer 99"),
        None,
        "the language model 'lm' has layers 0 .* to 3, no layer 99",
    ),
    "layer -1": (SCORE.replace("layer 2", "layer -1"), None, "has layers 0 .* to 3, no layer -1"),
    "no layer for an unknown model": (
        SCORE.replace("--layer 2", ""),
        None,
        "bert-score names no scoring layer for 'lm': choose one .*--layer N",
    ),
    "truncated weights": (
        SCORE,
        truncated_weights,
        "cannot load the language model's weights from 'lm': .*the folder must hold",
    ),
    "weights in a pickle": (SCORE, pickled_weights, "cannot load the language model's weights from 'lm'"),
    "broken config": (SCORE, write("lm/config.json", "{"), "'lm/config.json' is not a valid JSON file"),
    "unknown family": (
        SCORE,
        config(model_type="madeup"),
        "cannot load the language model's configuration from 'lm': .*`madeup`",
    ),
    "code of its own": (
        SCORE,
        both(
            config(model_type="madeup", auto_map={"AutoConfig": "evil.C", "AutoModel": "evil.M"}),
            write("lm/evil.py", "open('made-by-code', 'w')"),
        ),
        "cannot load the language model's configuration from 'lm': .*custom code",
    ),
    "decoder only": (
        SCORE,
        gpt2,
        "the language model 'lm' .gpt2. is not built like BERT: choose an encoder such as BERT",
    ),
    "no room for a sentence": (
        SCORE,
        without_room,
        "the language model 'lm' has 2 positions, .* choose another language model",
    ),
    "no room for a sentence, for BERTScore alone": (
        SCORE + " --moverscore-lm moverscore-lm",
        both(lambda h: shutil.copytree(h / "lm", h / "moverscore-lm"), without_room),
        "the language model 'lm' has 2 positions, .* choose another language model",
    ),
    "a name twice": (COMPARE + " --system new=hyp.txt", None, "two systems have the name 'new'"),
    "level 0": (COMPARE + " --level 0", None, "--level must lie between 0 and 0.5, not 0.0"),
    "no resamples": (COMPARE + " --resamples 0", None, "--resamples must be at least 1000 for --level 0.01, not 0"),
    "system without a name": (
        COMPARE.replace("new=hyp2.txt", "hyp2.txt"),
        None,
        "--system hyp2.txt has no name: give NAME=FILE",
    ),
    "missing run": (
        COMPARE.replace("new=hyp2.txt", "new=hyp2.txt,hyp3.txt"),
        None,
        "cannot read hyp3.txt: No such file",
    ),
    "output in no folder": (
        COMPARE.replace("out.json", "no/out.json"),
        None,
        "no/out.json: there is no folder no; make it first",
    ),
    "output is a pipe": (COMPARE, pipe("out.json"), "out.json is a pipe: name a file, which appears when it is whole"),
    "dictionary is a pipe": (VOCABULARY, pipe("dict.txt"), "dict.txt is a pipe: name a file"),
    "dictionary is a device": (
        VOCABULARY.replace("dict.txt", "/dev/null"),
        None,
        "/dev/null leads to /dev, which is the system's: name a file",
    ),
    "output is a link to a pipe": (
        COMPARE,
        both(pipe("pipe"), link("out.json", "pipe")),
        "out.json is a pipe: name a file",
    ),
    "output is an open file": (
        COMPARE.replace("out.json", "/proc/self/fd/0"),
        None,
        "/proc/self/fd/0 leads to /proc/self/fd, which is the system's: name a file",
    ),
    "output is a link to an open file": (
        COMPARE,
        link("out.json", "/dev/fd/0"),
        "out.json leads to /dev/fd, which is the system's: name a file",
    ),
    "output is standard output": (
        COMPARE.replace("out.json", "/dev/stdout"),
        None,
        "/dev/stdout leads to /dev, which is the system's: name a file",
    ),
    "output is a link into no folder": (
        COMPARE,
        link("out.json", "no/x.json"),
        "out.json: there is no folder ./no; make it first",
    ),
    "output is a link to a folder": (COMPARE, link("out.json", "text"), "out.json is a folder: name a file"),
    "output is a link to itself": (COMPARE, link("out.json", "out.json"), "out.json leads in a circle: name a file"),
    "dictionary is a link to an open file": (
        VOCABULARY,
        link("dict.txt", "/proc/self/fd/0"),
        "dict.txt leads to /proc/self/fd, which is the system's: name a file",
    ),
    "a table of the report is a link to an open file": (
        REPORT,
        both(lambda h: (h / "runs").mkdir(), link("page.table.md", "/proc/self/fd/1")),
        "page.table.md leads to /proc/self/fd, which is the system's",
    ),
    "average over a checkpoint, by a link": (
        AVERAGE,
        both(write("model.pt", "x"), link("out.pt", "model.pt")),
        "out.pt is one of the checkpoints to average: give another --output",
    ),
    "dictionary in no folder": (
        VOCABULARY.replace("dict.txt", "no/dict.txt"),
        None,
        "no/dict.txt: there is no folder no; make it first",
    ),
    "dictionary is a folder": (VOCABULARY.replace("dict.txt", "text"), None, "text is a folder: name a file"),
    "no archive": (EXTRACT, None, "archive does not exist; it should be an archive of WIT3"),
    "archive is a pipe": (EXTRACT, pipe("archive"), f"archive is a pipe, {AGAIN}"),
    "archive to download is a pipe": (EXTRACT + " --download", pipe("archive"), f"archive is a pipe, {AGAIN}"),
    "archive is text": (
        EXTRACT,
        write("archive", "hello"),
        "archive is damaged, truncated or not a .tgz archive .*; download the archive again",
    ),
    "truncated archive": (
        EXTRACT,
        both(
            archive(("x/train.tags.de-en.de", os.urandom(9000))),
            lambda h: write("archive", (h / "archive").read_bytes()[:4000])(h),
        ),
        "archive is damaged, truncated or not a .tgz archive .*; download the archive again",
    ),
    "member above the archive": (
        EXTRACT,
        archive(("../../evil.txt", b"x")),
        "archive: member '../../evil.txt' leads out of the archive",
    ),
    "absolute member": (
        EXTRACT,
        archive(("/tmp/evil-member.txt", b"x")),
        "archive: member '/tmp/evil-member.txt' leads out of the archive",
    ),
    "link out of the archive": (
        EXTRACT,
        archive(link="/etc/passwd"),
        "archive has neither train.tags.de-en.de nor texts/de/en/de-en.tgz",
    ),
    "another pair's archive": (
        EXTRACT,
        archive(("zh-en/train.tags.zh-en.zh", b"x"), ("zh-en/train.tags.zh-en.en", b"x")),
        "archive has neither train.tags.de-en.de nor",
    ),
    "no files": (PLAIN, lambda h: (h / "plain").mkdir(), "plain has no set 'train'; its sets: none"),
    "set is a pipe": (
        PLAIN,
        both(pipe("plain/train.de"), write("plain/train.en", "x\n")),
        f"plain/train.de is a pipe, {AGAIN}",
    ),
    "set is a folder": (
        PLAIN,
        both(lambda h: (h / "plain/train.de").mkdir(parents=True), write("plain/train.en", "x\n")),
        "plain/train.de: Is a directory",
    ),
    "unknown split": (
        PLAIN + " --at-most dev=3",
        write("plain/train.de", "x\n"),
        "--at-most names the split 'dev', but those written are train",
    ),
    "every 0th": (
        PLAIN + " --valid-every 0",
        both(write("plain/train.de", "x\n"), write("plain/train.en", "x\n")),
        "--valid-every must be 2 or more, not 0",
    ),
    "unknown set": (
        PLAIN + " --valid dev",
        both(write("plain/train.de", "x\n"), write("plain/train.en", "x\n")),
        "plain has no set 'dev'; its sets: train",
    ),
    "no wheel": (WHEEL, None, "ha.whl: No such file or directory"),
    "wheel is a pipe": (WHEEL, pipe("ha.whl"), f"ha.whl is a pipe, {AGAIN}"),
    "wheel is a folder": (WHEEL, lambda h: (h / "ha.whl").mkdir(), "ha.whl: Is a directory"),
    "language that the wheel lacks": (
        WHEEL.replace("lang de", "lang xx"),
        whl(**{"homeassistant/components/a/translations/en.json": "{}"}),
        "ha.whl has no translations into 'xx', only en",
    ),
    "wheel is no zip": (WHEEL, write("ha.whl", "x"), "ha.whl is not a wheel: File is not a zip file"),
    "wheel without translations": (
        WHEEL,
        whl(**{"homeassistant/x.py": "x"}),
        "ha.whl has no homeassistant/components/.*; is it a wheel of Home Assistant",
    ),
    "no report's comparison": (
        REPORT,
        lambda h: (h / "runs").mkdir(),
        "there is no comparison in runs/comparison.json: write it with `bertloss compare",
    ),
    "broken comparison": (
        REPORT,
        write("runs/comparison.json", "{"),
        "cannot read runs/comparison.json: Expecting property name",
    ),
    "another comparison": (
        REPORT,
        write("runs/comparison.json", '{"systems": 5}'),
        "runs/comparison.json holds no results of the kind 'Comparison'",
    ),
    "no checkpoint": (ENTROPY, write("generated.out", "x"), "there is no checkpoint model.pt"),
    "broken checkpoint": (
        ENTROPY,
        both(write("model.pt", b"x" * 100), write("generated.out", "S-0\ta\nH-0\t-1\ta\nP-0\t-1 -1\n")),
        "model.pt is not a checkpoint of fairseq-train: it is damaged, or no file of torch's",
    ),
    "malicious checkpoint": (
        ENTROPY,
        both(malicious("model.pt"), write("generated.out", "S-0\ta\nH-0\t-1\ta\nP-0\t-1 -1\n")),
        "model.pt is not a checkpoint of fairseq-train: ",
    ),
    "malicious new checkpoint": (
        ENTROPY,
        both(malicious_zip("model.pt"), write("generated.out", "S-0\ta\nH-0\t-1\ta\nP-0\t-1 -1\n")),
        "model.pt cannot be read: torch's safe loader refuses .*(?:getattr|touch|pathlib)",
    ),
    "nothing to average": (AVERAGE, None, "there is no checkpoint model.pt"),
    "an empty checkpoint to average": (
        AVERAGE,
        write("model.pt", ""),
        "model.pt is not a checkpoint of fairseq-train: it is damaged",
    ),
    "a malicious one to average": (
        AVERAGE,
        malicious_zip("model.pt"),
        "model.pt cannot be read: torch's safe loader refuses ",
    ),
    "average over a checkpoint": (
        AVERAGE.replace("out.pt", "model.pt"),
        write("model.pt", "x"),
        "model.pt is one of the checkpoints to average: give another --output",
    ),
    "average in place of a folder": (AVERAGE.replace("out.pt", "text"), None, "text is a folder: name a file"),
    "average that fairseq splits": (AVERAGE.replace("out.pt", "a:b.pt"), None, SPLIT.format("a:b.pt")),
    "average in no folder": (
        AVERAGE.replace("out.pt", "no/out.pt"),
        None,
        "no/out.pt: there is no folder no; make it first",
    ),
    "data that fairseq splits": (CURVE.replace("data", "da:ta"), None, SPLIT.format("da:ta")),
    "baseline that fairseq splits": (CURVE.replace("model.pt", "mo:del.pt"), None, SPLIT.format("mo:del.pt")),
    "run that fairseq splits": (CURVE.replace("a=runs", "a=ru:ns"), None, SPLIT.format("ru:ns")),
    "entropy's data that fairseq splits": (ENTROPY.replace("data", "da:ta"), None, SPLIT.format("da:ta")),
    "no run folder": (
        CURVE,
        write("model.pt", "x"),
        "runs has no checkpoints from along the way: train with --save-interval-updates N",
    ),
    "run without a name": (
        CURVE.replace("a=runs", "runs"),
        write("model.pt", "x"),
        "--run runs has no name: give NAME=SAVE_DIR",
    ),
    "run without checkpoints": (
        CURVE,
        both(write("model.pt", "x"), write("runs/log", "x")),
        "runs has no checkpoints from along the way: train with --save-interval-updates N",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line(case, here, capfd):
    line, change, message = CASES[case]
    assert message
    if change is not None:
        change(here)
    before, around = everything(here), set(here.parent.iterdir())
    assert cli.main(line.split()) == 2
    said = capfd.readouterr().err.strip().splitlines()
    assert re.match(f"bertloss: error: .*(?:{message})", said[-1])
    assert not re.search(r"^(?:bertloss: error|Traceback|\w*Error\b)", "\n".join(said[:-1]), re.M)
    assert everything(here) == before and set(here.parent.iterdir()) == around, "something was left behind"


def piped(content: bytes) -> str:
    """The path of a pipe that holds this, as a shell's <(...) makes it."""
    reading, writing = os.pipe()
    with open(writing, "wb") as file:
        file.write(content)
    return f"/dev/fd/{reading}"


def test_process_substitution_is_refused_where_it_would_be_read_twice(here, capfd):
    source = piped((here / "text/source.txt").read_bytes())
    assert cli.main(PREPARE.replace("text/source.txt", source).split()) == 2
    assert re.search(f"bertloss: error: {source} is a pipe, {AGAIN}", capfd.readouterr().err)
    assert not (here / "out").exists() and not (here / "out.partial").exists()


def test_pipes_are_read_where_once_is_enough(here, capfd):
    files = {name: (here / name).read_bytes() for name in ("ref.txt", "hyp.txt", "hyp2.txt")}
    tables = []
    for paths in (dict.fromkeys(files), {name: piped(content) for name, content in files.items()}):
        line = COMPARE.replace("hyp.txt", "base=hyp.txt").replace("compare", "compare --resamples 1000")
        for name, path in paths.items():
            line = line.replace(name, path or name)
        assert cli.main(line.split()) == 0
        named = os.path.basename(paths["ref.txt"] or "ref.txt")
        tables.append(capfd.readouterr().out.replace(f"sentences of {named}", "sentences of the references"))
    assert tables[0] == tables[1] and "| base" in tables[0]


def test_a_file_as_standard_input_is_read_as_often_as_needed(here, monkeypatch):
    with open("text/source.txt", "rb") as file:
        assert cli.main(PREPARE.replace("text/source.txt", f"/dev/fd/{file.fileno()}").split()) == 0
    assert (here / "out" / "prepare.json").exists()


@pytest.mark.parametrize("target", ["results.json", "kept/results.json"])
@pytest.mark.parametrize("is_there", [False, True])
def test_a_link_stays_and_what_it_leads_to_is_written(is_there, target, here):
    (here / "kept").mkdir()
    (here / "middle").symlink_to(target)
    (here / "out.json").symlink_to(here / "middle")
    if is_there:
        (here / target).write_text("older", encoding="utf-8")
    assert cli.main(COMPARE.split() + ["--resamples", "1000"]) == 0
    assert (here / "out.json").is_symlink() and (here / "middle").is_symlink()
    assert json.loads((here / target).read_text(encoding="utf-8")) and not [*here.rglob("*.partial")]
