"""What a graded score is made of, where the benchmark tells (`StepResult.parts`).

The parts stand in a column of evaluation tables alone, and only of benchmarks that have them: trajectories, which
training reads, are the same for all.
"""

from collections.abc import Sequence
from typing import Any

import pandera.polars as pa
import polars as pl

from sg_pipeline.evaluation.intervals import score_interval
from sg_pipeline.trajectories.schema import RolloutTable

COLUMN = "parts"
"""Name and value of each part of the episode's score, on every row of the episode; nothing where it has none."""

_PART = pl.Struct({"name": pl.String, "value": pl.Float64})

Parts = tuple[tuple[str, float], ...]


class EvaluationTable(RolloutTable):
    """A trajectory table of evaluation episodes; with the column `parts` where the benchmark has them."""

    parts: pl.List | None = pa.Field(nullable=True, dtype_kwargs={"inner": _PART})


def with_parts(frame: pl.DataFrame, episodes: Sequence[tuple[int, int, Parts]]) -> pl.DataFrame:
    """Add the column `parts` to a trajectory table; none of the episodes has any: the table as it is.

    Args:
        frame: one row a turn.
        episodes: (group, item, parts) of each episode in it.
    """
    if not any(parts for _, _, parts in episodes):
        return frame
    rows = [
        {"group": group, "item": item, COLUMN: [{"name": name, "value": value} for name, value in parts]}
        for group, item, parts in episodes
    ]
    column = pl.DataFrame(rows, schema={"group": pl.Int64, "item": pl.Int64, COLUMN: pl.List(_PART)})
    return frame.join(column, on=["group", "item"], how="left", maintain_order="left")


def mean_parts(frame: pl.DataFrame, seed: int, *names: str) -> dict[str, dict[str, Any]]:
    """Mean of each part over the episodes that have it: a purchase that was never made was not right in part either.

    Args:
        frame: evaluation episodes of one split.
        seed: the run's seed, for bootstrapped intervals.
        names: what is scored; with the seed they name the bootstrap's random stream.

    Returns:
        JSON-ready: name -> `mean`, `ci95` [low, high], `interval` (its method), `episodes` (that have it), in the order
        of the names; empty where no episode has any.
    """
    if COLUMN not in frame.columns:
        return {}
    each = frame.filter("terminal").select("task_id", COLUMN).explode(COLUMN).drop_nulls(COLUMN).unnest(COLUMN)
    found = {}
    for name in sorted(set(each["name"])):
        values = each.filter(pl.col("name") == name)
        games = values.group_by("task_id").agg(pl.col("value").sort().sum(), episodes=pl.len()).sort("task_id")
        interval, method = score_interval({task: row for task, *row in games.iter_rows()}, seed, "part", name, *names)
        found[name] = {
            "mean": float(values["value"].sort().mean()),  # type: ignore[arg-type]
            "ci95": None if interval is None else list(interval),
            "interval": method,
            "episodes": values.height,
        }
    return found
