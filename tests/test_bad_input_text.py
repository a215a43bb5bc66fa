"""Bad text and bad corpora for prepare, extract and homeassistant: an error in one line, and nothing left behind."""

import os

import pytest
from bad_input import (
    AGAIN,
    EXTRACT,
    PLAIN,
    PREPARE,
    SPLIT,
    WHEEL,
    archive,
    both,
    check_one_line,
    here,  # noqa: F401, a fixture
    pipe,
    remove,
    socket_file,
    truncated_gzip,
    whl,
    write,
)

LONG = "a " * 100_000 + "\n"

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
        "cannot load the language model's tokenizer from 'nothing': .*pass a Hugging Face hub name .* or an existing "
        "folder",
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
}


@pytest.mark.parametrize("case", CASES)
def test_one_line(case, here, capfd):
    check_one_line(*CASES[case], here, capfd)
