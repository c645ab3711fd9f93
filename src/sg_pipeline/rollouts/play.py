"""One rollout of a live policy: builds the sampler and the format that belong to it, and plays."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg_pipeline.config.environment import EnvironmentConfig
from sg_pipeline.config.sampling import SamplingConfig
from sg_pipeline.environments.pool import open_pool
from sg_pipeline.environments.registry import load_benchmark
from sg_pipeline.rollouts.collect import RolloutConfig, RolloutResult, collect
from sg_pipeline.rollouts.waves import play_in_waves, rows_at_once
from sg_pipeline.trajectories.types import Task

if TYPE_CHECKING:
    from sg_pipeline.policies.policy import Policy

TRAIN = "train"
"""The split that every panel has: what is trained on."""


def panel_tasks(panel: dict[str, Any], split: str) -> list[Task]:
    """Return the tasks of one split of a prepared panel (see `environments.base`)."""
    return [Task(**task) for task in panel["splits"][split]]


def play(
    policy: "Policy",
    tasks: list[Task],
    environment: EnvironmentConfig,
    config: RolloutConfig,
    *,
    data_root: Path,
    cache_dir: Path,
    seed: int,
    step: int,
    purpose: str = "rollout",
    groups: Sequence[int] | None = None,
    guide: "Policy | None" = None,
    sampling: SamplingConfig | None = None,
) -> RolloutResult:
    """Play `config.group_size` episodes of each task with `policy`.

    Args:
        policy: samples; its weights are not changed.
        tasks: one per group; where there are none, an engine that ranks share is brought up to date all the same.
        environment: where to play.
        config: group size, limits, temperature, guidance, prompts.
        data_root, cache_dir: where the tasks' games and their compiled forms lie.
        seed, step, purpose: name the rollout's chance.
        groups: index of each task's group; None: 0, 1, ...
        guide: writes the guidance in the policy's place, where there is guidance. Its tokens are then the only ones of
            `Segment.GUIDANCE`, and the counters of `sampling.two_call` stand beside the others. It writes by its own
            model, whatever engine the policy has.
        sampling: the policy's engine; None: its own model.
    """
    from sg_pipeline.agents.format import AgentFormat
    from sg_pipeline.agents.handover import GuidedFormat
    from sg_pipeline.agents.prompts import load_prompts
    from sg_pipeline.sampling.engines import make_sampler
    from sg_pipeline.sampling.transformers_sampler import TransformersSampler
    from sg_pipeline.sampling.two_call import TwoCallSampler

    prompts = load_prompts(config.prompts, load_benchmark(environment.name).name)
    agent_format = AgentFormat(policy.tokenizer, prompts, config.guidance, policy.stop_ids, config.date)
    sampling = sampling or SamplingConfig(engine="transformers")
    began = time.perf_counter()
    sampler = make_sampler(policy, sampling, config.temperature, config.max_length)
    sync_s = time.perf_counter() - began
    if not tasks:  # ranks update a server that they share together
        return RolloutResult([], {}, {})
    counters: Mapping[str, int] = {}
    policies = [policy]
    if guide is not None and config.guidance:
        guided = GuidedFormat(policy.tokenizer, prompts, policy.stop_ids + guide.stop_ids, config.date)
        guiding = TransformersSampler(guide.model, config.temperature, guide.compute, guide.describe())
        two = TwoCallSampler(guiding, sampler, guided.handover)
        agent_format, sampler, counters = guided, two, two.counters
        policies.append(guide)
    pool = open_pool(environment, data_root, cache_dir)

    def wave(chosen: Sequence[Task], indices: Sequence[int]) -> RolloutResult:
        return collect(
            chosen,
            config,
            sampler,
            agent_format,
            pool,
            seed=seed,
            step=step,
            policy_step=policy.step,
            purpose=purpose,
            groups=indices,
        )

    rows = rows_at_once(config, policies) if sampling.engine == "transformers" else config.rows
    result = play_in_waves(wave, tasks, groups, config, rows)
    timings = {**result.timings, "sync_s": sync_s, "total_s": result.timings["total_s"] + sync_s}
    return replace(result, timings=timings, counters={**result.counters, **counters})
