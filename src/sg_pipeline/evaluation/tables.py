"""The tables of evaluation: trajectories with the parts of their scores, and the reflections of prompting methods."""

from collections.abc import Sequence

import pandera.polars as pa
import polars as pl

from sg_pipeline.rollouts.result import Parts
from sg_pipeline.trajectories.schema import RolloutTable

_PART = pl.Struct({"name": pl.String, "value": pl.Float64})


class EvaluationTable(RolloutTable):
    """A trajectory table of evaluation episodes.

    `parts` holds name and value of each part of the episode's score, on every row of the episode. The column exists
    only where the benchmark reports parts (`StepResult.parts`); tables for training never have it.
    """

    parts: pl.List | None = pa.Field(nullable=True, dtype_kwargs={"inner": _PART})


class ReflectionTable(pa.DataFrameModel):
    """What the policy noted after failed trials, one note a row.

    `split`, `task_id`, `group` and `item` name the episode as in trajectory tables; `trial` failed, counted from 1;
    `text` is what later prompts show; `stopped` is False where the token limit cut the note; `prompt_ids`,
    `completion_ids` (end of turn included where it was sampled) and `logprobs` are token-exact.
    """

    split: str
    task_id: str
    group: int = pa.Field(ge=0)
    item: int = pa.Field(ge=0)
    trial: int = pa.Field(ge=1)
    text: str
    stopped: bool
    prompt_ids: pl.List(pl.Int32)  # type: ignore[valid-type]
    completion_ids: pl.List(pl.Int32)  # type: ignore[valid-type]
    logprobs: pl.List(pl.Float32)  # type: ignore[valid-type]

    class Config:
        """Reject missing and extra columns."""

        strict = True


REFLECTIONS: dict[str, pl.DataType] = {
    name: column.dtype.type for name, column in ReflectionTable.to_schema().columns.items()
}
"""Column -> type in polars, in order."""


def with_parts(frame: pl.DataFrame, episodes: Sequence[tuple[int, int, Parts]]) -> pl.DataFrame:
    """Add the column `parts` to a trajectory table; if no episode has any, return the table unchanged.

    Args:
        frame: one row a turn.
        episodes: (group, item, parts) of each episode in it.
    """
    if not any(parts for _, _, parts in episodes):
        return frame
    rows = [
        {"group": group, "item": item, "parts": [{"name": name, "value": value} for name, value in parts]}
        for group, item, parts in episodes
    ]
    column = pl.DataFrame(rows, schema={"group": pl.Int64, "item": pl.Int64, "parts": pl.List(_PART)})
    return frame.join(column, on=["group", "item"], how="left", maintain_order="left")
