"""Trajectories as a table, and back: lossless, one row a turn."""

from collections.abc import Iterable

import polars as pl

from sg_pipeline.trajectories.schema import SCHEMA_VERSION, TRAJECTORY_KEY
from sg_pipeline.trajectories.types import Polarity, Task, Trajectory, Turn

COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "schema_version": pl.Int64,
    "step": pl.Int64,
    "group": pl.Int64,
    "item": pl.Int64,
    "task_id": pl.String,
    "environment": pl.String,
    "split": pl.String,
    "task_type": pl.String,
    "task_path": pl.String,
    "task_sha256": pl.String,
    "turn": pl.Int64,
    "terminal": pl.Boolean,
    "observation": pl.String,
    "guidance": pl.String,
    "polarity": pl.String,
    "guidance_parsed": pl.Boolean,
    "action": pl.String,
    "action_parsed": pl.Boolean,
    "action_valid": pl.Boolean,
    "reward": pl.Float64,
    "done": pl.Boolean,
    "won": pl.Boolean,
    "truncated": pl.Boolean,
    "score": pl.Float64,
    "context_ids": pl.List(pl.Int32),
    "completion_ids": pl.List(pl.Int32),
    "logprobs": pl.List(pl.Float32),
    "segments": pl.List(pl.Int8),
}


def to_frame(trajectories: Iterable[Trajectory]) -> pl.DataFrame:
    """Write trajectories as a table with the columns of `schema.RolloutTable`, in the given order."""
    rows = []
    for trajectory in trajectories:
        task = trajectory.task
        for index, turn in enumerate(trajectory.turns):
            rows.append(
                {
                    "schema_version": SCHEMA_VERSION,
                    "step": trajectory.policy_step,
                    "group": trajectory.group,
                    "item": trajectory.item,
                    "task_id": task.task_id,
                    "environment": task.environment,
                    "split": task.split,
                    "task_type": task.task_type,
                    "task_path": task.path,
                    "task_sha256": task.sha256,
                    "turn": index,
                    "terminal": index == len(trajectory.turns) - 1,
                    "observation": turn.observation,
                    "guidance": turn.guidance,
                    "polarity": None if turn.polarity is None else turn.polarity.value,
                    "guidance_parsed": turn.guidance_parsed,
                    "action": turn.action,
                    "action_parsed": turn.action_parsed,
                    "action_valid": turn.action_valid,
                    "reward": turn.reward,
                    "done": turn.done,
                    "won": trajectory.won,
                    "truncated": trajectory.truncated,
                    "score": trajectory.score,
                    "context_ids": turn.context_ids,
                    "completion_ids": turn.completion_ids,
                    "logprobs": turn.logprobs,
                    "segments": [int(segment) for segment in turn.segments],
                }
            )
    return pl.DataFrame(rows, schema=COLUMNS)


def from_frame(frame: pl.DataFrame) -> list[Trajectory]:
    """Read trajectories back, ordered by (step, group, item); turns ordered by `turn`."""
    trajectories = []
    for (step, group, item), rows in frame.sort([*TRAJECTORY_KEY, "turn"]).group_by(
        TRAJECTORY_KEY, maintain_order=True
    ):
        first = rows.row(0, named=True)
        task = Task(
            task_id=first["task_id"],
            environment=first["environment"],
            split=first["split"],
            task_type=first["task_type"],
            path=first["task_path"],
            sha256=first["task_sha256"],
        )
        turns = tuple(
            Turn(
                observation=row["observation"],
                context_ids=row["context_ids"],
                completion_ids=row["completion_ids"],
                logprobs=row["logprobs"],
                segments=row["segments"],
                guidance=row["guidance"],
                polarity=None if row["polarity"] is None else Polarity(row["polarity"]),
                guidance_parsed=row["guidance_parsed"],
                action=row["action"],
                action_parsed=row["action_parsed"],
                action_valid=row["action_valid"],
                reward=row["reward"],
                done=row["done"],
            )
            for row in rows.iter_rows(named=True)
        )
        trajectories.append(
            Trajectory(
                task=task,
                group=int(group),  # type: ignore[call-overload]
                item=int(item),  # type: ignore[call-overload]
                policy_step=int(step),  # type: ignore[call-overload]
                turns=turns,
                won=first["won"],
                truncated=first["truncated"],
                score=first["score"],
            )
        )
    return trajectories
