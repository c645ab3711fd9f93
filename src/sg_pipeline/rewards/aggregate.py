"""From validated turns to the optimizer's input: one row per trajectory with its advantages, and the dials."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl

from sg_pipeline.config.extensions import NORMALISATION, load
from sg_pipeline.config.rewards import RewardConfig
from sg_pipeline.environments.base import Benchmark
from sg_pipeline.rewards.dials import FLAT, step_dials
from sg_pipeline.rewards.evidence import Evidence, mean_concordance, step_evidence
from sg_pipeline.rewards.normalisation import Normalisation
from sg_pipeline.rewards.returns import step_reward, trajectory_returns
from sg_pipeline.trajectories.types import TRAJECTORY_KEY


def aggregate_step(
    turns: pl.DataFrame,
    config: RewardConfig,
    step: int,
    steps: int,
    *,
    max_turns: int,
    drop_flat_groups: bool = False,
    earlier: Mapping[str, Any] | None = None,
    benchmark: Benchmark | None = None,
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Reward one step's trajectories.

    Args:
        turns: a table that satisfies `ValidTable`, all of one step.
        config: rewards of a trajectory.
        step, steps: u, the index of the step within the run, and N, the number of the run's steps.
        max_turns: of an episode.
        drop_flat_groups: DAPO's filter: groups without variance in R_env are not trained on, whatever their R_sg.
        earlier: metrics of the step before, where `config.reads_evidence`; None in the first step.
        benchmark: names states or judges actions, where `config.credit` reads either.

    Returns:
        (one row per trajectory with `selected` (used for training), `advantage` (of all its tokens; 0 if not selected)
        and, with credit by turn or pay for truth, `action_credit` and `verdict_credit` (lists: what plan and action,
        and the verdict, of each turn get besides); the step's dials with `step`, `phase`, `lambda` and, where trust or
        pay read it, `evidence`).
    """
    evidence = None if earlier is None else Evidence(**earlier["evidence"])
    planned = config.schedule.trust(step, steps)
    trust = config.schedule.earn(step, steps, evidence) if planned is None else planned
    normalise: Normalisation = load(NORMALISATION, config.normalisation)
    in_return = trust if config.credit.in_return else 0.0
    returns = trajectory_returns(turns, config.polarity, in_return, config.environment_scale)
    varied = pl.col("r_env").max().over("step", "group") - pl.col("r_env").min().over("step", "group") > FLAT
    returns = returns.with_columns(selected=varied if drop_flat_groups else pl.lit(True))
    # Dropped trajectories do not count in the scale of a batch either.
    rewards = pl.concat(
        [
            returns.filter("selected").with_columns(advantage=normalise(config.environment_scale)),
            returns.filter(~pl.col("selected")).with_columns(advantage=pl.lit(0.0)),
        ]
    ).sort(TRAJECTORY_KEY)
    played = turn_table(turns, config, max_turns, benchmark)
    whole = rewards.filter("selected").select(*TRAJECTORY_KEY, "advantage")
    chosen = played.join(whole, on=TRAJECTORY_KEY, how="inner", maintain_order="left")
    credit = config.credit.by_turn(chosen, trust, evidence)
    pay = config.truth.pay(chosen, evidence, step, steps)
    if credit is not None or pay is not None:
        zero = np.zeros(chosen.height)
        action, verdict = (zero, zero) if credit is None else credit
        by_turn = chosen.select(
            *TRAJECTORY_KEY,
            action_credit=pl.Series(action, dtype=pl.Float64),
            verdict_credit=pl.Series(verdict + (zero if pay is None else pay), dtype=pl.Float64),
        )
        lists = by_turn.group_by(TRAJECTORY_KEY, maintain_order=True).agg("action_credit", "verdict_credit")
        rewards = rewards.join(lists, on=TRAJECTORY_KEY, how="left", maintain_order="left")
    dials = {"step": step, "phase": config.schedule.phase(step, steps), "lambda": trust}
    untrusted = config.credit.by_turn(chosen, 0.0, evidence)
    dials |= step_dials(rewards if untrusted is None else _with_largest(rewards, chosen, untrusted[0]))
    if (reason := config.schedule.reason(step, steps, evidence)) is not None:
        dials["trust_reason"] = reason
    dials["verdict_concordance"] = mean_concordance(played)
    if config.reads_evidence:
        dials["evidence"] = asdict((evidence or Evidence()).after(step_evidence(played, dials)))
    return rewards, dials


def _with_largest(rewards: pl.DataFrame, turns: pl.DataFrame, credit: np.ndarray) -> pl.DataFrame:
    """Add the largest credit by turn of each trajectory, without its sign, as `r_env_credit`."""
    table = turns.select(*TRAJECTORY_KEY, r_env_credit=pl.Series(np.abs(credit), dtype=pl.Float64))
    return rewards.join(table.group_by(TRAJECTORY_KEY).max(), on=TRAJECTORY_KEY, how="left")


def turn_table(
    turns: pl.DataFrame, config: RewardConfig, max_turns: int, benchmark: Benchmark | None = None
) -> pl.DataFrame:
    """Return what rules of credit and truth see of the turns, see `credit.Turns`; arguments as for `aggregate_step`."""
    played = turns.sort(*TRAJECTORY_KEY, "turn").select(
        *TRAJECTORY_KEY,
        *("turn", "won", "reward", "polarity", "observation", "action"),
        verdict=step_reward(config.polarity),
        praise=pl.lit(config.polarity.positive),
        blame=pl.lit(config.polarity.negative),
        third=(pl.col("turn") * 3 // max_turns).clip(0, 2),
    )
    if benchmark is None:
        return played
    episodes = list(played.group_by(TRAJECTORY_KEY, maintain_order=True))
    if config.credit.reads_states:
        anchors = [benchmark.anchors(*_texts(episode)) for _, episode in episodes]
        played = played.with_columns(anchor=pl.Series([anchor for one in anchors for anchor in one], dtype=pl.String))
    if config.credit.reads_oracle:
        judged = [benchmark.verdicts(*_texts(one), won=bool(one["won"][0])) for _, one in episodes]
        verdicts = pl.DataFrame({"polarity": [verdict for one in judged for verdict in one]}, {"polarity": pl.String})
        played = played.with_columns(oracle=verdicts.select(step_reward(config.polarity))[:, 0])
    return played


def _texts(episode: pl.DataFrame) -> tuple[list[str], list[str]]:
    return episode["observation"].to_list(), episode["action"].to_list()
