"""Rollouts through everything: the real ALFWorld engine in workers, real formats, a real model."""

import os
import signal

import pytest

from sg_pipeline.agents.format import AgentFormat
from sg_pipeline.agents.prompts import load_prompts
from sg_pipeline.config.environment import PoolConfig
from sg_pipeline.config.loader import section
from sg_pipeline.environments.alfworld.generation.panel import make_panel, panel_scenes, write_panel_games
from sg_pipeline.environments.alfworld.generation.problem import walkthrough
from sg_pipeline.environments.pool import EnvironmentPool
from sg_pipeline.environments.registry import EnvironmentSpec
from sg_pipeline.rollouts.collect import attempts_at, collect
from sg_pipeline.sampling.base import Completion
from sg_pipeline.trajectories.types import Polarity, Segment

CONFIG = section("rollout", group_size=3, max_turns=6, max_new_tokens=24, max_length=1024)


@pytest.fixture(scope="module")
def games(tmp_path_factory):
    """Return tasks, their winning commands, and the environment that plays them."""
    folder = tmp_path_factory.mktemp("games")
    panel = make_panel(seed=3, sizes={"train": 2})
    write_panel_games(panel, folder)
    spec = EnvironmentSpec("alfworld", {"data_root": str(folder), "cache_dir": folder / "compiled"})
    return panel.tasks()["train"], [walkthrough(scene) for scene in panel_scenes(panel, "train")], spec


@pytest.fixture(scope="module")
def policy():
    from sg_pipeline.config.base_model import TinyConfig
    from sg_pipeline.environments.alfworld.vocabulary import alfworld_vocabulary
    from sg_pipeline.policies.tiny import build_tiny
    from sg_pipeline.policies.tokenizer import build_tokenizer

    tokenizer = build_tokenizer(alfworld_vocabulary())
    return build_tiny(TinyConfig(hidden_size=32, layers=1, heads=2, head_dim=16, intermediate_size=64), tokenizer, 0)


@pytest.mark.parametrize("guidance", [True, False])
def test_collect_worker_count_changes_nothing(games, policy, guidance):
    from sg_pipeline.sampling.transformers_sampler import TransformersSampler

    tasks, _, spec = games
    agent_format = AgentFormat(policy.tokenizer, load_prompts("tiny"), guidance)
    results = []
    for workers in (0, 2):
        with EnvironmentPool(spec, PoolConfig(workers=workers)) as pool:
            sampler = TransformersSampler(policy.model)
            results.append(collect(attempts_at(tasks, 3), CONFIG, sampler, agent_format, pool, seed=1, step=0))
    first, second = results
    assert first.trajectories == second.trajectories
    assert first.counters == second.counters
    for trajectory in first.trajectories:
        assert "Your task is to" in trajectory.turns[0].observation
        assert trajectory.turns[0].context_ids == agent_format.opening(trajectory.turns[0].observation)
        for before, turn in zip(trajectory.turns[:-1], trajectory.turns[1:], strict=True):
            assert turn.context_ids == agent_format.following(before.completion_ids, turn.observation)
        assert trajectory.truncated
        assert len(trajectory.turns) == CONFIG.max_turns
    assert (
        len({tuple(t.turns[0].completion_ids) for t in first.trajectories}) == 6
    )  # every row has its own random stream


class Follower:
    """A sampler that writes the given commands, and kills a worker at the third turn."""

    def __init__(self, agent_format, commands, pool):
        self._format = agent_format
        self._commands = commands
        self._pool = pool
        self._turn = 0
        self._lengths = {}

    def open(self, streams, max_length):
        self._lengths = dict.fromkeys(range(len(streams)), 0)
        return self

    def length(self, row):
        return self._lengths[row]

    def extend(self, rows, contexts, stop_ids, max_new_tokens):
        if self._turn == 2:
            os.kill(self._pool.pids()[0], signal.SIGKILL)
        completions = []
        for row, context in zip(rows, contexts, strict=True):
            ids = self._format.encode_reply(Polarity.POSITIVE, "go on", self._commands[row][self._turn])
            assert len(ids) <= max_new_tokens
            assert ids[-1] in stop_ids
            self._lengths[row] += len(context) + len(ids)
            completions.append(Completion(ids, [-1.0] * len(ids), stopped=True))
        self._turn += 1
        return completions


def test_collect_winning_commands_win_despite_a_killed_worker(games, policy):
    tasks, commands, spec = games
    agent_format = AgentFormat(policy.tokenizer, load_prompts("tiny"), guidance=True)
    config = CONFIG.model_copy(update={"max_turns": 40})
    with EnvironmentPool(spec, PoolConfig(workers=1)) as pool:
        per_row = [actions for actions in commands for _ in range(3)]
        result = collect(
            attempts_at(tasks, 3), config, Follower(agent_format, per_row, pool), agent_format, pool, seed=1, step=0
        )
    assert result.counters["worker_restarts"] == 1
    assert result.counters["invalid_actions"] == result.counters["unparsed_actions"] == 0
    for trajectory, actions in zip(result.trajectories, per_row, strict=True):
        assert trajectory.won
        assert not trajectory.truncated
        assert tuple(turn.action for turn in trajectory.turns) == actions
        assert [turn.reward for turn in trajectory.turns] == [0.0] * (len(actions) - 1) + [1.0]
        assert all(turn.polarity is Polarity.POSITIVE and turn.guidance_parsed for turn in trajectory.turns)
        assert {segment for turn in trajectory.turns for segment in turn.segments} == {Segment.GUIDANCE, Segment.ACTION}
