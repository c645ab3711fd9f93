"""The dials of a step: success, returns, labels, and early signs of reward hacking.

Signs of reward hacking: `corr_r_sg_turns` near 1 (long "positive" episodes are rewarded), `negative_share` near 0,
`r_sg_gap` (mean R_sg of won minus that of lost episodes) near or below 0, and `guidance_only_groups` (groups whose
gradient comes from guidance alone: R_env is the same in all episodes, and its credit by turn, if there is one, 0).

The outcome is won or lost, even if a benchmark grades its episodes: `r_sg_gap` and `corr_r_sg_won` use the outcome,
R_env uses the score.
"""

import math
from typing import Any

import polars as pl

from sg_pipeline.trajectories.types import Polarity

CREDITS = ("action_credit", "verdict_credit")
"""Columns with what the tokens of each turn get besides the trajectory's advantage."""

FLAT = 1e-9
"""A deviation below this is rounding, not variance."""


def step_dials(returns: pl.DataFrame) -> dict[str, Any]:
    """Summarize the trajectories of a step: JSON-ready, an undefined value (a gap without lost episodes) is None.

    `returns` is a table of `returns.trajectory_returns` with `selected` and, where R_env is credited by turn,
    `r_env_credit`: the largest of each trajectory.
    """
    turns = int(returns["turns"].sum())
    won = returns["won"].cast(pl.Float64)
    labels = {p.value: int(returns[p.value].sum()) for p in Polarity}
    labelled = sum(labels.values())
    credit = [pl.col(name).list.eval(pl.element().abs()).list.max() for name in CREDITS if name in returns.columns]
    credited = pl.max_horizontal(*credit, pl.lit(0.0)).fill_null(0.0) > FLAT
    by_state = pl.col("r_env_credit").fill_null(0.0) > FLAT if "r_env_credit" in returns.columns else pl.lit(False)
    groups = returns.group_by("step", "group").agg(
        flat_env=(pl.col("r_env").std().fill_null(0.0) <= FLAT) & ~by_state.any(),
        flat_total=(pl.col("r_total").std().fill_null(0.0) <= FLAT) & ~credited.any(),
        selected=pl.col("selected").any(),
    )
    flat_env, teaches = groups["flat_env"], groups["selected"] & ~groups["flat_total"]
    return {
        "trajectories": returns.height,
        "groups": groups.height,
        "turns": turns,
        "policy_tokens": int(returns["tokens"].sum()),
        "success_rate": _mean(won),
        "score": _mean(returns["score"]),
        "mean_turns": _mean(returns["turns"]),
        "truncated_share": _mean(returns["truncated"].cast(pl.Float64)),
        "r_env": _mean(returns["r_env"]),
        "r_sg": _mean(returns["r_sg"]),
        "r_total": _mean(returns["r_total"]),
        **{f"{name}_share": _share(count, labelled) for name, count in labels.items()},
        "unparsed_guidance_share": _share(int(returns["unparsed_guidance"].sum()), labelled),
        "unparsed_action_share": _share(int(returns["unparsed_actions"].sum()), turns),
        "invalid_action_share": _share(int(returns["invalid_actions"].sum()), turns),
        "r_sg_gap": _gap(returns["r_sg"], returns["won"]),
        "corr_r_sg_turns": correlation(returns["r_sg"], returns["turns"]),
        "corr_r_sg_won": correlation(returns["r_sg"], won),
        "guidance_only_groups": _mean((flat_env & teaches).cast(pl.Float64)),
        "groups_without_gradient": _mean((~teaches).cast(pl.Float64)),
    }


def correlation(left: pl.Series, right: pl.Series) -> float | None:
    """Pearson's correlation; None if either side has no variance."""
    if len(left) < 2 or left.n_unique() < 2 or right.n_unique() < 2:
        return None
    value = pl.DataFrame({"l": left.cast(pl.Float64), "r": right.cast(pl.Float64)}).select(pl.corr("l", "r")).item()
    return None if value is None or math.isnan(value) else float(value)


def _gap(value: pl.Series, won: pl.Series) -> float | None:
    wins, losses = value.filter(won), value.filter(~won)
    return _mean(wins) - _mean(losses) if len(wins) and len(losses) else None  # type: ignore[operator]


def _mean(values: pl.Series) -> float | None:
    return float(values.mean()) if len(values) else None  # type: ignore[arg-type]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
