"""Prompting methods: the games of the evaluation, played by the same player as everything else with other prompts.

    trial 1: every game ─► reflections on those that failed ─► trial 2: these games again ─► …

Single-trial methods have the first trial only. An episode's random stream is named by (split, trial, group, item) and
not by the method, so two methods are paired by game, and Reflexion's first trial is ReAct's, token for token. The
worlds are the same in all trials: what a policy has learned about the rooms stays true.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from sg_pipeline.config.environment import EnvironmentConfig
from sg_pipeline.config.evaluation import SELF_GUIDED, EvaluationConfig, Method, PromptingConfig
from sg_pipeline.distributed.world import world
from sg_pipeline.environments.registry import load_benchmark
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.evaluation.play import evaluation_attempts, evaluation_player
from sg_pipeline.randomness import stream
from sg_pipeline.rollouts.collect import Attempt
from sg_pipeline.rollouts.play import Player, rows_at_once
from sg_pipeline.trajectories.frame import from_frame, to_frame
from sg_pipeline.trajectories.types import Trajectory

if TYPE_CHECKING:
    from sg_pipeline.agents.format import AgentFormat
    from sg_pipeline.agents.prompts import Prompts
    from sg_pipeline.policies.policy import Policy

_TURN = ("split", "group", "item", "turn")
"""Columns that name a row of a trajectory table of an evaluation."""


def check_policy(policy: "Policy", prompting: PromptingConfig, environment: EnvironmentConfig) -> None:
    """Check before anything is played that the policy can be prompted and that the prompt sets fit their methods.

    Raises:
        ConfigurationError: the policy is the tiny one, which follows no instructions; or an unfit prompt set.
        CheckpointError: the tokenizer's chat template cannot be used.
    """
    from sg_pipeline.agents.format import AgentFormat
    from sg_pipeline.agents.prompts import load_prompts
    from sg_pipeline.agents.reflexion import reflection_prompts
    from sg_pipeline.policies.tokenizer import PLAIN

    if PLAIN in policy.tokenizer.get_vocab():
        raise ConfigurationError(
            f"the prompting methods need a language model that follows instructions, but base_model is the tiny policy "
            f"({policy.name}), which knows turns with and without guidance only (--pipeline=evaluate compares these): "
            f"set base_model.source=pretrained and base_model.path to a chat model"
        )
    for method in prompting.methods:
        prompts = load_prompts(prompting.prompts_of(method), load_benchmark(environment.name).name)
        AgentFormat(policy.tokenizer, prompts, method == SELF_GUIDED, policy.stop_ids)
        if prompting.trials(method) > 1:
            AgentFormat(policy.tokenizer, reflection_prompts(prompts), False, policy.stop_ids)


def with_prompts(player: Player, method: Method, prompting: PromptingConfig, evaluation: EvaluationConfig) -> Player:
    """Return `player` with the prompts of `method` and the settings of an evaluation."""
    return evaluation_player(
        player,
        evaluation,
        prompts=prompting.prompts_of(method),
        guidance=method == SELF_GUIDED,
        max_new_tokens=prompting.max_new_tokens,
    )


def play_trial(
    player: Player, attempts: Sequence[Attempt], trial: int
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
    """Play one trial, from 1, of the prompting method whose prompts the player has (`with_prompts`).

    Returns:
        (trajectories: `group` is the game's index in its split, `item` the repetition, a memory is part of the first
        turn's observation; their thoughts; the policy and the rollout's counters).
    """
    trajectories: list[Trajectory] = []
    counters: Counter[str] = Counter()
    for split in dict.fromkeys(attempt.task.split for attempt in attempts):
        result = player.play(
            [attempt for attempt in attempts if attempt.task.split == split],
            step=0,
            purpose=f"prompting {split} trial {trial}",
            worlds=f"prompting {split}",
        )
        trajectories += result.trajectories
        counters.update(result.counters)
    table, policy = to_frame(trajectories), player.policy
    report = {"policy": policy.name, "parameters": policy.parameter_count(), "counters": dict(sorted(counters.items()))}
    return table, thoughts_table(table, player.format()), report


def first_attempts(panel: dict[str, Any], config: EvaluationConfig) -> list[Attempt]:
    """Return the first trial's attempts: every game of the evaluation."""
    return [attempt for attempts in evaluation_attempts(panel, config).values() for attempt in attempts]


def next_attempts(
    played: pl.DataFrame, reflections: Sequence[pl.DataFrame], prompts: "Prompts", memory: int
) -> list[Attempt]:
    """Return a later trial's attempts: the games that failed in the trial before, with the latest notes on them.

    `reflections` are those on all trials before; `memory` is the number of notes to show.
    """
    from sg_pipeline.agents.reflexion import memory_text

    attempts = []
    for one in _failed(played):
        notes = pl.concat(reflections).filter(split=one.task.split, group=one.group, item=one.item)
        shown = notes.sort("trial").tail(memory).select("trial", "text")
        attempts.append(Attempt(one.task, one.group, one.item, memory_text(prompts, dict(shown.iter_rows()))))
    return attempts


def reflect(player: Player, played: pl.DataFrame, trial: int, prompting: PromptingConfig) -> pl.DataFrame:
    """Let the policy write a note on each game that failed in `trial`: a `tables.ReflectionTable`.

    Seed, split, trial, group and item name a note's random stream.

    Raises:
        ConfigurationError: prompt and note do not fit into `rollout.max_length`.
    """
    from sg_pipeline.agents.format import AgentFormat
    from sg_pipeline.agents.reflexion import reflection_prompts, reflection_request
    from sg_pipeline.evaluation.tables import REFLECTIONS

    policy, config, max_new_tokens = player.policy, player.config, prompting.reflexion.max_new_tokens
    if config.max_length <= max_new_tokens:
        raise ConfigurationError(
            f"prompting.reflexion.max_new_tokens is {max_new_tokens}, but rollout.max_length = {config.max_length} is "
            f"the limit of prompt and reflection together: raise the latter"
        )
    words = AgentFormat(policy.tokenizer, reflection_prompts(player.prompts()), False, policy.stop_ids, config.date)
    sampler = world().each(player.sampler)
    failed = _failed(played)
    rows: list[dict[str, Any]] = []
    size = rows_at_once(config, sampler) or max(1, len(failed))
    for batch in (failed[start : start + size] for start in range(0, len(failed), size)):
        prompts = [reflection_request(words, one, config.max_length - max_new_tokens) for one in batch]
        streams = [
            stream(player.seed, "prompting", one.task.split, "reflect", trial, one.group, one.item) for one in batch
        ]
        session = sampler.open(streams, config.max_length)
        written = session.extend(list(range(len(batch))), prompts, words.stop_ids, max_new_tokens)
        rows += [
            {
                "split": one.task.split,
                "task_id": one.task.task_id,
                "group": one.group,
                "item": one.item,
                "trial": trial,
                "text": words.answer_text(completion.ids),
                "stopped": completion.stopped,
                "prompt_ids": prompt,
                "completion_ids": completion.ids,
                "logprobs": completion.logprobs,
            }
            for one, prompt, completion in zip(batch, prompts, written, strict=True)
        ]
    # Every rank has written them; an engine's rounding may depend on what else it did, so rank 0's are taken.
    return world().broadcast(pl.DataFrame(rows, schema=REFLECTIONS))


def _failed(played: pl.DataFrame) -> list[Trajectory]:
    """Return the failed episodes, split by split: groups are numbered within a split."""
    splits = dict.fromkeys(played["split"])
    episodes = (one for split in splits for one in from_frame(played.filter(pl.col("split") == split)))
    return [one for one in episodes if not one.won]


def thoughts_table(trajectories: pl.DataFrame, agent_format: "AgentFormat") -> pl.DataFrame:
    """Recover the thoughts of a trajectory table from its completions' tokens: it has no column for them.

    Returns:
        One row a turn: `split`, `group`, `item`, `turn` to join on, and `thought`, null where none was found.
    """
    thoughts = [agent_format.parse(ids).thought for ids in trajectories["completion_ids"].to_list()]
    return trajectories.select(_TURN).with_columns(pl.Series("thought", thoughts, dtype=pl.String))
