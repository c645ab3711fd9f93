"""A trial of a prompting method with a live policy: builds the sampler and the formats that belong to it."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from sg_pipeline.config.environment import EnvironmentConfig
from sg_pipeline.config.evaluation import EvaluationConfig, Method, PromptingConfig
from sg_pipeline.config.rollout import DATE
from sg_pipeline.config.sampling import SamplingConfig
from sg_pipeline.distributed.world import world
from sg_pipeline.environments.pool import open_pool
from sg_pipeline.environments.registry import load_benchmark
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.evaluation.play import evaluated_splits
from sg_pipeline.evaluation.prompting_play import Attempt, next_attempts, play_attempts, reflect
from sg_pipeline.evaluation.prompting_reflections import reflections_from_frame, reflections_to_frame
from sg_pipeline.rollouts.collect import RolloutConfig
from sg_pipeline.rollouts.play import panel_tasks
from sg_pipeline.trajectories.frame import from_frame, to_frame
from sg_pipeline.trajectories.types import Trajectory

if TYPE_CHECKING:
    from sg_pipeline.agents.format import AgentFormat
    from sg_pipeline.agents.reflexion import ReflectionFormat
    from sg_pipeline.policies.policy import Policy


def check_policy(policy: Policy, prompting: PromptingConfig, environment: EnvironmentConfig) -> None:
    """Stop before anything is played where the policy cannot be prompted, or a prompt set is not what a method needs.

    Raises:
        ConfigurationError: the policy is the tiny one, which follows no instructions; or an unfit prompt set.
        CheckpointError: the tokenizer's chat template cannot be used.
    """
    from sg_pipeline.policies.tokenizer import PLAIN

    if PLAIN in policy.tokenizer.get_vocab():
        raise ConfigurationError(
            f"the prompting methods need a language model that follows instructions, but base_model is the tiny policy "
            f"({policy.name}), which knows turns with and without guidance only (--pipeline=evaluate compares these): "
            f"set base_model.source=pretrained and base_model.path to a chat model"
        )
    for method in prompting.methods:
        _agent_format(policy, method, prompting, environment)
        if prompting.trials(method) > 1:
            _reflection_format(policy, method, prompting, environment)


def play_trial(
    policy: Policy,
    panel: dict[str, Any],
    method: Method,
    trial: int,
    prompting: PromptingConfig,
    evaluation: EvaluationConfig,
    environment: EnvironmentConfig,
    rollout: RolloutConfig,
    sampling: SamplingConfig,
    *,
    data_root: Path,
    cache_dir: Path,
    seed: int,
    before: pl.DataFrame | None = None,
    reflections: Sequence[pl.DataFrame] = (),
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
    """Play one trial of `method`: every evaluation game in the first one, what has failed so far in a later one.

    Args:
        policy: its weights are not changed.
        panel: the prepared panel.
        method, trial: what to play.
        prompting: turn limit, prompts, memory.
        evaluation: splits, games, temperature, repetitions, batch.
        environment, rollout: where to play, and the other limits.
        sampling: which engine writes.
        data_root, cache_dir: where games and compiled games lie.
        seed: the run's seed.
        before: trajectories of the trial before; None for the first.
        reflections: tables of all trials before, in order.

    Returns:
        (trajectories: `group` is the game's index in its split, `item` the repetition; their thoughts, see
        `agents.thoughts`; the policy and the rollout's counters).
    """
    from sg_pipeline.agents.thoughts import thoughts_table
    from sg_pipeline.sampling.engines import make_sampler

    if before is None:
        attempts = _first_attempts(panel, evaluation)
    else:
        notes = reflections_from_frame(*reflections)
        words = _reflection_format(policy, method, prompting, environment, rollout.date)
        attempts = next_attempts(_failed(before), notes, prompting.reflexion.memory, words)
    agent_format = _agent_format(policy, method, prompting, environment, rollout.date)
    trajectories, counters = play_attempts(
        attempts,
        trial,
        rollout.model_copy(
            update={
                "max_turns": evaluation.max_turns or rollout.max_turns,
                "max_new_tokens": prompting.max_new_tokens,
            }
        ),
        world().each(lambda: make_sampler(policy, sampling, evaluation.temperature, rollout.max_length)),
        agent_format,
        open_pool(environment, data_root, cache_dir),
        repetitions=evaluation.episodes_per_game,
        seed=seed,
        policy_step=policy.step,
        batch_rows=evaluation.batch_rows,
    )
    table = to_frame(trajectories)
    report = {"policy": policy.name, "parameters": policy.parameter_count(), "counters": dict(sorted(counters.items()))}
    return table, thoughts_table(table, agent_format), report


def reflect_on_trial(
    policy: Policy,
    played: pl.DataFrame,
    method: Method,
    trial: int,
    prompting: PromptingConfig,
    evaluation: EvaluationConfig,
    environment: EnvironmentConfig,
    rollout: RolloutConfig,
    sampling: SamplingConfig,
    *,
    seed: int,
) -> pl.DataFrame:
    """Let the policy write a reflection on each game that it failed in `played`, the trajectories of `trial`.

    Returns:
        A table of reflections, see `prompting_reflections`.
    """
    from sg_pipeline.sampling.engines import make_sampler

    written = reflect(
        _failed(played),
        trial,
        world().each(lambda: make_sampler(policy, sampling, evaluation.temperature, rollout.max_length)),
        _reflection_format(policy, method, prompting, environment, rollout.date),
        max_new_tokens=prompting.reflexion.max_new_tokens,
        max_length=rollout.max_length,
        seed=seed,
        batch_rows=evaluation.batch_rows,
    )
    # Every rank has written them; an engine's rounding may depend on what else it has done, so one rank's are taken.
    return world().broadcast(reflections_to_frame(written))


def _agent_format(
    policy: Policy,
    method: Method,
    prompting: PromptingConfig,
    environment: EnvironmentConfig,
    date: datetime.date = DATE,
) -> AgentFormat:
    from sg_pipeline.agents.format import AgentFormat
    from sg_pipeline.agents.prompts import load_prompts

    guidance = method == "react_self_guide"
    prompts = load_prompts(prompting.prompts_of(method), load_benchmark(environment.name).name)
    return AgentFormat(policy.tokenizer, prompts, guidance, policy.stop_ids, date)


def _reflection_format(
    policy: Policy,
    method: Method,
    prompting: PromptingConfig,
    environment: EnvironmentConfig,
    date: datetime.date = DATE,
) -> ReflectionFormat:
    from sg_pipeline.agents.prompts import load_prompts
    from sg_pipeline.agents.reflexion import ReflectionFormat

    prompts = load_prompts(prompting.prompts_of(method), load_benchmark(environment.name).name)
    return ReflectionFormat(policy.tokenizer, prompts, policy.stop_ids, date)


def _first_attempts(panel: dict[str, Any], config: EvaluationConfig) -> list[Attempt]:
    return [
        Attempt(task, group, item)
        for split in evaluated_splits(panel, config)
        for group, task in enumerate(panel_tasks(panel, split)[: config.games])
        for item in range(config.episodes_per_game)
    ]


def _failed(table: pl.DataFrame) -> list[Trajectory]:
    """Return the lost episodes, split by split: groups are numbered within a split."""
    return [
        trajectory
        for split in dict.fromkeys(table["split"])
        for trajectory in from_frame(table.filter(pl.col("split") == split))
        if not trajectory.won
    ]
