"""Rollouts: whole groups, token-exact, the same whatever the workers do."""

import os
import signal

import pytest
from pydantic import ValidationError
from rooms import SPEC, task
from rooms_benchmark import SPEC as GRADED
from scripted import ByteFormat, ScriptedSampler

from sg_pipeline.config.environment import PoolConfig
from sg_pipeline.config.loader import section
from sg_pipeline.environments.pool import EnvironmentPool
from sg_pipeline.environments.registry import EnvironmentSpec
from sg_pipeline.errors import ConfigurationError, DataError
from sg_pipeline.rollouts.choose import choose_tasks
from sg_pipeline.rollouts.collect import RolloutConfig, collect
from sg_pipeline.trajectories.types import Polarity, Segment

CONFIG = section("rollout", group_size=4, max_turns=25, max_new_tokens=120, max_length=3000)
TASKS = [task(f"t{group}") for group in range(3)]


def roll(config=CONFIG, tasks=TASKS, workers=0, sampler=None, pool_config=None, **keywords):
    sampler = sampler or ScriptedSampler()
    with EnvironmentPool(EnvironmentSpec(SPEC), pool_config or PoolConfig(workers=workers)) as pool:
        return collect(tasks, config, sampler, ByteFormat(), pool, **({"seed": 1, "step": 2} | keywords))


@pytest.fixture(scope="module")
def expected():
    return roll()


def test_groups_are_complete_and_trajectories_well_formed(expected):
    assert [(t.task.task_id, t.group, t.item) for t in expected.trajectories] == [
        (f"t{group}", group, item) for group in range(3) for item in range(4)
    ]
    for trajectory in expected.trajectories:
        *early, last = trajectory.turns
        assert len(trajectory.turns) <= 25
        assert not any(turn.done for turn in early)
        assert last.done is trajectory.won is not trajectory.truncated
        assert trajectory.score == sum(turn.reward for turn in trajectory.turns) == float(trajectory.won)
        assert trajectory.policy_step == 2
        assert trajectory.turns[0].observation.startswith("Find the key")
        for turn in trajectory.turns:
            assert len(turn.completion_ids) == len(turn.logprobs) == len(turn.segments)
    assert 0 < sum(trajectory.won for trajectory in expected.trajectories) < 12  # both ends are seen


def test_parts_of_the_score_come_through_the_pool_and_belong_to_their_trajectories(expected, tmp_path):
    assert expected.parts == [()] * 12
    with EnvironmentPool(EnvironmentSpec(GRADED, {"data_root": tmp_path}), PoolConfig(workers=1)) as pool:
        result = collect(TASKS, CONFIG, ScriptedSampler(), ByteFormat(), pool, seed=1, step=2)
    assert [dict(parts)["chest"] for parts in result.parts] == [float(t.won) for t in result.trajectories]
    assert {dict(parts)["key"] for t, parts in zip(result.trajectories, result.parts, strict=True) if t.won} == {1.0}


def test_tokens_are_what_the_sampler_saw():
    sampler = ScriptedSampler()
    result = roll(sampler=sampler)
    (session,) = sampler.sessions
    for row, trajectory in enumerate(result.trajectories):
        assert [token for token, _, _ in trajectory.tokens()] == session.sequences[row]
        for turn in trajectory.turns:
            assert bytes(token for token in turn.context_ids if token < 256).decode() == turn.observation
            assert Segment.ENVIRONMENT not in turn.segments


def test_counters_add_up(expected):
    turns = [turn for trajectory in expected.trajectories for turn in trajectory.turns]
    truncated = sum(trajectory.truncated for trajectory in expected.trajectories)
    counters = expected.counters
    assert counters == {
        "turns": len(turns),
        "sampled_tokens": sum(len(turn.completion_ids) for turn in turns),
        "invalid_actions": sum(not turn.action_valid for turn in turns),
        "unparsed_guidance": sum(not turn.guidance_parsed for turn in turns),
        "unparsed_actions": sum(not turn.action_parsed for turn in turns),
        "cut_completions": sum(turn.completion_ids[-1] != 256 for turn in turns),
        "cut_observations": 0,
        "truncated_by_turns": truncated,
        "truncated_by_tokens": 0,
        "worker_restarts": 0,
        "replayed_episodes": 0,
    }
    assert min(counters["unparsed_guidance"], counters["cut_completions"], truncated) > 0
    assert all(turn.polarity is Polarity.NEUTRAL for turn in turns if not turn.guidance_parsed)
    timings = expected.timings
    assert timings["total_s"] >= timings["env_s"] + timings["sampling_s"] + timings["format_s"] > 0
    assert timings["env_cpu_s"] > 0


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_workers_change_nothing(workers, expected):
    result = roll(workers=workers)
    assert result.trajectories == expected.trajectories
    assert result.counters == expected.counters


@pytest.mark.parametrize("quirk", ["crash-once@3", "hang-once@0", "raise-once@5"])
def test_accidents_change_nothing(quirk, tmp_path, expected):
    tasks = [TASKS[0], task("t1", f"{quirk}:{tmp_path / 'happened'}"), TASKS[2]]
    result = roll(CONFIG, tasks, pool_config=PoolConfig(workers=2, step_timeout_s=1.5, reset_timeout_s=1.5))
    assert (tmp_path / "happened").exists()
    assert [trajectory.turns for trajectory in result.trajectories] == [
        trajectory.turns for trajectory in expected.trajectories
    ]
    assert result.counters["replayed_episodes"] > 0
    assert result.counters["worker_restarts"] == (0 if quirk.startswith("raise") else 1)


def test_workers_killed_from_outside_change_nothing(expected):
    class Killer(ScriptedSampler):
        def open(self, streams, max_length):
            session = super().open(streams, max_length)
            extend = session.extend

            def killing(*arguments):
                if len(session.calls) in (0, 4):
                    os.kill(pool.pids()[len(session.calls) % 2], signal.SIGKILL)
                return extend(*arguments)

            session.extend = killing
            return session

    with EnvironmentPool(EnvironmentSpec(SPEC), PoolConfig(workers=2)) as pool:
        result = collect(TASKS, CONFIG, Killer(), ByteFormat(), pool, seed=1, step=2)
    assert result.trajectories == expected.trajectories
    assert result.counters["worker_restarts"] == 2


def test_chance_belongs_to_the_episode(expected):
    part = roll(tasks=TASKS[1:], groups=[1, 2])
    assert part.trajectories == expected.trajectories[4:]
    for other in ({"step": 3}, {"seed": 2}, {"purpose": "evaluation"}):
        assert [t.turns for t in roll(**other).trajectories] != [t.turns for t in expected.trajectories]
    first, second = expected.trajectories[:2]
    assert first.turns[0].observation == second.turns[0].observation  # a group starts from the same world
    assert first.turns != second.turns


def test_token_budget_truncates():
    result = roll(section("rollout", group_size=4, max_new_tokens=120, max_length=600, max_turns=200))
    assert result.counters["truncated_by_tokens"] > 0
    for trajectory in result.trajectories:
        length = sum(1 for _ in trajectory.tokens())
        assert length <= 600
        assert trajectory.truncated is not trajectory.turns[-1].done
        # It goes on as long as context and completion can fit: the longest observation here is 80 tokens.
        assert trajectory.won or length + 80 + 120 > 600


def test_opening_that_does_not_fit():
    with pytest.raises(ConfigurationError, match="max_length is 150, but the opening of task t0 takes"):
        roll(section("rollout", max_new_tokens=120, max_length=150))


def test_long_observations_lose_their_middle():
    result = roll(CONFIG.model_copy(update={"max_observation_tokens": 11}))
    assert result.counters["cut_observations"] > 0
    for trajectory in result.trajectories:
        for turn in trajectory.turns[1:]:
            assert len(turn.context_ids) <= 11
            if turn.observation == "Nothing happens." and len(turn.context_ids) == 11:
                whole = [*turn.observation.encode(), 257]
                assert turn.context_ids[-5:] == whole[-5:]
                assert turn.context_ids[0] == 256 or turn.context_ids[:6] == whole[:6]


def test_without_guidance():
    with EnvironmentPool(EnvironmentSpec(SPEC), PoolConfig(workers=0)) as pool:
        result = collect(TASKS, CONFIG, ScriptedSampler(False), ByteFormat(False), pool, seed=1, step=2, policy_step=9)
    assert result.counters["unparsed_guidance"] == 0
    assert {turn.polarity for trajectory in result.trajectories for turn in trajectory.turns} == {None}
    assert result.trajectories[0].policy_step == 9


def test_game_that_does_not_load_stops_and_leaves_the_pool_usable(expected):
    with EnvironmentPool(EnvironmentSpec(SPEC), PoolConfig(workers=1)) as pool:
        with pytest.raises(DataError, match="game bad is truncated"):
            collect(
                [TASKS[0], TASKS[1], task("bad", "broken@x")],
                CONFIG,
                ScriptedSampler(),
                ByteFormat(),
                pool,
                seed=1,
                step=2,
            )
        result = collect(TASKS, CONFIG, ScriptedSampler(), ByteFormat(), pool, seed=1, step=2)
    assert result.trajectories == expected.trajectories


def test_game_that_starts_at_its_end():
    with pytest.raises(DataError, match="task t3 is over before its first action"):
        roll(tasks=[*TASKS, task("t3", "solved@x")])


def test_unknown_key_is_refused():
    with pytest.raises(ValidationError):
        RolloutConfig.model_validate({"groupsize": 3})


class TestChooseTasks:
    panel = tuple(task(f"t{index:02}") for index in range(14))

    def test_an_epoch_has_no_task_twice(self):
        for epoch in range(3):
            chosen = [entry for step in range(3) for entry in choose_tasks(self.panel, 5, 3 * epoch + step, 4)]
            assert len({entry.task_id for entry in chosen}) == 12

    def test_epochs_differ_and_reach_every_task(self):
        epochs = [[t for step in range(3) for t in choose_tasks(self.panel, 5, 3 * e + step, 4)] for e in range(8)]
        assert epochs[0] != epochs[1]
        assert {entry for epoch in epochs for entry in epoch} == set(self.panel)

    def test_depends_on_its_arguments_alone(self):
        assert choose_tasks(self.panel, 5, 7, 4) == choose_tasks(self.panel[::-1], 5, 7, 4)
        assert choose_tasks(self.panel, 5, 7, 4) != choose_tasks(self.panel, 6, 7, 4)
        assert len(choose_tasks(self.panel, 5, 7, 14)) == 14

    @pytest.mark.parametrize("number", [0, 15])
    def test_too_small_a_panel(self, number):
        with pytest.raises(ConfigurationError, match=f"tasks_per_step is {number}, but the panel has 14"):
            choose_tasks(self.panel, 5, 0, number)
