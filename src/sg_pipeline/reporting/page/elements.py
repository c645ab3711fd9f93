"""Pieces of HTML for a page; all text is escaped."""

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sg_pipeline.reporting.run_tables import ReportTable

_STRONG = re.compile(r"\*\*(.+?)\*\*")
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Section:
    """One section of a page.

    Attributes:
        anchor: its name in links; lower-case letters, digits and '-', first a letter; unique in the page.
        title: plain text.
        html: made by the functions below; inserted without escaping.
    """

    anchor: str
    title: str
    html: str


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


def report_table(content: ReportTable) -> str:
    """A table that scrolls sideways in a narrow window, with its note; or its `empty` text."""
    if not content.rows:
        return paragraph(content.empty) if content.empty else ""

    def cells(row: Sequence[str], first: str, others: str) -> str:
        kinds = ["" if column < content.text_columns else ' class="figure"' for column in range(len(row))]
        tags = [first, *[others] * (len(row) - 1)]
        made = (
            f"<{tag}{kind}>{html.escape(text)}</{tag[:2]}>" for tag, kind, text in zip(tags, kinds, row, strict=True)
        )
        return f"<tr>{''.join(made)}</tr>"

    head = cells(content.head, 'th scope="col"', 'th scope="col"')
    body = "\n".join(cells(row, 'th scope="row"', "td") for row in content.rows)
    note = paragraph(content.note, kind="note") if content.note else ""
    return (
        f'{note}\n<div class="scroll" tabindex="0"><table>\n<thead>{head}</thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def figure_html(image: bytes, caption: str, *, alt: str = "") -> str:
    """A PNG in the page, with a caption (see `inline_html`) and an alternative text, by default the caption."""
    content = base64.b64encode(image).decode("ascii")
    return (
        f'<figure><img src="data:image/png;base64,{content}" alt="{html.escape(alt or caption)}">'
        f"<figcaption>{inline_html(caption)}</figcaption></figure>"
    )
