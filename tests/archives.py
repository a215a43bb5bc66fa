"""Small WIT3 archives of real sentences, in all shapes that they are distributed in, for several test files."""

import io
import tarfile
from pathlib import Path

TRAIN = {
    "de": """<url>http://www.ted.com/talks/lang/de/david_gallo_on_life_in_the_deep_oceans.html</url>
<keywords>animals,oceans</keywords>
<speaker>David Gallo</speaker>
<talkid>343</talkid>
<title>David Gallo über das Leben in der Tiefsee</title>
<description>Mit lebendigen Videoclips führt uns Gallo in die Tiefe.</description>
<reviewer href="http://www.ted.com/profiles/1">Ein Prüfer</reviewer>
<translator href="http://www.ted.com/profiles/2">Eine Übersetzerin</translator>
Das ist Bill Lange. Ich bin Dave Gallo.
 Forschung &amp; Entwicklung,  und mehr.
<url>http://www.ted.com/talks/lang/de/other.html</url>
<talkid>344</talkid>
<title>Nur auf Deutsch</title>
Wir zeigen Ihnen einiges.

Vielen Dank.
""",
    "en": """<url>http://www.ted.com/talks/david_gallo_on_life_in_the_deep_oceans.html</url>
<talkid>343</talkid>
<description>With vibrant video clips Gallo takes us to the depths.</description>
<title>David Gallo on life in the deep oceans</title>
This is Bill Lange. I'm Dave Gallo.
Research &amp; development, &lt;em&gt;and&lt;/em&gt; more.
<url>http://www.ted.com/talks/other.html</url>
<talkid>344</talkid>
We're going to show you some things.
(Applause)
Thank you very much.
""",
}
TRAIN_PAIRS = [
    ("David Gallo über das Leben in der Tiefsee", "David Gallo on life in the deep oceans"),
    (
        "Mit lebendigen Videoclips führt uns Gallo in die Tiefe.",
        "With vibrant video clips Gallo takes us to the depths.",
    ),
    ("Das ist Bill Lange. Ich bin Dave Gallo.", "This is Bill Lange. I'm Dave Gallo."),
    ("Forschung & Entwicklung, und mehr.", "Research & development, <em>and</em> more."),
    ("Wir zeigen Ihnen einiges.", "We're going to show you some things."),
    ("", "(Applause)"),
    ("Vielen Dank.", "Thank you very much."),
]
SENTENCES = {
    "de": ["Letztes Jahr zeigte ich diese Folien.", "Sie dehnt sich im Winter aus.", "Vielen Dank."],
    "en": ["Last year I showed these slides.", "It expands in winter.", "Thank you very much."],
}


def mteval(language: str, mark: str = "", talk: str = "69") -> str:
    """An evaluation set of one talk; mark sets its sentences apart from another set's."""
    side = "srcset" if language == "de" else "refset"
    segments = "\n".join(f'<seg id="{i}"> {text}{mark} </seg>' for i, text in enumerate(SENTENCES[language], 1))
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<mteval>\n<{side} setid="x" srclang="german">\n'
        f'<doc docid="{talk}" genre="lectures">\n<title>AT&T</title>\n{segments}\n</doc>\n</{side}>\n</mteval>\n'
    )


def pair_files() -> dict[str, str]:
    """The files of the pair de-en, by name."""
    files = {f"train.tags.de-en.{language}": text for language, text in TRAIN.items()}
    for name in ("TED.dev2010", "TED.tst2010", "TEDX.dev2012"):
        for language in ("de", "en"):
            files[f"IWSLT14.{name}.de-en.{language}.xml"] = mteval(language, f" [{name[-7:]}]")
    files["IWSLT14.TED.tst2014.de-en.de.xml"] = mteval("de")  # the task kept the references
    return files


def tgz(files: dict[str, str | bytes]) -> bytes:
    """A .tgz of files, by name."""
    return tar_of([(tarfile.TarInfo(name), encoded(content)) for name, content in files.items()])


def tar_of(members: list[tuple[tarfile.TarInfo, bytes]], **options) -> bytes:
    """A .tgz of members, with whatever their headers say; sizes are set to those of the contents."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", **options) as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def encoded(content: str | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.encode()


def pair_tgz(files: dict[str, str | bytes] | None = None) -> bytes:
    """The pair's own archive."""
    return tgz({f"de-en/{name}": content for name, content in (files or pair_files()).items()})


def write_tree(folder: Path, files: dict[str, str | bytes]) -> str:
    """Writes files, by name, and returns the folder's path."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(content))
    return str(folder)
