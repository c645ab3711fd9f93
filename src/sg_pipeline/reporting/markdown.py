"""report.md: what a run came to, for reading."""

from collections.abc import Mapping, Sequence
from typing import Any

from sg_pipeline.reporting.run_tables import (
    ReportTable,
    calibration,
    comparison,
    dials,
    identity,
    parts,
    task_types,
    times,
    verdicts,
)
from sg_pipeline.reporting.text import table
from sg_pipeline.reporting.transcripts import MARKS, outcome, transcript
from sg_pipeline.trajectories.types import Trajectory


def report_markdown(
    summary: Mapping[str, Any],
    metrics: Sequence[Mapping[str, Any]],
    trajectories: Sequence[tuple[str, Trajectory]] = (),
    figure: str = "learning_curve.png",
) -> str:
    """Write a run's report.

    Args:
        summary: of `summary.build_summary`.
        metrics: one mapping per step, as given to `build_summary`.
        trajectories: of `transcripts.pick_trajectories`.
        figure: path of the learning curve, relative to the report.

    Returns:
        Markdown. Undefined figures are dashes.
    """
    content = [
        f"# Run `{summary['run']}`",
        "\n".join(f"- {line}" for line in identity(summary)),
        "## Result",
        *verdicts(summary),
        *_table(comparison(summary)),
        *(_table(found) if (found := parts(summary)).rows else []),
        f"![Learning curve: success, trust, guidance labels and training]({figure})",
        "## By task type",
        *_table(task_types(summary)),
        "## Guidance: dials by phase",
        *_table(dials(metrics))[::-1],
        *(["## Guidance: calibration", *_table(found)[::-1]] if (found := calibration(summary)).rows else []),
        "## Time",
        *_table(times(summary)),
        *_transcripts(trajectories),
    ]
    return "\n\n".join(part for part in content if part) + "\n"


def _table(content: ReportTable) -> list[str]:
    """The table, then its note."""
    return [table(content.head, content.rows), content.note] if content.rows else [content.empty]


def _transcripts(trajectories: Sequence[tuple[str, Trajectory]]) -> list[str]:
    if not trajectories:
        return []
    marks = ", ".join(f"`{mark}` {polarity.value}" for polarity, mark in MARKS.items())
    parts = [
        "## Trajectories",
        f"Whole episodes of typical length, a win and a loss each. Guidance is marked {marks}, `?` unparseable; `>` is "
        f"the action, then whether the environment accepted it and what it paid.",
    ]
    for title, trajectory in trajectories:
        text = transcript(trajectory)
        fence = "```"
        while fence in text:
            fence += "`"
        task = trajectory.task
        heading = f"### {title}: {outcome(trajectory)}"
        origin = f"{task.split}, {task.task_type}, `{task.task_id}`"
        parts.append(f"{heading}\n\n{origin}\n\n{fence}text\n{text}\n{fence}")
    return parts
