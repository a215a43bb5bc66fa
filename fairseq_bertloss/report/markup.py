"""Pieces of an HTML page that needs nothing but itself: no network, no script."""

import base64
import html
import re
from collections.abc import Sequence

from fairseq_bertloss.evaluation.plain_text import printable

CSS = """
:root { color-scheme: light; }
body { margin: 0 auto; padding: 1.5rem 1.25rem 4rem; max-width: 56rem; background: #fff; color: #1a1a1a;
  font: 16px/1.5 "Helvetica Neue", Arial, "Liberation Sans", sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 1rem; }
h2 { font-size: 1.25rem; margin: 2.75rem 0 .75rem; padding-bottom: .25rem; border-bottom: 1px solid #ccc; }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
p, li { max-width: 44rem; }
code, pre { font: .85em/1.5 "Liberation Mono", Menlo, Consolas, monospace; }
pre { padding: .75rem; background: #f5f5f5; overflow-x: auto; }
figure { margin: 1.25rem 0 1.75rem; }
figcaption { font-size: .875rem; color: #444; max-width: 44rem; }
figcaption b { color: #1a1a1a; }
.scroll { overflow-x: auto; margin: .5rem 0; }
img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums;
  border-top: 2px solid #1a1a1a; border-bottom: 2px solid #1a1a1a; }
th, td { padding: .28rem .5rem; text-align: right; vertical-align: baseline; white-space: nowrap; font-weight: normal; }
thead th { vertical-align: bottom; white-space: normal; }
thead tr:last-child th { border-bottom: 1px solid #1a1a1a; }
th[colspan] { text-align: center; border-bottom: 1px solid #999; }
.text { text-align: left; }
td.text { white-space: normal; min-width: 5rem; }
tbody th { text-align: left; white-space: normal; min-width: 6rem; overflow-wrap: anywhere; }
td.delta, th.delta { font-size: .8rem; color: #555; padding-left: 0; }
td.first, th.first { padding-left: 1.1rem; }
th.first, th.delta { padding-right: 1rem; }
.mark { display: inline-block; width: .55em; text-align: left; font-weight: bold; }
td.alarm { font-weight: bold; background: #fde3cf; }
.alarm::before { content: "\\26A0\\FE0E\\00A0"; }
sub { font-size: .7em; line-height: 0; }
small { color: #666; }
.warning { border-left: 4px solid #d55e00; padding-left: .75rem; }
article { margin: .75rem 0; padding: .6rem .8rem .7rem; border: 1px solid #ddd; border-radius: 4px;
  break-inside: avoid; }
article h4 { font-size: .8rem; font-weight: normal; color: #444; margin: 0 0 .4rem; }
article > div { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: .3rem 1.1rem; }
article p { margin: 0; font-size: .9rem; overflow-wrap: anywhere; unicode-bidi: isolate; }
article .role { font-size: .75rem; color: #666; }
del { background: #fde3cf; text-decoration: line-through; text-decoration-color: #a84300; }
ins { background: #d6e9f6; text-decoration: underline; text-underline-offset: .15em; }
summary { cursor: pointer; font-weight: bold; margin: .75rem 0; }
dt { font-weight: bold; font-size: .875rem; }
dd { margin: 0 0 .4rem; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  body { padding: 1rem .8rem 3rem; }
  h1 { font-size: 1.5rem; }
  .scroll > img { max-width: none; }
  article > div { grid-template-columns: minmax(0, 1fr); }
}
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  h2, h3, summary { break-after: avoid; }
  figure { break-inside: avoid; }
  .scroll { overflow: visible; }
  table { font-size: .7rem; }
  td.delta, th.delta { font-size: .65rem; }
  th, td { padding: .2rem .3rem; }
  pre { white-space: pre-wrap; }
}
"""

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""Forbids the browser all scripts and all of the network."""

SCALE = 4 / 3 * 1.25
"""Pixels of the screen to a point of a figure: its 8-point letters become as large as the captions."""


def document(title: str, body: Sequence[str]) -> str:
    """A whole page."""
    head = [
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>{CSS}</style>",
    ]
    return "\n".join(
        ["<!DOCTYPE html>", '<html lang="en">', "<head>", *head, "</head>", "<body>", *body, "</body>", "</html>", ""]
    )


def escape(text: str) -> str:
    """Text as HTML shows it, whatever it holds."""
    return html.escape(printable(text))


def prose(text: str) -> str:
    """Our own words as HTML: commands between backquotes as code, the metrics' indices below the line."""
    text = re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text).replace("p &lt; ", "p&nbsp;&lt;&nbsp;"))
    return re.sub(r"\b([FPR])_BERT\b", r"\1<sub>BERT</sub>", text)


def preformatted(text: str) -> str:
    """Lines as they are."""
    return f"<pre>{chr(10).join(map(escape, text.split(chr(10))))}</pre>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of prose."""
    return f'<p class="{kind}">{prose(text)}</p>' if kind else f"<p>{prose(text)}</p>"


def image(svg: bytes, alt: str) -> str:
    """A figure of matplotlib's. As an image of its own its ids cannot clash with those of another figure."""
    width, height = (float(size) for size in re.search(rb'width="([\d.]+)pt" height="([\d.]+)pt"', svg).groups())
    data = base64.b64encode(svg).decode()
    size = f'width="{SCALE * width:.0f}" height="{SCALE * height:.0f}"'
    return f'<img {size} alt="{escape(alt)}" src="data:image/svg+xml;base64,{data}">'


def scrolled(content: str) -> str:
    """Content that may be wider than a small screen."""
    return f'<div class="scroll">{content}</div>'


def figure(title: str, caption: str, content: str, caption_first: bool = False) -> str:
    """A figure or, with its caption first, a table."""
    parts = [scrolled(content), f"<figcaption><b>{prose(title)}</b> {prose(caption)}</figcaption>"]
    return "\n".join(["<figure>", *(reversed(parts) if caption_first else parts), "</figure>"])


def plain_table(titles: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table of text, the first columns of words, the others of numbers; rows are headed by the first."""
    kinds = ["text" if i < left else "" for i in range(len(titles))]
    head = [cell(title, "th", kind) for title, kind in zip(titles, kinds, strict=True)]
    return table(
        [head],
        [
            (first, [cell(text, "td", kind) for text, kind in zip(rest, kinds[1:], strict=True)])
            for first, *rest in rows
        ],
    )


def table(head: Sequence[Sequence[str]], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """A table of cells.

    Args:
        head: lines of cells.
        rows: what heads the row, as text, and the other cells.
    """
    top = "".join(f"<tr>{''.join(line)}</tr>" for line in head)
    lines = [f'<tr><th scope="row" dir="auto">{escape(name)}</th>{"".join(cells)}</tr>' for name, cells in rows]
    return f"<table><thead>{top}</thead><tbody>{''.join(lines)}</tbody></table>"


def cell(text: str, tag: str = "td", kind: str = "") -> str:
    """A cell of a table; kind is its class."""
    return f'<{tag} class="{kind}">{prose(text)}</{tag}>' if kind else f"<{tag}>{prose(text)}</{tag}>"
