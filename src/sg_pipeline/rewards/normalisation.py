"""Normalisation: the advantage of each trajectory, and how R_env and lambda R_sg are normalised together.

The choice has a large effect. In a group in which every episode fails (or every one succeeds) R_env has no
variance, so dividing by the group's deviation scales lambda * R_sg to unit variance *however small lambda is*:
guidance alone then drives a full-strength update. `group` is the paper's form; the others keep the meaning of lambda.

A rule is a `Normalisation` function, named in `config/extensions.py`. With mean_g, std_g over the trajectories of one
task's group (sample deviation, as in TRL) and std_b over all trajectories of the step:

    group   A = (R - mean_g R) / (std_g R + eps)                                              the paper's form
    batch   A = (R - mean_g R) / (std_b (R - mean_g R) + eps)                                 one scale for the step
    apart   A = (E - mean_g E) / (std_g E + eps) + lambda (S - mean_g S) / (std_g S + eps)    E = R_env, S = R_sg
    none    A = R - mean_g R                                                                  Dr. GRPO
    rloo    A = R - mean of the group's other R = n / (n - 1) (R - mean_g R)                  RLOO (arXiv 2402.14740)
"""

from collections.abc import Callable

import polars as pl

EPSILON = 1e-4
"""Added to every deviation, as TRL does; a group without variance gets advantage 0."""

_GROUP = ["step", "group"]

Normalisation = Callable[[float], pl.Expr]
"""Factor of R_env within R -> the advantage as an expression of the columns `r_env`, `r_sg`, `trust` and `r_total` (one
row per trajectory, see `returns.trajectory_returns`)."""


def group(environment_scale: float) -> pl.Expr:
    """One scale per group."""
    return _standardised(pl.col("r_total"))


def batch(environment_scale: float) -> pl.Expr:
    """One scale for the step."""
    centred = none(environment_scale)
    return centred / (centred.std().fill_null(0.0) + EPSILON)


def apart(environment_scale: float) -> pl.Expr:
    """Environment and internal reward each on their own scale."""
    return environment_scale * _standardised(pl.col("r_env")) + pl.col("trust") * _standardised(pl.col("r_sg"))


def none(environment_scale: float) -> pl.Expr:
    """No scale."""
    total = pl.col("r_total")
    return total - total.mean().over(_GROUP)


def rloo(environment_scale: float) -> pl.Expr:
    """No scale; the baseline leaves the trajectory itself out."""
    size = pl.len().over(_GROUP)
    return pl.when(size > 1).then(none(environment_scale) * size / (size - 1)).otherwise(0.0)


def _standardised(value: pl.Expr) -> pl.Expr:
    """(x - mean_g x) / (std_g x + eps); 0 in a group of one."""
    return (value - value.mean().over(_GROUP)) / (value.std().over(_GROUP).fill_null(0.0) + EPSILON)
