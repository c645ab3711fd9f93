"""The gate before the gradient: sorts a rollout's rows into sound trajectories and quarantined ones, with reasons.

A trajectory with a fault is quarantined alone. Its group follows where `GateConfig` says so, and in any case
where the sound trajectories of the group are of several tasks: none can be said to be the right one.
"""

from collections.abc import Mapping

import polars as pl

from sg_pipeline.config.rollout import GateConfig
from sg_pipeline.errors import GO_ON, DataError
from sg_pipeline.trajectories.types import ANY, GROUP_KEY, TRAJECTORY_KEY


def gate(
    frame: pl.DataFrame,
    group_size: int | None,
    config: GateConfig,
    *,
    vocabulary: int = ANY,
    max_length: int = ANY,
    step: int | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split a rollout's table in rows that may be trained on and rows that may not.

    Args:
        frame, config: a table with the columns of `RolloutTable`, and how strict to be.
        group_size: trajectories that each group should have; None: groups do not matter.
        vocabulary: number of token ids that the policy knows.
        max_length: tokens that a trajectory may have.
        step: the step that was rolled out; None: that of the first row.

    Returns:
        (valid, quarantined): `valid` satisfies `ValidTable`; `quarantined` has a further column `reason`.

    Raises:
        DataError: more trajectories are unsound than `max_quarantined_share` allows, or there are none.
    """
    from sg_pipeline.trajectories.schema import group_faults, trajectory_faults, turn_faults  # pandera takes 0.3 s

    if frame.is_empty():
        raise DataError(f"step {step} has no trajectories: delete its trajectories.parquet, then {GO_ON}")
    step = frame["step"][0] if step is None else step
    faults = {
        f"not of step {step}": pl.col("step") != step,
        **turn_faults(vocabulary),
        **trajectory_faults(max_length),
    }
    judged = _judge(frame.with_row_index("row"), TRAJECTORY_KEY, faults)
    if group_size is not None:
        sound = pl.col("reason").is_null()
        groups = _judge(judged.filter(sound).drop("reason"), GROUP_KEY, group_faults(group_size))
        found = pl.col("item").n_unique().over(GROUP_KEY)
        wanted = group_size if config.incomplete_groups == "drop" else min(2, group_size)
        incomplete = pl.format("group incomplete: {} of {} trajectories are sound", found, group_size)
        groups = groups.with_columns(reason=pl.when(sound & (found < wanted)).then(incomplete).otherwise("reason"))
        judged = pl.concat([groups, judged.filter(~sound)])
    judged = judged.sort("row").drop("row")

    valid = judged.filter(pl.col("reason").is_null()).drop("reason")
    quarantined = judged.filter(pl.col("reason").is_not_null())
    total, bad = (table.select(TRAJECTORY_KEY).n_unique() for table in (judged, quarantined))
    if bad / total > config.max_quarantined_share:
        own = quarantined.filter(~pl.col("reason").str.starts_with("group incomplete"))
        reasons = (quarantined if own.is_empty() else own).group_by("reason").len()
        worst = reasons.sort("len", "reason", descending=[True, False]).row(0)[0]
        raise DataError(
            f"{bad} of {total} trajectories of step {step} are unsound (most often: {worst}), more than "
            f"validate.max_quarantined_share = {config.max_quarantined_share} allows; look at the step's trajectories, "
            f"or raise the limit"
        )
    return valid, quarantined


def _judge(frame: pl.DataFrame, key: list[str], faults: Mapping[str, pl.Expr]) -> pl.DataFrame:
    """Add the column `reason`: the first of `faults` that rows with the same `key` have, else null."""
    reasons = [pl.when(fault.any().over(key)).then(pl.lit(reason)) for reason, fault in faults.items()]
    return frame.with_columns(reason=pl.coalesce(*reasons, pl.lit(None, dtype=pl.String)))
