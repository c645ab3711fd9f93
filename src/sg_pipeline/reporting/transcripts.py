"""Whole trajectories to read: which ones, and how they look."""

import textwrap
from collections.abc import Mapping

import polars as pl

from sg_pipeline.trajectories.frame import from_frame
from sg_pipeline.trajectories.types import Polarity, Trajectory

MARKS = {Polarity.POSITIVE: "+", Polarity.NEUTRAL: "=", Polarity.NEGATIVE: "-"}
"""How a verdict looks in a transcript."""

_WIDTH = 110
_KEY = ["split", "step", "group", "item"]


def pick_trajectories(tables: Mapping[str, pl.DataFrame]) -> list[tuple[str, Trajectory]]:
    """Choose a win and a loss of each table.

    Each is the typical one: of the wins (losses) the one with the median number of turns, so neither the luckiest nor
    the longest; among equals the first by (split, step, group, item).

    Args:
        tables: title -> trajectory table, e.g. of an early step, a late step and the final evaluation. A table without
            wins (losses) gives none.

    Returns:
        (title, trajectory) in the order of the tables, the win before the loss.
    """
    picked = []
    for title, table in tables.items():
        episodes = table.group_by(_KEY).agg(pl.col("won").first(), turns=pl.len()).sort("turns", *_KEY)
        for won in (True, False):
            chosen = episodes.filter(pl.col("won") == won)
            if chosen.height:
                # The first of those that are as long as the (lower) median.
                median = chosen["turns"][(chosen.height - 1) // 2]
                key = chosen.filter(pl.col("turns") == median).head(1)
                picked.append((title, from_frame(table.join(key.select(_KEY), on=_KEY, how="semi"))[0]))
    return picked


def transcript(trajectory: Trajectory) -> str:
    """Write a trajectory as plain text, turn by turn: observation, guidance, action, whether it was valid, reward."""
    lines: list[str] = []
    for number, turn in enumerate(trajectory.turns):
        lines += _block(f"{number:>3}  ", turn.observation)
        if turn.polarity is not None:
            mark = MARKS[turn.polarity] if turn.guidance_parsed else "?"
            text = turn.guidance if turn.guidance is not None else "(no guidance found)"
            lines += _block(f"     {mark} ", text)
        state = "valid" if turn.action_valid else "invalid"
        state = state if turn.action_parsed else f"no action tag, {state}"
        lines += _block("     > ", f"{turn.action} [{state}, reward {turn.reward:g}]")
    return "\n".join(lines)


def outcome(trajectory: Trajectory) -> str:
    """One phrase: "won in 7 turns", "lost, truncated after 50 turns"."""
    turns = f"{len(trajectory.turns)} turn{'s' if len(trajectory.turns) != 1 else ''}"
    if trajectory.won:
        return f"won in {turns}"
    return f"lost, truncated after {turns}" if trajectory.truncated else f"lost after {turns}"


def _block(head: str, text: str) -> list[str]:
    """Wrap `text` under `head`; paragraphs of the text stay apart, empty lines go."""
    lines: list[str] = []
    for paragraph in filter(None, (" ".join(line.split()) for line in text.splitlines())):
        indent = head if not lines else " " * len(head)
        lines += textwrap.wrap(
            paragraph, _WIDTH, initial_indent=indent, subsequent_indent=" " * len(head), break_on_hyphens=False
        )
    return lines or [head.rstrip()]
