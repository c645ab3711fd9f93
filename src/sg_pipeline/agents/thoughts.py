"""Thoughts: what ReAct and ReFlAct let a policy write before it acts, in tags of their own.

    <thought>The mug is in my hand, now to the shelf.</thought><action>go to shelf 2</action>

A thought is neither guidance (it has no verdict) nor an action (nothing in it is played). The tag's name is the prompt
set's: ReAct has `thought`, ReFlAct `reflection`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """Where a thought stands in a completion's text.

    Attributes:
        start, end: of the whole, tags included.
        inner_start, inner_end: of what was thought.
        closed: its closing tag was found; otherwise it ends where the action begins, or with the text.
    """

    start: int
    inner_start: int
    inner_end: int
    end: int
    closed: bool


def find_thoughts(text: str, tag: str) -> list[Span]:
    """Return the thoughts in `text`, in order.

    Thoughts do not nest: a second opening tag inside one is text, and the first closing tag ends it. A closing tag
    without an opening one is text. What is between the tags may be anything, an `<action>` included.
    """
    spans = []
    opened: re.Match[str] | None = None
    for found in re.finditer(rf"<(/?){re.escape(tag)}>", text):
        if not found[1]:
            opened = opened or found
        elif opened:
            spans.append(Span(opened.start(), opened.end(), found.start(), found.end(), closed=True))
            opened = None
    if opened:
        action = text.find("<action>", opened.end())
        end = action if action >= 0 else len(text)
        spans.append(Span(opened.start(), opened.end(), end, end, closed=False))
    return spans


def inside(position: int, spans: Sequence[Span]) -> bool:
    """Return whether the character at `position` belongs to one of the thoughts."""
    return any(span.start <= position < span.end for span in spans)


def text_of(text: str, spans: Sequence[Span], stop: int) -> str | None:
    """Return what was thought before the character `stop`, on one line; None where nothing was."""
    parts = [text[span.inner_start : min(span.inner_end, stop)] for span in spans if span.start < stop]
    return " ".join(" ".join(parts).split()) if parts else None
