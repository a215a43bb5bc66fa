"""corpus/mteval.py and corpus/entities.py: real files, the format's odd shapes, and errors that name the segment."""

import io

import pytest
from archives import SENTENCES, mteval

from fairseq_bertloss.corpus.entities import plain_text
from fairseq_bertloss.corpus.mteval import aligned_segments, read_segments


def segments(text: str | bytes, name: str = "x.xml") -> dict:
    return read_segments(io.BytesIO(text if isinstance(text, bytes) else text.encode()), name)


@pytest.mark.parametrize("pair, year, count", [("de-en", 16, 887), ("zh-en", 17, 879)])
def test_real_files(shared, pair, year, count):
    sides = []
    for language in pair.split("-"):
        path = shared / "data" / "wit3" / pair / f"IWSLT{year}.TED.dev2010.{pair}.{language}.xml"
        with open(path, "rb") as file:
            sides.append(read_segments(file, path.name))
    pairs = aligned_segments(*sides, ("a", "b"))
    assert len(pairs) == count and all(source and target for source, target in pairs)
    assert {talk for talk, _ in sides[0]} == {"69", "93", "129", "227", "453", "457", "531", "535"}
    if pair == "de-en":
        last = "Ich freue mich auf die Gespräche mit Ihnen allen!"
        assert (last.lower(), "I look forward to talking with all of you.") == (pairs[-1][0].lower(), pairs[-1][1])
    else:
        assert pairs[-1] == ("非常感谢。", "Thank you very much.")
        assert "  " not in "".join(map("".join, pairs))


def test_headers_are_no_segments():
    assert list(segments(mteval("de")).items()) == [(("69", str(i)), s) for i, s in enumerate(SENTENCES["de"], 1)]


@pytest.mark.parametrize(
    "text",
    [
        mteval("de").replace("\n", "\r\n"),
        "\ufeff" + mteval("de"),
        mteval("de").replace("\n", ""),
        mteval("de").replace(" im ", "\n\tim\u2028"),
        mteval("de").replace("<seg", "<SEG").replace("seg>", "Seg>").replace("doc", "DOC"),
        mteval("de").replace('id="2"', "id='2'").replace('id="3"', "id = 3 "),
        mteval("de").replace("Winter", "&#87;in&#x74;er"),
        mteval("de").encode() + b"\n\n",
    ],
)
def test_other_ways_to_write_the_same(text):
    assert segments(text) == segments(mteval("de"))


@pytest.mark.parametrize(
    "written, meant",
    [
        ("AT&T &amp; Bell &lt;b&gt; &quot;x&quot; &apos;y&apos;", "AT&T & Bell <b> \"x\" 'y'"),
        ("&amp;lt; &amp;amp;", "&lt; &amp;"),
        ("&copy 1 &eacute; &nbsp; &AMP;", "&copy 1 &eacute; &nbsp; &AMP;"),
        ("&#8217;&#x2019;&#X2019; a&#160;b&#10;c", "’’’ a b c"),
        ("&#0; &#xD800; &#9999999; &#; &#x; &", "&#0; &#xD800; &#9999999; &#; &#x; &"),
    ],
)
def test_references(written, meant):
    assert plain_text(written) == meant


@pytest.mark.parametrize(
    "text, message",
    [
        (mteval("de").replace("aus. </seg>", "aus."), "x.xml:7: segment 2 of talk 69 is not closed"),
        (mteval("de").replace("Dank. </seg>", "Dank."), "x.xml:8: segment 3 of talk 69 is not closed"),
        ('<doc docid="1">\n<seg id="1"> a', "x.xml:2: segment 1 of talk 1 is not closed"),
        (mteval("de").replace('id="2"', 'id="1"'), "x.xml:7: segment 1 of talk 69 occurs a second time"),
        (mteval("de") * 2, "x.xml:17: segment 1 of talk 69 occurs a second time"),
        (mteval("de").replace(' id="2"', ""), "x.xml:7: <seg> has no id"),
        (mteval("de").replace("docid", "name"), "x.xml:4: <doc .* has no id"),
        (mteval("de").replace('<seg id="2">', '<seg id="2"'), "x.xml:7: </seg> closes no segment"),
        ('<seg id="4"> a </seg>', "x.xml:1: segment 4 stands outside <doc>"),
        ("Kein XML.\n", "x.xml has no <seg>"),
        ("", "x.xml has no <seg>"),
        (mteval("de").replace("ä", "a").encode().replace(b"dehnt", b"d\xe4hnt"), "x.xml:7: not UTF-8: .* at byte 19"),
        (mteval("de").encode("utf-16"), "x.xml:1: not UTF-8: .* at byte 1"),
    ],
)
def test_damaged_files_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        segments(text)


def test_sides_are_joined_on_talk_and_segment():
    source = segments(mteval("de") + mteval("de", " (2)", talk="93"))
    target = segments(mteval("en", " (2)", talk="93") + mteval("en"))
    pairs = aligned_segments(source, target, ("a.xml", "b.xml"))
    assert [target for _, target in pairs] == SENTENCES["en"] + [f"{text} (2)" for text in SENTENCES["en"]]
    assert [source for source, _ in pairs] == SENTENCES["de"] + [f"{text} (2)" for text in SENTENCES["de"]]


def test_missing_and_extra_segments_are_named():
    whole, cut = segments(mteval("de")), segments(mteval("en").replace('<seg id="2"> It expands in winter. </seg>', ""))
    with pytest.raises(ValueError, match="b.xml lacks segment 2 of talk 69, which a.xml has"):
        aligned_segments(whole, cut, ("a.xml", "b.xml"))
    with pytest.raises(ValueError, match="b.xml lacks segment 2 of talk 69, which a.xml has"):
        aligned_segments(cut, whole, ("b.xml", "a.xml"))
    other = segments(mteval("en", talk="70"))
    with pytest.raises(ValueError, match="b.xml lacks segment 1 of talk 69 and 2 others, which a.xml has"):
        aligned_segments(whole, other, ("a.xml", "b.xml"))
