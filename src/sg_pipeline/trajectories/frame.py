"""Trajectories as a table, and back: lossless, one row a turn. The columns are those of `schema.RolloutTable`."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import polars as pl

from sg_pipeline.trajectories.types import SCHEMA_VERSION, TRAJECTORY_KEY, Polarity, Task, Trajectory, Turn

_TASK = {field.name: field.name for field in fields(Task)} | {"path": "task_path", "sha256": "task_sha256"}
"""Field of a task -> its column. A turn's fields are called like their columns."""

_WHOLE = ("group", "item", "won", "truncated", "score")
_TURN = tuple(field.name for field in fields(Turn))


def to_frame(trajectories: Iterable[Trajectory]) -> pl.DataFrame:
    """Return trajectories as a table with the columns of `schema.RolloutTable`, in the given order."""
    from sg_pipeline.trajectories.schema import COLUMNS  # pandera takes 0.3 s to import

    rows = []
    for trajectory in trajectories:
        whole = {
            "schema_version": SCHEMA_VERSION,
            "step": trajectory.policy_step,
            **{column: getattr(trajectory.task, field) for field, column in _TASK.items()},
            **{name: getattr(trajectory, name) for name in _WHOLE},
        }
        last = len(trajectory.turns) - 1
        for index, turn in enumerate(trajectory.turns):
            own = {name: getattr(turn, name) for name in _TURN}
            rows.append({**whole, **own, "turn": index, "terminal": index == last})
    return pl.DataFrame(rows, schema=COLUMNS)


def from_frame(frame: pl.DataFrame) -> list[Trajectory]:
    """Read trajectories back, ordered by (step, group, item), their turns by `turn`."""
    trajectories: dict[tuple[int, int, int], tuple[dict[str, Any], list[Turn]]] = {}
    for row in frame.sort([*TRAJECTORY_KEY, "turn"]).iter_rows(named=True):
        own = {name: row[name] for name in _TURN}
        if own["polarity"] is not None:
            own["polarity"] = Polarity(own["polarity"])
        key = (row["step"], row["group"], row["item"])
        trajectories.setdefault(key, (row, []))[1].append(Turn(**own))
    return [
        Trajectory(
            task=Task(**{field: row[column] for field, column in _TASK.items()}),
            policy_step=row["step"],
            turns=tuple(turns),
            **{name: row[name] for name in _WHOLE},
        )
        for row, turns in trajectories.values()
    ]
