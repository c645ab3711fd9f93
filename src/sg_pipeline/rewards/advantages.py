"""Group-relative advantages, and how R_env and lambda R_sg are normalised together.

The choice matters more than it looks. In a group in which every episode fails (or every one wins) R_env has no
variance, so dividing by the group's deviation scales lambda * R_sg to unit variance *however small lambda is*:
guidance alone then drives a full-strength update. "group" is the paper's form; the others keep lambda's meaning.
"""

from typing import Literal

import polars as pl

EPSILON = 1e-4
"""Added to every deviation, as TRL does; a group without variance gets advantage 0."""

Normalisation = Literal["group", "batch", "apart", "none"]

_GROUP = ["step", "group"]


def add_advantages(returns: pl.DataFrame, normalisation: Normalisation, environment_scale: float) -> pl.DataFrame:
    """Add the column `advantage` to a table of `returns.trajectory_returns`.

    With mean_g, std_g over the trajectories of one task's group (sample deviation, as in TRL) and
    std_b over all trajectories of the step:

        group   A = (R - mean_g R) / (std_g R + eps)                                              the paper's form
        batch   A = (R - mean_g R) / (std_b (R - mean_g R) + eps)                                 one scale for the step
        apart   A = (E - mean_g E) / (std_g E + eps) + lambda (S - mean_g S) / (std_g S + eps)    E = R_env, S = R_sg
        none    A = R - mean_g R                                                                  Dr. GRPO

    Args:
        returns: one row a trajectory, with `r_env`, `r_sg`, `trust`, `r_total`.
        normalisation: which of the four.
        environment_scale: factor of R_env within R; in "apart" it scales the first term.
    """
    total, environment, guidance = pl.col("r_total"), pl.col("r_env"), pl.col("r_sg")
    if normalisation == "group":
        advantage = _standardised(total)
    elif normalisation == "batch":
        centred = total - total.mean().over(_GROUP)
        advantage = centred / (centred.std().fill_null(0.0) + EPSILON)
    elif normalisation == "apart":
        advantage = environment_scale * _standardised(environment) + pl.col("trust") * _standardised(guidance)
    else:
        advantage = total - total.mean().over(_GROUP)
    return returns.with_columns(advantage=advantage)


def _standardised(value: pl.Expr) -> pl.Expr:
    """(x - mean_g x) / (std_g x + eps); 0 in a group of one."""
    return (value - value.mean().over(_GROUP)) / (value.std().over(_GROUP).fill_null(0.0) + EPSILON)
