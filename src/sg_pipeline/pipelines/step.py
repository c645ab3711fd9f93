"""One step of co-evolution: roll out -> validate -> aggregate -> train; and the co-evolution, unrolled step by step."""

from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from kedro.pipeline import Node, Pipeline

from sg_pipeline.config.rewards import RewardConfig
from sg_pipeline.config.rollout import GateConfig, RolloutConfig
from sg_pipeline.config.run import CoevolveConfig, RunConfig
from sg_pipeline.config.sampling import SamplingConfig
from sg_pipeline.config.train import TrainConfig
from sg_pipeline.distributed.world import world
from sg_pipeline.environments.pool import shared_pids
from sg_pipeline.environments.registry import load_benchmark
from sg_pipeline.pipelines.player import PLAYER, in_namespace, player_of
from sg_pipeline.rewards.aggregate import aggregate_step
from sg_pipeline.rollouts.play import TRAIN, panel_tasks
from sg_pipeline.rollouts.result import time_split
from sg_pipeline.rollouts.step import play_step
from sg_pipeline.runs.memory_use import PeakMemory, peak_of_processes
from sg_pipeline.runs.steps import BASE_POLICY, GUIDE, unroll
from sg_pipeline.trajectories.frame import to_frame
from sg_pipeline.trajectories.quarantine import gate
from sg_pipeline.trajectories.types import Segment


def coevolve(config: CoevolveConfig, rewards: RewardConfig, guided: bool = False) -> Pipeline:
    """Return 4 * steps nodes from `base_policy` to `final_policy`, namespaced `phase_k_name.step_NNN`.

    Args:
        config: number of steps, and how often the policy is written down.
        rewards: its schedule gives the phases their borders. Where a step's rewards depend on the steps before, such as
            trust that is earned, `aggregate` reads the metrics of the last one.
        guided: a frozen guide writes the guidance.
    """
    first = _nodes(guided)
    later = _nodes(guided, earlier=True) if rewards.reads_evidence else first
    pipelines, before = [], ""
    for place in unroll(config, rewards.schedule):
        nodes = later if before else first
        inputs = {"earlier_metrics": f"{before}.metrics"} if nodes is not first else None
        outputs = {"trained_policy": place.policy_out}
        pipelines.append(in_namespace(nodes, place.namespace, place.policy_in, outputs, inputs))
        before = place.namespace
    return Pipeline(pipelines)


def single_step(guided: bool = False) -> Pipeline:
    """Return one step on its own: `kedro run --pipeline=rollout`, then validate, aggregate, train."""
    return in_namespace(_nodes(guided), "step.single", BASE_POLICY)


def _nodes(guided: bool, earlier: bool = False) -> Pipeline:
    trained = ["policy", "validated", "rewards", "dials", "rollout_report", "base_policy_folder"]
    parameters = [f"params:{name}" for name in ("train", "rollout", "sampling", "run")]
    rewarded = ["validated", "quarantined", "params:aggregate", "params:rollout", "params:coevolve"]
    return Pipeline(
        [
            Node(rollout, [*PLAYER, GUIDE] if guided else PLAYER, ["trajectories", "rollout_report"], name="rollout"),
            Node(
                validate,
                ["trajectories", "rollout_report", "params:validate", "params:rollout"],
                ["validated", "quarantined"],
                name="validate",
            ),
            Node(
                aggregate,
                [*rewarded, "earlier_metrics"] if earlier else rewarded,
                ["rewards", "dials"],
                name="aggregate",
            ),
            # The policy is saved last: where a checkpoint exists, its metrics exist as well.
            Node(train, [*trained, *parameters], ["metrics", "logprob_gaps", "trained_policy"], name="train"),
        ]
    )


def rollout(panel: dict[str, Any], *player: Any) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Play self-guided episodes of this step's tasks; `panel` and `player`: see `player_of`.

    How many steps the policy has been trained for says which step this is.

    Returns:
        (trajectories, one row a turn; the step and what the policy's token ids are below, where the time went, what was
        counted, and the peak memory in GiB).
    """
    with player_of(panel, *player) as playing:
        policy = playing.policy
        watch = PeakMemory(policy.model.device)
        play = partial(playing.play, step=policy.step)
        result = play_step(play, panel_tasks(panel, TRAIN), playing.config, playing.seed, policy.step)
    memory = _of_the_fullest({**watch.gib("sampling"), "environments": peak_of_processes(shared_pids())})
    known = {"step": policy.step, "vocabulary": policy.vocabulary()}
    report = {**known, "timings": result.timings, "counters": result.counters, "memory": memory}
    return to_frame(result.trajectories), report


def validate(
    trajectories: pl.DataFrame, rollout_report: dict[str, Any], config: GateConfig, rollout_config: RolloutConfig
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split trajectories into those that may be trained on and quarantined ones with the column `reason`."""
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
    earlier: dict[str, Any] | None = None,
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Turn polarities into internal rewards, weigh them by lambda(u), and compare within groups.

    With dynamic sampling, groups without variance in R_env are not trained on.

    Args:
        validated, quarantined: turns.
        config, rollout_config, coevolve: parameters.
        earlier: metrics of the step before, where rewards depend on them.

    Returns:
        (rewards, one row a trajectory; the step's dials, with the number of quarantined trajectories).
    """
    step = int(pl.concat([validated["step"], quarantined["step"]]).max())  # type: ignore[arg-type]
    reads = (config.credit.reads_states or config.credit.reads_oracle) and not validated.is_empty()
    rewards, dials = aggregate_step(
        validated,
        config,
        step,
        coevolve.steps,
        max_turns=rollout_config.max_turns,
        drop_flat_groups=rollout_config.dynamic_sampling > 0,
        earlier=earlier,
        benchmark=load_benchmark(validated["environment"][0]) if reads else None,
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
    from sg_pipeline.agents.handover import Handover
    from sg_pipeline.policies.adapters import has_adapter_dropout
    from sg_pipeline.policies.compute import machine
    from sg_pipeline.sampling.base import rest_engines
    from sg_pipeline.training.experience import POLICY_SEGMENTS, experience_table
    from sg_pipeline.training.gaps import check_gap, explained_gap, gap_table
    from sg_pipeline.training.learner import pass_step, train_step

    step = dials["step"]
    if policy.step != step:  # the graph passes on one live object
        raise RuntimeError(f"trajectories of step {step} reached a policy at step {policy.step}")
    own = {Segment.ACTION} if rollout_config.guide is not None else POLICY_SEGMENTS
    experience = experience_table(validated, rewards, own, Handover(policy.tokenizer).verdict_length)
    trains = bool(experience) or not rollout_config.dynamic_sampling
    untrained = policy.optimizer_state is None
    resting_s = rest_engines() if trains else 0.0
    watch = PeakMemory(policy.model.device)
    if trains:
        temperature = rollout_config.temperature
        trained = train_step(policy, experience, config, run.seed, step, temperature=temperature, reference=reference)
    else:  # dynamic sampling found no group to learn from
        trained = pass_step(policy, config, step)
    explained = explained_gap(policy, sampling, rollout_config.temperature)
    fatal = untrained and not has_adapter_dropout(policy)
    check_gap(trained.metrics, explained, sampling.engine, step, fatal=fatal)
    training = dict(trained.metrics)
    seconds = time_split(rollout_report["timings"], training.pop("seconds"), resting_s)
    # A rollout recorded by an earlier version has no memory.
    memory = {**rollout_report.get("memory", {}), **_of_the_fullest(watch.gib("training"))}
    counters, hardware = rollout_report["counters"], machine(policy.model.device)
    metrics = {
        **dials, "rollout": counters, "training": training, "seconds": seconds, "memory": memory, "machine": hardware,
    }  # fmt: skip
    return metrics, gap_table(experience, trained.gaps), policy


def _of_the_fullest(memory: dict[str, float]) -> dict[str, float]:
    """Return the maximum of each value over the processes that share the run."""
    parts = world().gather(memory)
    return {name: max(part[name] for part in parts) for name in memory}
