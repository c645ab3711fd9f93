"""Pieces of HTML for a page; all text is escaped."""

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sg_pipeline.reporting.run_tables import ReportTable

_ANCHOR = re.compile(r"[a-z][a-z0-9-]*")
_STRONG = re.compile(r"\*\*(.+?)\*\*")
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Section:
    """One section of a page.

    Attributes:
        anchor: its name in links; lower-case letters, digits and '-', first a letter; unique in the page.
        title: plain text.
        html: made by the functions below; inserted without escaping.

    Raises:
        ValueError: invalid anchor.
    """

    anchor: str
    title: str
    html: str

    def __post_init__(self) -> None:
        if not _ANCHOR.fullmatch(self.anchor):
            raise ValueError(
                f"invalid anchor of a section: {self.anchor!r}; use lower-case letters, digits and '-', first a letter"
            )


def inline_html(text: str) -> str:
    """Escape text; `**strong**` and `` `code` `` become elements."""
    return _CODE.sub(r"<code>\1</code>", _STRONG.sub(r"<strong>\1</strong>", html.escape(text)))


def paragraph(*texts: str, kind: str = "") -> str:
    """One paragraph per text, see `inline_html`; `kind` is a class of the style sheet ("note", "verdict")."""
    attribute = f' class="{html.escape(kind)}"' if kind else ""
    return "\n".join(f"<p{attribute}>{inline_html(text)}</p>" for text in texts)


def bullets(texts: Sequence[str]) -> str:
    """A list of short lines, see `inline_html`."""
    return "\n".join(["<ul>", *(f"<li>{inline_html(text)}</li>" for text in texts), "</ul>"])


def table_html(header: Sequence[str], rows: Sequence[Sequence[object]], *, text_columns: int = 1) -> str:
    """A table that scrolls sideways in a narrow window.

    Args:
        header: names of the columns.
        rows: cells; str() of each is escaped. The first cell names its row.
        text_columns: number of columns from the left that hold text; the others hold numbers, aligned right.

    Raises:
        ValueError: a row has more or fewer cells than the header.
    """
    for number, row in enumerate(rows):
        if len(row) != len(header):
            raise ValueError(f"row {number} of a table has {len(row)} cells, but its header has {len(header)}")

    def cell(element: str, column: int, content: object, scope: str = "") -> str:
        kind = "" if column < text_columns else ' class="figure"'
        return f"<{element}{scope}{kind}>{html.escape(str(content))}</{element}>"

    head = "".join(cell("th", column, name, ' scope="col"') for column, name in enumerate(header))
    body = "\n".join(
        "<tr>"
        + "".join(
            cell("td", column, content) if column else cell("th", 0, content, ' scope="row"')
            for column, content in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def report_table(content: ReportTable) -> str:
    """A table with its note, or its `empty` text."""
    if not content.rows:
        return paragraph(content.empty) if content.empty else ""
    note = paragraph(content.note, kind="note") if content.note else ""
    return f"{note}\n{table_html(content.head, content.rows, text_columns=content.text_columns)}"


def figure_html(image: bytes, caption: str, *, alt: str = "") -> str:
    """A figure, embedded in the page.

    Args:
        image: a PNG.
        caption: below it, see `inline_html`.
        alt: alternative text; the caption by default.

    Raises:
        ValueError: not a PNG.
    """
    if not image.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError(f"a figure must be a PNG, but begins with {image[:8]!r}")
    content = base64.b64encode(image).decode("ascii")
    return (
        f'<figure><img src="data:image/png;base64,{content}" alt="{html.escape(alt or caption)}">'
        f"<figcaption>{inline_html(caption)}</figcaption></figure>"
    )
