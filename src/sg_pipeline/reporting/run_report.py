"""Report of one run: report.md, the sections of report.html, and whole trajectories as text.

The guidance dials come first among the details: reward hacking shows there before it shows in the success rate.
"""

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from sg_pipeline.reporting.page.elements import Section, bullets, figure_html, report_table
from sg_pipeline.reporting.run_tables import (
    ReportTable,
    calibration,
    comparison,
    dials,
    earned_trust,
    identity,
    parts,
    task_types,
    times,
    verdicts,
)
from sg_pipeline.reporting.text import table
from sg_pipeline.trajectories.frame import from_frame
from sg_pipeline.trajectories.types import Polarity, Trajectory

MARKS = {Polarity.POSITIVE: "+", Polarity.NEUTRAL: "=", Polarity.NEGATIVE: "-"}
"""Mark of each verdict in a transcript."""

_WIDTH = 110
_KEY = ["split", "step", "group", "item"]


def report_markdown(
    summary: Mapping[str, Any],
    metrics: Sequence[Mapping[str, Any]],
    trajectories: Sequence[tuple[str, Trajectory]] = (),
) -> str:
    """Write a run's report.md from its summary, the metrics of its steps and the output of `pick_trajectories`.

    Undefined values are dashes. It refers to learning_curve.png in the same folder.
    """
    judged = calibration(summary)
    content = [
        f"# Run `{summary['run']}`",
        "\n".join(f"- {line}" for line in identity(summary)),
        "## Result",
        *verdicts(summary),
        *_table(comparison(summary)),
        *_table(parts(summary)),
        "![Learning curve: success, trust, guidance labels and training](learning_curve.png)",
        "## By task type",
        *_table(task_types(summary)),
        "## Guidance: dials by phase",
        *_table(dials(metrics))[::-1],
        *(["## Trust: why λ is what it is", *_table(earned)[::-1]] if (earned := earned_trust(metrics)).rows else []),
        *(["## Guidance: calibration", *_table(judged)[::-1]] if judged.rows else []),
        "## Time",
        *_table(times(summary)),
        *_transcripts(trajectories),
    ]
    return "\n\n".join(part for part in content if part) + "\n"


def run_sections(summary: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]], curve_png: bytes) -> list[Section]:
    """Return the sections of a run's page: the tables of report.md, and the learning curve."""
    curve = figure_html(
        curve_png,
        "Success, trust λ, guidance labels and training over the co-evolution steps; evaluations with 95 % intervals.",
        alt="Learning curves: success rate, trust, shares of the guidance labels, reward-hacking dials and training",
    )
    sections = [
        Section("result", "Result", f"{report_table(comparison(summary))}\n{curve}"),
        Section("parts", "Parts of the score", report_table(parts(summary))),
        Section("dials", "Guidance: dials by phase", report_table(dials(metrics))),
        Section("trust", "Trust: why λ is what it is", report_table(earned_trust(metrics))),
        Section("calibration", "Guidance: calibration", report_table(calibration(summary))),
        Section("task-types", "By task type", report_table(task_types(summary))),
        Section("time", "Time", report_table(times(summary))),
        Section("identity", "What was run", bullets(identity(summary))),
    ]
    return [section for section in sections if section.html]


def pick_trajectories(tables: Mapping[str, pl.DataFrame]) -> list[tuple[str, Trajectory]]:
    """Choose one won and one lost episode of each table (title -> trajectory table): the typical ones.

    Typical is the (lower) median number of turns among the won (lost) episodes; ties go to the first by (split, step,
    group, item). An outcome that did not occur is left out.
    """
    picked = []
    for title, frame in tables.items():
        episodes = frame.group_by(_KEY).agg(pl.col("won").first(), turns=pl.len()).sort("turns", *_KEY)
        for won in (True, False):
            chosen = episodes.filter(pl.col("won") == won)
            if chosen.height:
                key = chosen.filter(turns=chosen["turns"][(chosen.height - 1) // 2]).head(1)
                picked.append((title, from_frame(frame.join(key.select(_KEY), on=_KEY, how="semi"))[0]))
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
    """Return e.g. "won in 7 turns", "lost, truncated after 50 turns"."""
    turns = f"{len(trajectory.turns)} turn{'s' if len(trajectory.turns) != 1 else ''}"
    if trajectory.won:
        return f"won in {turns}"
    return f"lost, truncated after {turns}" if trajectory.truncated else f"lost after {turns}"


def _table(content: ReportTable) -> list[str]:
    """Return the table, then its note."""
    return [table(content.head, content.rows), content.note] if content.rows else [content.empty]


def _transcripts(trajectories: Sequence[tuple[str, Trajectory]]) -> list[str]:
    if not trajectories:
        return []
    marks = ", ".join(f"`{mark}` {polarity.value}" for polarity, mark in MARKS.items())
    lines = [
        "## Trajectories",
        f"Whole episodes of typical length, one won and one lost of each kind. Guidance is marked {marks}, `?` "
        f"unparseable; `>` is the action, followed by whether the environment accepted it and its reward.",
    ]
    for title, trajectory in trajectories:
        text = transcript(trajectory)
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
        task = trajectory.task
        lines += [
            f"### {title}: {outcome(trajectory)}",
            f"{task.split}, {task.task_type}, `{task.task_id}`",
            f"{fence}text\n{text}\n{fence}",
        ]
    return lines


def _block(head: str, text: str) -> list[str]:
    """Wrap `text` under `head`; keep its paragraphs separate, drop empty lines."""
    lines: list[str] = []
    for line in filter(None, (" ".join(line.split()) for line in text.splitlines())):
        lines += textwrap.wrap(line, _WIDTH - len(head), break_on_hyphens=False)
    margins = [head, *[" " * len(head)] * len(lines)]
    return [margin + line for margin, line in zip(margins, lines, strict=False)] or [head.rstrip()]
