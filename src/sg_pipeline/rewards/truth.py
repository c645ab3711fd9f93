"""Truth: pay for verdicts that come true, whatever they say.

An internal reward pays a verdict for being positive, so it drifts there; R_env does not teach the policy to judge,
since a lost episode that honestly says so is punished as a whole. RefGRPO (arXiv 2606.14211) has a bonus for
reflections that match their outcome; this is ours for verdicts by turn. The tokens of verdict t get mu(u) S(s_t):

    outcome   s_t = verdict (-1, 0, 1) x (1 if won, else -1)
    brier     s_t = -(P(won | label, third) - won)^2       a proper score; P from the steps before, see `evidence`
    S(s)      = w (s - mean of s in the same third with the same outcome) / deviation over the step

Only groups with wins and losses count, and w gives wins and losses half of the weight each. Otherwise the truest
verdict where success is rare is "negative", always: in a first form without either nearly all verdicts were negative
after twenty steps, and no episode was won any more.

Outcome and third are out of a verdict's reach, so the mean changes no expected gradient; it takes away the luck of
the episode. Thirds are those of `rollout.max_turns`: a verdict is written before the length of its episode is known.
"""

from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field

from sg_pipeline.config.rewards import TruthRule
from sg_pipeline.rewards.credit import Turns
from sg_pipeline.rewards.evidence import VERDICT, Evidence
from sg_pipeline.rewards.normalisation import EPSILON
from sg_pipeline.rewards.trust import Trapezoid
from sg_pipeline.trajectories.types import GROUP_KEY


class Weight(Trapezoid):
    """mu(u): a trapezoid like that of trust, but from the first step on."""

    activation: float = Field(0.0, ge=0.0, le=1.0)
    full: float = Field(0.0, ge=0.0, le=1.0)
    peak: float = Field(0.5, ge=0.0, allow_inf_nan=False)


class Off(TruthRule):
    """Verdicts are not paid for being true."""

    kind: Literal["off"] = "off"

    def pay(self, turns: Turns, evidence: Evidence | None, step: int, steps: int) -> None:
        """Return None."""
        return None


class OutcomeTruth(TruthRule):
    """A verdict that agrees with the outcome pays.

    Attributes:
        weight: mu(u).
    """

    kind: Literal["outcome"] = "outcome"
    weight: Weight = Weight()

    def pay(self, turns: Turns, evidence: Evidence | None, step: int, steps: int) -> np.ndarray:
        """Return mu(u) S(s_t); 0 without guidance."""
        weight = self.weight.trust(step, steps)
        mixed = pl.col("won").n_unique().over(GROUP_KEY) == 2
        table = turns.with_columns(score=pl.when(mixed).then(self._scores(turns, evidence)))
        score, known = pl.col("score"), pl.col("score").count()
        half = known / (2 * known.over("won"))
        centred = (half * (score - score.mean().over("third", "won"))).fill_null(0.0)
        return table.select(weight * centred / (centred.std().fill_null(0.0) + EPSILON))[:, 0].to_numpy()

    def _scores(self, turns: Turns, evidence: Evidence | None) -> pl.Series:
        """Return s_t, null without guidance."""
        verdict = pl.col("polarity").replace_strict(VERDICT, return_dtype=pl.Float64)
        return turns.select(verdict * pl.when("won").then(1.0).otherwise(-1.0))[:, 0]


class BrierTruth(OutcomeTruth):
    """A verdict pays by how well it forecasts, read as what verdicts like it have come to mean."""

    kind: Literal["brier"] = "brier"  # type: ignore[assignment]

    @property
    def reads_evidence(self) -> bool:
        """True."""
        return True

    def _scores(self, turns: Turns, evidence: Evidence | None) -> pl.Series:
        known = evidence or Evidence()
        cells = turns.select("third", "polarity", "won").iter_rows()
        scores = [
            None if label is None else -((known.win_rate(third, label) - won) ** 2) for third, label, won in cells
        ]
        return pl.Series(scores, dtype=pl.Float64)
