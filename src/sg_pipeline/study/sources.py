"""What the study's page shows of its trajectories: some steps of every run, and all evaluations."""

from pathlib import Path
from typing import Any

import polars as pl

from sg_pipeline.config.rewards import PolarityValues
from sg_pipeline.errors import DataError
from sg_pipeline.reporting.page.source import TABLE_COLUMNS, TRAINING, ViewerSource, spread_steps
from sg_pipeline.study.records import EPISODES, REWARDS, TRAJECTORIES, RunRecord

STEPS_SHOWN = 6
"""Steps of a run of which trajectories are read; the first and the last are among them."""


def viewer_sources(record: RunRecord, steps: int = STEPS_SHOWN) -> list[ViewerSource]:
    """Read a run's trajectories for the viewer, its final policy's first.

    Args:
        record: the run.
        steps: how many steps of training to read.

    Raises:
        DataError: a table is missing or not readable.
    """
    values = PolarityValues(
        **{
            name.removeprefix("aggregate.polarity."): value
            for name, value in record.parameters.items()
            if name.startswith("aggregate.polarity.")
        }
    )
    common: dict[str, Any] = {"method": record.method, "seed": record.seed, "run": record.name, "values": values}
    sources = []
    for policy, step in (("final", len(record.metrics)), ("base", 0)):
        for mode in sorted(record.evaluation(policy), key=lambda mode: mode != record.mode):
            path = record.data / EPISODES / record.name / f"{policy}_{mode}.parquet"
            sources.append(
                ViewerSource(
                    **common,
                    origin=f"evaluation: {policy} {mode}",
                    phase=None,
                    step=step,
                    trust=None,
                    table=_read(path),
                )
            )
    width = max(3, len(str(max(len(record.metrics), 1) - 1)))
    for step in spread_steps(range(len(record.metrics)), steps):
        metrics, folder = record.metrics[step], f"step_{step:0{width}d}"
        rewards, gaps = (record.data / REWARDS / record.name / folder / name for name in
                         ("rewards.parquet", "logprob_gaps.parquet"))  # fmt: skip
        sources.append(
            ViewerSource(
                **common,
                origin=TRAINING,
                phase=metrics["phase"],
                step=step,
                trust=metrics["lambda"],
                table=_read(record.data / TRAJECTORIES / record.name / folder / "trajectories.parquet"),
                rewards=pl.read_parquet(rewards) if rewards.exists() else None,
                gaps=pl.read_parquet(gaps) if gaps.exists() else None,
            )
        )
    return sources


def _read(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, columns=list(TABLE_COLUMNS))
    except (OSError, pl.exceptions.PolarsError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{path} is not a readable table of trajectories ({first}); delete it, and make it anew by running its run "
            f"again with --only-missing-outputs"
        ) from error
