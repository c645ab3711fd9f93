"""Nodes of one co-evolution step."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from sg_pipeline.config.environment import EnvironmentConfig
from sg_pipeline.config.rewards import RewardConfig
from sg_pipeline.config.rollout import GateConfig, RolloutConfig
from sg_pipeline.config.run import CoevolveConfig, RunConfig
from sg_pipeline.config.sampling import SamplingConfig
from sg_pipeline.config.train import TrainConfig
from sg_pipeline.distributed.world import world
from sg_pipeline.environments.pool import shared_pids
from sg_pipeline.pipelines.player import player_of
from sg_pipeline.rewards.aggregate import aggregate_step
from sg_pipeline.rollouts.play import TRAIN, panel_tasks
from sg_pipeline.rollouts.result import time_split
from sg_pipeline.rollouts.step import play_step
from sg_pipeline.runs.memory_use import PeakMemory, peak_of_processes
from sg_pipeline.trajectories.frame import to_frame
from sg_pipeline.trajectories.quarantine import gate
from sg_pipeline.trajectories.types import Segment

if TYPE_CHECKING:
    from sg_pipeline.policies.policy import Policy


def rollout(
    policy: Any,
    panel: dict[str, Any],
    games: Path,
    compiled: Path,
    environment: EnvironmentConfig,
    config: RolloutConfig,
    sampling: SamplingConfig,
    run: RunConfig,
    guide: Any = None,
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Play self-guided episodes of this step's tasks.

    Args:
        policy: the live policy; how many steps it has been trained for says which step this is.
        panel: the prepared panel; its train split is played.
        games, compiled: folders of game files and of their compiled forms.
        environment, config, sampling, run: parameters.
        guide: the frozen policy that writes the guidance, where `rollout.guide` names one.

    Returns:
        (trajectories, one row a turn; the step and what the policy's token ids are below, where the time went, what was
        counted, and the peak memory in GiB).
    """
    watch = PeakMemory(policy.model.device)
    with player_of(policy, panel, games, compiled, environment, config, sampling, run, guide) as player:
        play = partial(player.play, step=policy.step)
        result = play_step(play, panel_tasks(panel, TRAIN), config, run.seed, policy.step)
    memory = _of_the_fullest({**watch.gib("sampling"), "environments": peak_of_processes(shared_pids())})
    report = {
        "step": policy.step,
        "vocabulary": policy.vocabulary(),
        "timings": result.timings,
        "counters": result.counters,
        "memory": memory,
    }
    return to_frame(result.trajectories), report


def validate(
    trajectories: pl.DataFrame, rollout_report: dict[str, Any], config: GateConfig, rollout_config: RolloutConfig
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split trajectories into those that may be trained on and quarantined ones with a reason.

    Args:
        trajectories: as rolled out.
        rollout_report: for the step and the policy's vocabulary.
        config: how strict the gate is.
        rollout_config: for the size that each group should have, and the length that a trajectory may have.

    Returns:
        (validated, quarantined with the column `reason`).
    """
    return gate(
        trajectories,
        rollout_config.group_size,
        config,
        vocabulary=rollout_report["vocabulary"],
        max_length=rollout_config.max_length,
        step=rollout_report["step"],
    )


def aggregate(
    validated: pl.DataFrame,
    quarantined: pl.DataFrame,
    config: RewardConfig,
    rollout_config: RolloutConfig,
    coevolve: CoevolveConfig,
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Turn polarities into internal rewards, weigh them by lambda(u), and compare within groups.

    Args:
        validated: sound trajectories of one step.
        quarantined: what the gate held back, to be counted.
        config: the reward's parameters.
        rollout_config: with dynamic sampling, groups without variance in R_env are not trained on.
        coevolve: for the number of steps.

    Returns:
        (rewards, one row a trajectory; the step's dials).
    """
    step = int(pl.concat([validated["step"], quarantined["step"]]).max())  # type: ignore[arg-type]
    rewards, dials = aggregate_step(
        validated, config, step, coevolve.steps, drop_flat_groups=rollout_config.dynamic_sampling > 0
    )
    return rewards, {**dials, "quarantined": quarantined.select("group", "item").n_unique()}


def train(
    policy: Any,
    validated: pl.DataFrame,
    rewards: pl.DataFrame,
    dials: dict[str, Any],
    rollout_report: dict[str, Any],
    reference: Path,
    config: TrainConfig,
    rollout_config: RolloutConfig,
    sampling: SamplingConfig,
    run: RunConfig,
) -> tuple[dict[str, Any], pl.DataFrame, Any]:
    """Update the policy on the step's trajectories with GRPO, guidance and action tokens together.

    Where a guide writes the guidance, only action tokens carry loss.

    Args:
        policy: the live policy that rolled out these trajectories; updated in place.
        validated, rewards: turns, and one row a trajectory with its advantage.
        dials: the step's metrics so far.
        rollout_report: where the rollout's time went, and what memory it took.
        reference: folder of the base policy, from which `train.beta` > 0 measures the KL divergence.
        config, rollout_config, sampling, run: parameters.

    Returns:
        (all metrics of the step; the gap between sampler and trainer, turn by turn; the updated policy).
    """
    from sg_pipeline.policies.adapters import has_adapter_dropout
    from sg_pipeline.policies.compute import machine
    from sg_pipeline.sampling.base import rest_engines
    from sg_pipeline.training.experience import POLICY_SEGMENTS, experience_table
    from sg_pipeline.training.gaps import check_gap, explained_gap, gap_table
    from sg_pipeline.training.learner import pass_step, train_step

    step = dials["step"]
    _check_link(policy, step)
    own = {Segment.ACTION} if rollout_config.guide is not None else POLICY_SEGMENTS
    experience = experience_table(validated, rewards, own)
    trains = bool(experience) or not rollout_config.dynamic_sampling
    untrained = policy.optimizer_state is None
    resting_s = rest_engines() if trains else 0.0
    watch = PeakMemory(policy.model.device)
    if trains:
        trained = train_step(
            policy,
            experience,
            config,
            run.seed,
            step,
            temperature=rollout_config.temperature,
            reference=reference,
        )
    else:  # dynamic sampling found no group to learn from
        trained = pass_step(policy, config, step)
    explained = explained_gap(policy, sampling, rollout_config.temperature)
    fatal = untrained and not has_adapter_dropout(policy)
    check_gap(trained.metrics, explained, sampling.engine, step, fatal=fatal)
    training = dict(trained.metrics)
    seconds = time_split(rollout_report["timings"], training.pop("seconds"), resting_s)
    # A rollout recorded by an earlier version has no memory.
    memory = {**rollout_report.get("memory", {}), **_of_the_fullest(watch.gib("training"))}
    metrics = {
        **dials,
        "rollout": rollout_report["counters"],
        "training": training,
        "seconds": seconds,
        "memory": memory,
        "machine": machine(policy.model.device),
    }
    return metrics, gap_table(experience, trained.gaps), policy


def _check_link(policy: "Policy", step: int) -> None:
    """Check that the trajectories are those of this policy: the graph passes on one live object."""
    if policy.step != step:
        raise RuntimeError(f"trajectories of step {step} reached a policy at step {policy.step}")


def _of_the_fullest(memory: dict[str, float]) -> dict[str, float]:
    """Return the maximum of each value over the processes that share the run."""
    parts = world().gather(memory)
    return {name: max(part[name] for part in parts) for name in memory}
