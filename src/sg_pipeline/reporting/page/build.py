"""A self-contained HTML page: sections of text, tables and figures, and a viewer of whole trajectories.

The page makes no network request. A content security policy in the page makes the browser enforce that, and allows no
script but the page's own (`assets/`, no library).
"""

import base64
import hashlib
import html
import re
from collections.abc import Sequence
from importlib import resources

from sg_pipeline.reporting.page.elements import Section, paragraph
from sg_pipeline.reporting.page.source import Bundle, Selection, ViewerSource, arrange, pack, take

SIZE_LIMIT = 8_000_000
"""Characters of a page; trajectories may use what the sections leave."""

SCRIPTS = ("data", "facets", "state", "text", "episode", "comparison", "list", "viewer")
"""The viewer's scripts, in the order in which they are joined."""

VIEWER = "trajectories"
"""The anchor of the viewer's section."""

_PROBE_TURNS = 5_000
_LINE = 4_000


def build_page(
    title: str,
    lead: str,
    sections: Sequence[Section],
    sources: Sequence[ViewerSource],
    *,
    seed: int,
    size_limit: int = SIZE_LIMIT,
) -> str:
    """Build a page; deterministic.

    Args:
        title: plain text.
        lead: HTML made by `elements`, at the top: the result.
        sections: in order.
        sources: what the viewer may show, in reading order; without any the page has no viewer.
        seed: decides which groups are shown where not all fit.
        size_limit: maximum number of characters, unless lead and sections alone exceed it.
    """
    contents = [(section.anchor, section.title) for section in sections] + [(VIEWER, "Trajectories")] * bool(sources)
    script = _script()
    frame = {
        "TITLE": html.escape(title),
        "POLICY": html.escape(_policy(script)),
        "STYLE": _asset("page.css"),
        "LEAD": lead,
        "CONTENTS": "\n".join(f'<li><a href="#{anchor}">{html.escape(name)}</a></li>' for anchor, name in contents),
        "SECTIONS": "\n".join(
            f'<section id="{section.anchor}">\n<h2>{html.escape(section.title)}</h2>\n{section.html}\n</section>'
            for section in sections
        ),
        "VIEWER": "",
        "SCRIPT": f"<script>{script}</script>" if sources else "",
    }
    if not sources:
        return _fill("page.html", frame)

    def page(selection: Selection, packed: str) -> str:
        lines = "\n".join(packed[start : start + _LINE] for start in range(0, len(packed), _LINE))
        parts = {"SHOWN": paragraph(_what_is_shown(selection), kind="note"), "DATA": lines}
        return _fill("page.html", {**frame, "VIEWER": _fill("viewer.html", parts)})

    queues = arrange(sources, seed)
    overhead = len(page(take(queues, 0), "")) + 50  # the counts in `_what_is_shown` get longer
    return page(*_as_much_as_fits(sources, queues, size_limit - overhead))


def _as_much_as_fits(
    sources: Sequence[ViewerSource], queues: Sequence[Sequence[Bundle]], room: int
) -> tuple[Selection, str]:
    """Find the largest selection that, packed, has at most `room` characters.

    The number of characters per turn is known only after packing, and falls with the number of turns (texts repeat). So
    a small selection is packed first, and its size predicts how much larger the next one may be.
    """
    turns = _PROBE_TURNS
    best = take(queues, 0)
    packed = pack(sources, best)
    for _ in range(8):
        selection = take(queues, turns)
        attempt = pack(sources, selection)
        size = len(attempt) + len(attempt) // _LINE
        if size <= room and selection.turns >= best.turns:
            best, packed = selection, attempt
            if selection.complete or size > 0.85 * room:
                break
        turns = int(0.95 * max(selection.turns, 1) * max(room, 1) / size)
        if turns <= best.turns:
            break
    return best, packed


def _what_is_shown(selection: Selection) -> str:
    if selection.complete:
        return f"All {selection.episodes:,} episodes ({selection.turns:,} turns) are in this page."
    return (
        f"**{selection.episodes:,} of {selection.of_episodes:,} episodes ({selection.turns:,} turns)** are in this "
        f"page: whole groups, chosen at random but evenly over seeds, phases, steps, task types and outcomes, so "
        f"shares among them are not success rates; an evaluation game is shown with all policies and modes that played "
        f"it."
    )


def _script() -> str:
    """Join the scripts in one scope."""
    parts = "\n".join(_asset(f"{name}.js") for name in SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}\n}})();\n'


def _policy(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    rules = ["default-src 'none'", "img-src data:", "style-src 'unsafe-inline'", f"script-src 'sha256-{digest}'"]
    return "; ".join([*rules, "base-uri 'none'", "form-action 'none'"])


def _fill(template: str, parts: dict[str, str]) -> str:
    """Replace each {{NAME}} of a template in one pass: the parts themselves are not searched."""
    return re.sub(r"\{\{([A-Z]+)\}\}", lambda match: parts[match.group(1)], _asset(template))


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")
