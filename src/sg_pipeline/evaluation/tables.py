"""The tables of evaluation: trajectories with the parts of their scores, and the reflections of prompting methods."""

from collections.abc import Sequence

import pandera.polars as pa
import polars as pl

from sg_pipeline.rollouts.result import Parts
from sg_pipeline.trajectories.frame import to_frame
from sg_pipeline.trajectories.schema import RolloutTable
from sg_pipeline.trajectories.types import Trajectory

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


def evaluation_table(trajectories: Sequence[Trajectory], parts: Sequence[Parts]) -> pl.DataFrame:
    """Return an `EvaluationTable` of episodes and the parts of their scores."""
    frame = to_frame(trajectories)
    if not any(parts):
        return frame
    named = [[{"name": name, "value": value} for name, value in own] for own in parts]
    column = [own for one, own in zip(trajectories, named, strict=True) for _ in one.turns]
    return frame.with_columns(pl.Series("parts", column, dtype=pl.List(_PART)))
