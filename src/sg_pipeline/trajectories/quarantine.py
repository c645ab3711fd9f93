"""The gate before the gradient: sorts a rollout's rows into sound trajectories and quarantined ones, with reasons."""

from typing import Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from sg_pipeline.errors import DataError
from sg_pipeline.trajectories.schema import TRAJECTORY_KEY, ValidTable, trajectory_faults, turn_faults


class GateConfig(BaseModel):
    """How strict the gate is.

    Attributes:
        incomplete_groups: "drop" quarantines what is left of a group that lost a trajectory, since its mean and
            deviation would be those of a selection; "keep" trains on what is left if that is two or more.
        max_quarantined_share: above this share of trajectories the run stops.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    incomplete_groups: Literal["drop", "keep"] = "drop"
    max_quarantined_share: float = Field(0.25, ge=0.0, le=1.0)


def gate(frame: pl.DataFrame, group_size: int, config: GateConfig) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split a rollout's table in rows that may be trained on and rows that may not.

    Args:
        frame: a table with the columns of `RolloutTable`.
        group_size: trajectories that each group should have.
        config: how strict to be.

    Returns:
        (valid, quarantined): `valid` satisfies `ValidTable`; `quarantined` has a further column `reason`.

    Raises:
        DataError: more trajectories are unsound than `max_quarantined_share` allows.
    """
    faults = turn_faults()
    reasons = [pl.when(fault).then(pl.lit(reason)) for reason, fault in faults.items()]
    reasons += [
        pl.when(fault.over(TRAJECTORY_KEY)).then(pl.lit(reason)) for reason, fault in trajectory_faults().items()
    ]
    judged = frame.with_columns(reason=pl.coalesce(*reasons, pl.lit(None, dtype=pl.String)))
    judged = judged.with_columns(reason=pl.col("reason").drop_nulls().first().over(TRAJECTORY_KEY))
    judged = _judge_groups(judged, group_size, config)

    valid = judged.filter(pl.col("reason").is_null()).drop("reason")
    quarantined = judged.filter(pl.col("reason").is_not_null())
    total, bad = _trajectories(judged), _trajectories(quarantined)
    if total and bad / total > config.max_quarantined_share:
        worst = quarantined.group_by("reason").len().sort("len", "reason", descending=[True, False]).row(0)[0]
        raise DataError(
            f"{bad} of {total} trajectories of step {frame['step'][0]} are unsound (most often: {worst}), more than "
            f"validate.max_quarantined_share = {config.max_quarantined_share} allows; look at the step's trajectories, "
            f"or raise the limit."
        )
    return ValidTable.validate(valid), quarantined


def _judge_groups(judged: pl.DataFrame, group_size: int, config: GateConfig) -> pl.DataFrame:
    """Add a reason to the sound trajectories of groups that are not whole."""
    sound = pl.col("item").filter(pl.col("reason").is_null()).n_unique().over("step", "group")
    wanted = group_size if config.incomplete_groups == "drop" else min(2, group_size)
    reason = pl.format("group incomplete: {} of {} trajectories are sound", sound, pl.lit(group_size))
    return judged.with_columns(
        reason=pl.when(pl.col("reason").is_null() & (sound < wanted)).then(reason).otherwise("reason")
    )


def _trajectories(frame: pl.DataFrame) -> int:
    return frame.select(TRAJECTORY_KEY).n_unique()
