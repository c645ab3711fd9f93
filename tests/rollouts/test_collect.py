"""Rollouts: whole groups, token-exact, the same with any workers, accidents and turn-taking."""

import time

import pytest
from rooms import SPEC, task
from rooms_benchmark import SPEC as GRADED
from scripted import ByteFormat, ScriptedSampler, StreamingSampler

from sg_pipeline.config.environment import PoolConfig
from sg_pipeline.config.loader import section
from sg_pipeline.environments.pool import EnvironmentPool
from sg_pipeline.environments.registry import EnvironmentSpec
from sg_pipeline.errors import ConfigurationError, DataError
from sg_pipeline.rollouts.collect import attempts_at, collect
from sg_pipeline.rollouts.result import shares, time_split
from sg_pipeline.sampling.base import StreamingSession
from sg_pipeline.trajectories.types import Polarity, Segment

CONFIG = section("rollout", group_size=4, max_turns=25, max_new_tokens=120, max_length=3000)
TASKS = [task(f"t{group}") for group in range(3)]
SAMPLERS = [ScriptedSampler, StreamingSampler]


def roll(config=CONFIG, tasks=TASKS, workers=0, sampler=None, spec=None, attempts=None, guidance=True, **keywords):
    spec, limits = spec or EnvironmentSpec(SPEC), PoolConfig(workers=workers, step_timeout_s=1.5, reset_timeout_s=1.5)
    with EnvironmentPool(spec, limits if workers > 1 else PoolConfig(workers=workers)) as pool:
        return play(pool, config, tasks, sampler, attempts, guidance, **keywords)


def play(pool, config=CONFIG, tasks=TASKS, sampler=None, attempts=None, guidance=True, **keywords):
    attempts = attempts_at(tasks, 4) if attempts is None else attempts
    sampler = sampler or ScriptedSampler(guidance)
    return collect(attempts, config, sampler, ByteFormat(guidance), pool, **({"seed": 1, "step": 2} | keywords))


@pytest.fixture(scope="module")
def expected():
    return roll()


def turns_of(result):
    return [trajectory.turns for trajectory in result.trajectories]


def test_collect_groups_are_complete_and_trajectories_well_formed(expected):
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
    assert 0 < sum(trajectory.won for trajectory in expected.trajectories) < 12  # both outcomes occur


def test_collect_parts_of_the_score_belong_to_their_trajectories(expected, tmp_path):
    assert expected.parts == [()] * 12
    result = roll(spec=EnvironmentSpec(GRADED, {"data_root": tmp_path}), workers=1)
    assert [dict(parts)["chest"] for parts in result.parts] == [float(t.won) for t in result.trajectories]
    assert {dict(parts)["key"] for t, parts in zip(result.trajectories, result.parts, strict=True) if t.won} == {1.0}


@pytest.mark.parametrize("kind", SAMPLERS)
def test_collect_records_the_tokens_of_the_sampler(kind):
    sampler = kind()
    result = roll(sampler=sampler)
    (session,) = sampler.sessions
    for row, trajectory in enumerate(result.trajectories):
        assert [token for token, _, _ in trajectory.tokens()] == session.sequences[row]
        for turn in trajectory.turns:
            assert bytes(token for token in turn.context_ids if token < 256).decode() == turn.observation
            assert Segment.ENVIRONMENT not in turn.segments


def test_collect_counters_add_up(expected):
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


@pytest.mark.parametrize("workers", [1, 3])
def test_collect_worker_count_changes_nothing(workers, expected):
    result = roll(workers=workers)
    assert result.trajectories == expected.trajectories
    assert result.counters == expected.counters


@pytest.mark.parametrize(("workers", "order"), [(0, 0), (1, 2), (3, 3)])
def test_collect_streaming_gives_the_trajectories_of_turns_in_step(expected, workers, order):
    sampler = StreamingSampler(order)
    result = roll(sampler=sampler, workers=workers)
    (session,) = sampler.sessions
    assert isinstance(session, StreamingSession)
    assert result.trajectories == expected.trajectories
    assert result.counters == expected.counters
    # It did stream: at some time an episode was three turns ahead of another one in progress.
    turns, ahead = [0] * 12, 0
    for row in session.answered:
        turns[row] += 1
        still = [turns[i] for i, t in enumerate(result.trajectories) if turns[i] < len(t.turns)]
        ahead = max(ahead, max(turns) - min(still, default=max(turns)))
    assert ahead >= 3
    assert not session.waiting


@pytest.mark.parametrize("kind", SAMPLERS)
@pytest.mark.parametrize("quirk", ["crash-once@3", "hang-once@0", "raise-once@5"])
def test_collect_accidents_change_nothing(kind, quirk, tmp_path, expected):
    tasks = [TASKS[0], task("t1", f"{quirk}:{tmp_path / 'happened'}"), TASKS[2]]
    result = roll(tasks=tasks, workers=2, sampler=kind())
    assert (tmp_path / "happened").exists()
    assert turns_of(result) == turns_of(expected)
    assert result.counters["replayed_episodes"] > 0
    assert result.counters["worker_restarts"] == (0 if quirk.startswith("raise") else 1)


@pytest.mark.parametrize("kind", SAMPLERS)
def test_collect_broken_game_raises_and_leaves_the_pool_usable(kind, expected):
    with EnvironmentPool(EnvironmentSpec(SPEC), PoolConfig(workers=1)) as pool:
        with pytest.raises(DataError, match="game bad is truncated"):
            play(pool, tasks=[TASKS[0], TASKS[1], task("bad", "broken@x")], sampler=kind())
        assert play(pool, sampler=kind()).trajectories == expected.trajectories


def test_collect_random_stream_belongs_to_the_episode(expected):
    attempts = attempts_at(TASKS, 4)
    assert roll(attempts=[attempts[11], *attempts[4:6]]).trajectories == [
        expected.trajectories[index] for index in (11, 4, 5)
    ]
    for other in ({"step": 3}, {"seed": 2}, {"purpose": "evaluation"}):
        assert turns_of(roll(**other)) != turns_of(expected)
    first, second = expected.trajectories[:2]
    assert first.turns[0].observation == second.turns[0].observation  # a group starts from the same world
    assert first.turns != second.turns


def test_collect_token_budget_truncates():
    result = roll(section("rollout", group_size=4, max_new_tokens=120, max_length=600, max_turns=200))
    assert result.counters["truncated_by_tokens"] > 0
    for trajectory in result.trajectories:
        length = sum(1 for _ in trajectory.tokens())
        assert length <= 600
        assert trajectory.truncated is not trajectory.turns[-1].done
        # It continues while context and completion can fit: the longest observation here is 80 tokens.
        assert trajectory.won or length + 80 + 120 > 600


def test_collect_opening_that_does_not_fit_raises():
    with pytest.raises(ConfigurationError, match="max_length is 150, but the opening of task t0 takes"):
        roll(section("rollout", max_new_tokens=120, max_length=150))


def test_collect_long_observations_lose_their_middle():
    result = roll(CONFIG.model_copy(update={"max_observation_tokens": 11}))
    assert result.counters["cut_observations"] > 0
    for trajectory in result.trajectories:
        for turn in trajectory.turns[1:]:
            assert len(turn.context_ids) <= 11
            if turn.observation == "Nothing happens." and len(turn.context_ids) == 11:
                whole = [*turn.observation.encode(), 257]
                assert turn.context_ids[-5:] == whole[-5:]
                assert turn.context_ids[0] == 256 or turn.context_ids[:6] == whole[:6]


def test_collect_without_guidance_has_no_polarity():
    result = roll(guidance=False, policy_step=9)
    assert result.counters["unparsed_guidance"] == 0
    assert {turn.polarity for trajectory in result.trajectories for turn in trajectory.turns} == {None}
    assert result.trajectories[0].policy_step == 9


def test_collect_game_over_at_its_start_raises():
    with pytest.raises(DataError, match="task t3 is over before its first action"):
        roll(tasks=[*TASKS, task("t3", "solved@x")])


@pytest.mark.parametrize("sampler", [ScriptedSampler(), StreamingSampler(pause_s=0.002)])
def test_time_split_adds_up(sampler):
    began = time.perf_counter()
    timings = roll(sampler=sampler, workers=1).timings
    wall = time.perf_counter() - began
    assert timings["env_cpu_s"] > 0
    split = time_split(timings, training_s=0.25)
    assert list(split) == ["environment", "sampling", "format", "sync", "training", "idle", "total"]
    assert min(split.values()) >= 0
    assert split["total"] == pytest.approx(sum(value for name, value in split.items() if name != "total"))
    assert split["total"] == pytest.approx(timings["total_s"] + 0.25, abs=1e-6)
    assert split["idle"] < 0.1 * timings["total_s"]  # each moment was booked
    rested = time_split(timings, training_s=0.25, resting_s=0.5)
    assert rested == pytest.approx({**split, "sync": split["sync"] + 0.5, "total": split["total"] + 0.5})
    assert timings["total_s"] <= wall
    if isinstance(sampler, StreamingSampler):
        assert split["sampling"] > 0.002 * len(sampler.sessions[0].answered) / 12  # polling is the engine's time


def test_shares_are_sorted_and_need_a_total():
    assert shares({"environment": 1.0, "sampling": 3.0, "sync": 0.0, "total": 4.0}) == {
        "sampling": 0.75, "environment": 0.25, "sync": 0.0
    }  # fmt: skip
    assert shares({"environment": 1.0, "total": None}) == {}
