"""Evidence: what the steps so far say about verdicts, as counts that fade.

It lies in each step's metrics as `evidence` and passes from one step to the next, so that a resumed run has the same.
With each step what was known before is multiplied by `MEMORY`.

*Do verdicts tell a win from a loss?* Only within a group, where the task is the same, and without the length of an
episode: m_i is the mean verdict of the first two thirds of episode i, without its first turn, which has nothing to
judge. Of a group g with wins and losses,

    d_g = mean over pairs (won i, lost j) of sign(m_i - m_j)      in [-1, 1]; 0 is chance, AUC = (1 + d) / 2

*What does a label mean?* Turns and won turns by (third of `rollout.max_turns`, label).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from sg_pipeline.trajectories.types import GROUP_KEY, TRAJECTORY_KEY, Polarity

MEMORY = 0.9
"""Of one step for those before: a memory of about ten steps."""

VERDICT = {Polarity.NEGATIVE.value: -1, Polarity.NEUTRAL.value: 0, Polarity.POSITIVE.value: 1}


@dataclass(frozen=True, slots=True)
class Evidence:
    """Fading sums over steps.

    Attributes:
        groups: of groups with wins and losses, in weight.
        groups_squared: of the squared weights of these groups.
        concordance: of d_g.
        concordance_squared: of d_g squared.
        turns: of turns, by "third.label".
        wins: of turns of won episodes, by "third.label".
        dials: of the dials that can veto, each with its weight: "name" and "name.weight".
    """

    groups: float = 0.0
    groups_squared: float = 0.0
    concordance: float = 0.0
    concordance_squared: float = 0.0
    turns: Mapping[str, float] = field(default_factory=dict)
    wins: Mapping[str, float] = field(default_factory=dict)
    dials: Mapping[str, float] = field(default_factory=dict)

    def bound(self, deviations: float) -> float | None:
        """Return the lower bound of the mean d_g: that many standard errors below it; None without two groups."""
        if self.groups == 0.0:
            return None
        effective = self.groups**2 / self.groups_squared
        if effective < 2:
            return None
        mean = self.concordance / self.groups
        variance = max(0.0, self.concordance_squared / self.groups - mean**2) * effective / (effective - 1)
        return mean - deviations * float(np.sqrt(variance / effective))

    def dial(self, name: str) -> float | None:
        """Return the fading mean of a dial; None where it was never defined."""
        weight = self.dials.get(f"{name}.weight", 0.0)
        return self.dials[name] / weight if weight else None

    def win_rate(self, third: int, label: str) -> float:
        """Return P(won | label in this third), counted from two imaginary turns, one of them won."""
        cell = f"{third}.{label}"
        return (self.wins.get(cell, 0.0) + 1) / (self.turns.get(cell, 0.0) + 2)

    def worth(self, third: int, label: str) -> float:
        """Return P(won | label in this third) - P(won | this third), by turns; 0 where there are none."""
        cells = [f"{third}.{name}" for name in VERDICT]
        turns = sum(self.turns.get(cell, 0.0) for cell in cells)
        if not turns:
            return 0.0
        mean = sum(self.wins.get(cell, 0.0) for cell in cells) / turns
        cell = f"{third}.{label}"
        # As if two turns of the mean had been seen besides: a label that is rare is worth little.
        return (self.wins.get(cell, 0.0) + 2 * mean) / (self.turns.get(cell, 0.0) + 2) - mean

    def after(self, now: "Evidence") -> "Evidence":
        """Return the evidence after a step whose own is `now`."""

        def faded(before: Mapping[str, float], new: Mapping[str, float]) -> dict[str, float]:
            return {name: MEMORY * before.get(name, 0.0) + new.get(name, 0.0) for name in sorted({*before, *new})}

        return Evidence(
            MEMORY * self.groups + now.groups,
            MEMORY**2 * self.groups_squared + now.groups_squared,
            MEMORY * self.concordance + now.concordance,
            MEMORY * self.concordance_squared + now.concordance_squared,
            faded(self.turns, now.turns),
            faded(self.wins, now.wins),
            faded(self.dials, now.dials),
        )


VETOES = ("negative_share", "corr_r_sg_turns", "r_sg_gap")
"""Dials that can veto trust."""


def step_evidence(turns: pl.DataFrame, dials: Mapping[str, Any]) -> Evidence:
    """Return what one step says.

    Args:
        turns: as for `config.rewards.CreditRule.by_turn`.
        dials: of the step.
    """
    labelled = turns.filter(pl.col("polarity").is_not_null())
    d = concordance(turns)
    cells = labelled.group_by(pl.format("{}.{}", "third", "polarity").alias("cell")).agg(pl.len(), pl.col("won").sum())
    noted = {name: float(dials[name]) for name in VETOES if dials.get(name) is not None}
    return Evidence(
        float(len(d)),
        float(len(d)),
        float(d.sum()),
        float((d**2).sum()),
        {cell: float(n) for cell, n, _ in cells.sort("cell").iter_rows()},
        {cell: float(n) for cell, _, n in cells.sort("cell").iter_rows()},
        {**noted, **{f"{name}.weight": 1.0 for name in noted}},
    )


def mean_concordance(turns: pl.DataFrame) -> float | None:
    """Return the mean d_g of a step; None where no group has wins and losses."""
    found = concordance(turns)
    return float(found.mean()) if len(found) else None


def concordance(turns: pl.DataFrame) -> np.ndarray:
    """Return d_g of each group with wins and losses, in their order; turns without guidance do not count."""
    verdict = pl.col("polarity").replace_strict(VERDICT, return_dtype=pl.Float64)
    early = (pl.col("turn") > 0) & (pl.col("turn") * 3 < pl.len().over(TRAJECTORY_KEY) * 2)
    episodes = (
        turns.filter(early & pl.col("polarity").is_not_null())
        .group_by(TRAJECTORY_KEY)
        .agg(pl.col("won").first(), mean=verdict.mean())
    )
    found = []
    for _, group in episodes.sort(TRAJECTORY_KEY).group_by(GROUP_KEY, maintain_order=True):
        won, lost = (group.filter(pl.col("won") == value)["mean"].to_numpy() for value in (True, False))
        if len(won) and len(lost):
            found.append(np.sign(won[:, None] - lost[None, :]).mean())
    return np.array(found)
