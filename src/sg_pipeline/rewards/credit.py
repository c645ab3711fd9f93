"""Credit: which tokens of an episode get which part of the rewards.

The paper sums the internal reward over the trajectory and gives all its tokens one advantage, so a verdict pays for
itself, and what it said about one action is lost in the sum. The rules here are ours, but for the first and the last.
With A the trajectory's advantage (`normalisation`), r_t^env the environment's reward of turn t, and v_t the value of
the verdict in guidance z_t, which judges action a_{t-1}:

    trajectory   all tokens: A of R = scale R_env + lambda R_sg                                      the paper's form
    turn         all tokens: A of R = scale R_env, and further
                 plan and action of turn t:   lambda(u) S(G_t^sg) + omega S(G_t^env)
                 verdict of turn t:           omega S(G_t^env)
    gigpo        all tokens: A of R = scale R_env + lambda R_sg, and further omega S(G_t^env)     arXiv 2505.10978

    G_t^env = r_t^env + gamma G_{t+1}^env
    G_t^sg  = r_t^sg + gamma trace G_{t+1}^sg
    r_t^sg  = v_{t+1}                        reward: verdict     (last turn: the value of positive if won, else 0)
            = min(v_{t+1}, b)                the same, where the episode has been in state t + 1 before, see `revisits`
            = gamma v_{t+1} - v_t            reward: potential   (v_0 is that of the first guidance, v_T = 0)
            = w_{t+1}                        reward: worth       w = P(won | label, third) - P(won | third), by evidence
    S(G)    = (G - mean of G where the state was the same) / deviation

A guidance is a verdict, which judges the last action, and a plan, which decides the next: once "take mug 1" is planned,
the action's own tokens are all but certain, and credit that reached them alone would teach nothing. So plan and action
of turn t share the credit of verdict t + 1. Its own tokens get nothing from it: what praises may not pay itself. The
state is the baseline's: `anchor` is what the benchmark says identifies it (`environments.base.Benchmark.anchors`),
within the episodes of one group; a state met once has S = 0. With `reward: potential` and trace 1 the sum telescopes to
-v_t, which says nothing about the action; a trace of 0 asks whether the action changed the verdict for the better. No
length of an episode pays: constant praise earns (gamma - 1) v each turn, at most 0.
"""

from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from sg_pipeline.config.rewards import CreditRule
from sg_pipeline.rewards.dials import FLAT
from sg_pipeline.rewards.evidence import Evidence
from sg_pipeline.rewards.normalisation import EPSILON
from sg_pipeline.trajectories.types import GROUP_KEY, TRAJECTORY_KEY, Polarity

Turns = pl.DataFrame
"""One row a turn, sorted by (step, group, item, turn): these, `won`, `reward` (the environment's), `verdict` (value of
the turn's own verdict, 0 without guidance), `polarity`, `praise` and `blame` (values of positive and negative),
`advantage` (the trajectory's); if a rule asks for them `anchor` (what identifies the state before the action) and
`oracle` (value of the benchmark's verdict on the action)."""


Scale = Literal["batch", "own", "none"]


class TrajectoryCredit(CreditRule):
    """The paper's form: one advantage for all tokens of a trajectory."""

    kind: Literal["trajectory"] = "trajectory"

    def by_turn(self, turns: Turns, trust: float, evidence: Evidence | None = None) -> None:
        """Return None: the trajectory's advantage is all."""
        return None


class TurnCredit(CreditRule):
    """Credit by turn: the next verdict belongs to the action that it judges (see the module).

    Attributes:
        reward: "verdict"; "potential" for the difference of two verdicts; "worth" for what the label has been worth in
            the steps before, in probability of winning: praise that comes as often in lost episodes is worth nothing.
            It is only centred, since a `scale` would make as much of little.
        gamma: discount of a turn.
        trace: how far back a verdict reaches: 1 the whole episode, 0 the action before it.
        baseline: compares turns of a group in the same state ("anchor"), of the same number ("turn"), or all ("group").
        scale: "batch": one deviation for the step, over turns that have something to be compared with; "own": of each
            set of compared turns, where any difference counts as much as a win; "none".
        omega: weight of R_env's discounted return.
        verdicts: "own", or "oracle": the benchmark's judge in place of the policy's verdicts, an upper bound for
            diagnosis that no method may use.
        revisits: what praise is worth for an action that leads back to a state of its episode: "paid" all, "unpaid"
            nothing (b = 0), "blamed": it counts as negative whatever the verdict (b is the value of negative). A policy
            that may be praised again for the same finds the two places between which it is, and stays there.
        verdicts_learn: whether R_env teaches the tokens of a verdict; False: they get no advantage at all, but for
            `truth`'s, so that what verdicts say changes with the rest of the policy alone.
    """

    kind: Literal["turn"] = "turn"
    reward: Literal["verdict", "potential", "worth"] = "verdict"
    gamma: float = Field(0.95, ge=0.0, le=1.0)
    trace: float = Field(1.0, ge=0.0, le=1.0)
    baseline: Literal["anchor", "turn", "group"] = "anchor"
    scale: Scale = "batch"
    omega: float = Field(0.0, ge=0.0, allow_inf_nan=False)
    verdicts: Literal["own", "oracle"] = "own"
    revisits: Literal["paid", "unpaid", "blamed"] = "paid"
    verdicts_learn: bool = True

    @model_validator(mode="after")
    def _judges_by_labels(self) -> Self:
        if self.reward == "worth" and self.verdicts == "oracle":
            raise ValueError(
                "reward: worth is of the policy's own labels; with verdicts: oracle choose reward: verdict"
            )
        return self

    @property
    def in_return(self) -> bool:
        """False: R_sg is credited turn by turn instead."""
        return False

    @property
    def reads_states(self) -> bool:
        """Whether states are compared or recognised."""
        return self.baseline == "anchor" or self.revisits != "paid"

    @property
    def reads_oracle(self) -> bool:
        """Whether the benchmark judges."""
        return self.verdicts == "oracle"

    @property
    def reads_evidence(self) -> bool:
        """Whether labels are worth what they have been worth."""
        return self.reward == "worth"

    def by_turn(self, turns: Turns, trust: float, evidence: Evidence | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the credit of plan and action, and of the verdict."""
        key = {"anchor": ["anchor"], "turn": ["turn"], "group": []}[self.baseline]
        environment = np.zeros(turns.height)
        if self.omega:
            returns = return_to_go(turns, turns["reward"].to_numpy(), self.gamma)
            environment = self.omega * compared(turns, returns, key, self.scale)
        verdict = environment if self.verdicts_learn else -turns["advantage"].to_numpy()
        if not trust:
            return environment, verdict
        if self.reward == "worth":
            turns = valued(turns, evidence or Evidence())
        internal = return_to_go(turns, self._rewards(turns), self.gamma * self.trace)
        scale = "none" if self.reward == "worth" else self.scale
        return trust * compared(turns, internal, key, scale) + environment, verdict

    def _rewards(self, turns: Turns) -> np.ndarray:
        """Return r_t^sg of each turn."""
        key = TRAJECTORY_KEY
        if self.verdicts == "oracle":
            after, before = pl.col("oracle"), pl.col("oracle").shift(1).over(key).fill_null(0.0)
        else:
            at_the_end = pl.when("won").then("praise").otherwise(0.0)
            after, before = pl.col("verdict").shift(-1).over(key).fill_null(at_the_end), pl.col("verdict")
        if self.revisits != "paid":
            most = pl.lit(0.0) if self.revisits == "unpaid" else pl.col("blame")
            after = pl.when(_returns()).then(pl.min_horizontal(after, most)).otherwise(after)
        if self.reward == "potential":
            last = pl.col("turn") == pl.col("turn").max().over(key)
            after = self.gamma * pl.when(last).then(0.0).otherwise(after) - before
        return turns.select(after.cast(pl.Float64))[:, 0].to_numpy()


def _returns() -> pl.Expr:
    """Return whether a turn's action leads to a state that its episode has been in, this turn's included."""
    first = pl.col("turn").min().over(*TRAJECTORY_KEY, "anchor")
    return (first.shift(-1).over(TRAJECTORY_KEY) <= pl.col("turn")).fill_null(value=False)


class GigpoCredit(CreditRule):
    """GiGPO: the trajectory's advantage, and for all tokens of a turn its lead over turns in the same state.

    Attributes:
        omega: weight of the turns' part; 1 in the paper.
        gamma: discount; 0.95 in the paper.
        scale: as for `TurnCredit`; "own" is the paper's main form, "none" its form without deviation.
    """

    kind: Literal["gigpo"] = "gigpo"
    omega: float = Field(1.0, ge=0.0, allow_inf_nan=False)
    gamma: float = Field(0.95, ge=0.0, le=1.0)
    scale: Scale = "own"

    @property
    def reads_states(self) -> bool:
        """True."""
        return True

    def by_turn(self, turns: Turns, trust: float, evidence: Evidence | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the same credit for all tokens of a turn."""
        returns = return_to_go(turns, turns["reward"].to_numpy(), self.gamma)
        credit = self.omega * compared(turns, returns, ["anchor"], self.scale)
        return credit, credit


def valued(turns: Turns, evidence: Evidence) -> Turns:
    """Return the turns with what their labels have been worth as `verdict`, `praise` and `blame`."""
    labels = (Polarity.POSITIVE.value, Polarity.NEUTRAL.value, Polarity.NEGATIVE.value)
    worth = {(third, label): evidence.worth(third, label) for third in range(3) for label in labels}
    cells = turns.select("third", "polarity").rows()
    columns = {
        "verdict": [worth.get(cell, 0.0) for cell in cells],
        "praise": [worth[third, labels[0]] for third, _ in cells],
        "blame": [worth[third, labels[2]] for third, _ in cells],
    }
    return turns.with_columns(**{name: pl.Series(values, dtype=pl.Float64) for name, values in columns.items()})


def return_to_go(turns: Turns, rewards: np.ndarray, discount: float) -> np.ndarray:
    """Return G_t = r_t + discount G_{t+1} within each episode; `rewards` (T,) are those of the turns."""
    returns = np.zeros(len(rewards))
    first = turns["turn"].to_numpy() == 0
    behind = 0.0
    for index in range(len(rewards) - 1, -1, -1):
        behind = rewards[index] + discount * behind
        returns[index] = behind
        if first[index]:
            behind = 0.0
    return returns


def compared(turns: Turns, values: np.ndarray, state: Sequence[str], scale: Scale) -> np.ndarray:
    """Return S(values): each turn's value less the mean of its group's turns with the same `state` columns, scaled."""
    key = [*GROUP_KEY, *state]
    value, alone = pl.col("value"), pl.len().over(key) == 1
    centred = value - value.mean().over(key)
    table = turns.with_columns(value=pl.Series(values, dtype=pl.Float64)).with_columns(
        centred=pl.when(centred.abs() > FLAT).then(centred).otherwise(0.0), alone=alone
    )
    if scale == "none":
        return table["centred"].to_numpy()
    deviation = pl.col("centred").filter(~pl.col("alone")).std() if scale == "batch" else value.std().over(key)
    return table.select(pl.col("centred") / (deviation.fill_null(0.0) + EPSILON))[:, 0].to_numpy()
