"""From validated turns to the optimizer's input: one row per trajectory with its advantage, and the dials."""

from typing import Any

import polars as pl

from sg_pipeline.config.extensions import CREDIT, load
from sg_pipeline.config.rewards import RewardConfig
from sg_pipeline.rewards.credit import Credit
from sg_pipeline.rewards.dials import FLAT, step_dials
from sg_pipeline.rewards.returns import trajectory_returns
from sg_pipeline.trajectories.types import TRAJECTORY_KEY


def aggregate_step(
    turns: pl.DataFrame, config: RewardConfig, step: int, steps: int, *, drop_flat_groups: bool = False
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Reward one step's trajectories.

    Args:
        turns: a table that satisfies `ValidTable`, all of one step.
        config: rewards of a trajectory.
        step, steps: u, the index of the step within the run, and N, the number of the run's steps.
        drop_flat_groups: DAPO's filter: groups without variance in R_env are not trained on, whatever their R_sg.

    Returns:
        (one row per trajectory with `selected` (used for training) and `advantage` (0 if not selected), the step's
        dials with `step`, `phase` and `lambda`).
    """
    trust = config.schedule.trust(step, steps)
    credit: Credit = load(CREDIT, config.normalisation)
    returns = trajectory_returns(turns, config.polarity, trust, config.environment_scale)
    varied = pl.col("r_env").max().over("step", "group") - pl.col("r_env").min().over("step", "group") > FLAT
    returns = returns.with_columns(selected=varied if drop_flat_groups else pl.lit(True))
    # Dropped trajectories do not count in the scale of a batch either.
    rewards = pl.concat(
        [
            returns.filter("selected").with_columns(advantage=credit(config.environment_scale)),
            returns.filter(~pl.col("selected")).with_columns(advantage=pl.lit(0.0)),
        ]
    ).sort(TRAJECTORY_KEY)
    dials = {"step": step, "phase": config.schedule.phase(step, steps), "lambda": trust, **step_dials(rewards)}
    return rewards, dials
