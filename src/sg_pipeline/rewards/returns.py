"""From turns to returns: one row per trajectory.

r_t^sg  = value of the polarity of z_t              (+0.1 / 0 / -0.1)
R_sg    = sum over t of r_t^sg
R       = scale * R_env + lambda(u) * R_sg           (Self-Guide, arXiv 2604.03098)
"""

import polars as pl

from sg_pipeline.config.rewards import PolarityValues
from sg_pipeline.trajectories.types import TRAJECTORY_KEY, Polarity


def step_reward(values: PolarityValues) -> pl.Expr:
    """Return the reward of each turn's polarity; 0 for a turn without guidance."""
    rewards = {p.value: getattr(values, p.value) for p in Polarity}
    return pl.col("polarity").replace_strict(rewards, default=0.0, return_dtype=pl.Float64)


def trajectory_returns(
    turns: pl.DataFrame, values: PolarityValues, trust: float, environment_scale: float
) -> pl.DataFrame:
    """Aggregate a table of turns to one row per trajectory.

    Args:
        turns: a table that satisfies `ValidTable`.
        values: see `step_reward`.
        trust: lambda(u) of this step.
        environment_scale: factor of R_env; 1 in the paper.

    Returns:
        Sorted by (step, group, item): the key, task_id, task_type, `turns`, `tokens` (policy tokens), `won`, `score`,
        `truncated`, `r_env` (unscaled: the sum of the step rewards, which is 1 for a won episode, or the score where a
        benchmark grades), `r_sg`, `trust`, `r_total`, and the counts `positive`, `neutral`, `negative`,
        `unparsed_guidance`, `unparsed_actions`, `invalid_actions`.
    """
    polarity = pl.col("polarity")
    returns = turns.group_by(TRAJECTORY_KEY).agg(
        pl.col("task_id", "task_type").first(),
        turns=pl.len().cast(pl.Int64),
        tokens=pl.col("completion_ids").list.len().sum().cast(pl.Int64),
        won=pl.col("won").first(),
        score=pl.col("score").first(),
        truncated=pl.col("truncated").first(),
        r_env=pl.col("reward").sum(),
        r_sg=step_reward(values).sum(),
        **{p.value: (polarity == p.value).sum().cast(pl.Int64) for p in Polarity},
        unparsed_guidance=(polarity.is_not_null() & ~pl.col("guidance_parsed")).sum().cast(pl.Int64),
        unparsed_actions=(~pl.col("action_parsed")).sum().cast(pl.Int64),
        invalid_actions=(~pl.col("action_valid")).sum().cast(pl.Int64),
    )
    return returns.with_columns(
        trust=pl.lit(trust, dtype=pl.Float64), r_total=environment_scale * pl.col("r_env") + trust * pl.col("r_sg")
    ).sort(TRAJECTORY_KEY)
