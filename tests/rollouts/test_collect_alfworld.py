"""Rollouts with the real ALFWorld engine in a worker and the real format of the tiny policy."""

import os
import signal

import pytest

from sg_pipeline.agents.format import AgentFormat
from sg_pipeline.agents.prompts import load_prompts
from sg_pipeline.config.environment import PoolConfig
from sg_pipeline.config.loader import section
from sg_pipeline.environments.alfworld.generation.panel import make_panel, panel_scenes, write_panel_games
from sg_pipeline.environments.alfworld.generation.problem import walkthrough
from sg_pipeline.environments.alfworld.vocabulary import alfworld_vocabulary
from sg_pipeline.environments.pool import EnvironmentPool
from sg_pipeline.environments.registry import EnvironmentSpec
from sg_pipeline.policies.tokenizer import build_tokenizer
from sg_pipeline.rollouts.collect import attempts_at, collect
from sg_pipeline.sampling.base import Completion
from sg_pipeline.trajectories.types import Polarity, Segment

pytestmark = pytest.mark.slow

CONFIG = section("rollout", group_size=3, max_turns=6, max_new_tokens=24, max_length=1024)


@pytest.fixture(scope="module")
def games(tmp_path_factory):
    """Return tasks, their winning commands, and the environment that plays them."""
    folder = tmp_path_factory.mktemp("games")
    panel = make_panel(seed=3, sizes={"train": 2})
    write_panel_games(panel, folder)
    spec = EnvironmentSpec("alfworld", {"data_root": str(folder), "cache_dir": folder / "compiled"})
    return panel.tasks()["train"], [walkthrough(scene) for scene in panel_scenes(panel, "train")], spec


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


def test_collect_winning_commands_win_despite_a_killed_worker(games):
    tasks, commands, spec = games
    agent_format = AgentFormat(build_tokenizer(alfworld_vocabulary()), load_prompts("tiny"), guidance=True)
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
        first, *later = trajectory.turns
        assert "Your task is to" in first.observation
        assert first.context_ids == agent_format.opening(first.observation)
        for before, turn in zip(trajectory.turns, later, strict=False):
            assert turn.context_ids == agent_format.following(before.completion_ids, turn.observation)
