"""Streaming rollouts: episodes go on as their own answers come, and become the trajectories of those in step."""

import random
import time

import pytest
from rooms import SPEC, task
from scripted import ByteFormat, ScriptedSampler, ScriptedSession

from sg_pipeline.config.environment import PoolConfig
from sg_pipeline.config.loader import section
from sg_pipeline.environments.pool import EnvironmentPool
from sg_pipeline.environments.registry import EnvironmentSpec
from sg_pipeline.errors import DataError
from sg_pipeline.rollouts.collect import collect
from sg_pipeline.rollouts.timings import shares, time_split
from sg_pipeline.sampling.base import StreamingSession

CONFIG = section("rollout", group_size=4, max_turns=25, max_new_tokens=120, max_length=3000)
TASKS = [task(f"t{group}") for group in range(3)]


class StreamingSampler(ScriptedSampler):
    """Writes what its like in step writes, and finishes in an odd order."""

    def __init__(self, order=0, pause_s=0.0):
        super().__init__()
        self.order = random.Random(order)
        self.pause_s = pause_s

    def open(self, streams, max_length):
        self.sessions.append(OddSession(list(streams), max_length, self.guidance))
        self.sessions[-1].order, self.sessions[-1].pause_s = self.order, self.pause_s
        return self.sessions[-1]


class OddSession(ScriptedSession):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.waiting = {}
        self.answered = []
        self.most = 0

    @property
    def under_way(self):
        return len(self.waiting)

    def submit(self, row, context, stop_ids, max_new_tokens, stop_when=None):
        assert row not in self.waiting
        self._allowed = set(range(len(self.sequences)))
        self.waiting[row] = self.extend([row], [context], stop_ids, max_new_tokens)[0]
        self.most = max(self.most, len(self.waiting))

    def poll(self):
        assert self.waiting, "asked although nothing is under way"
        time.sleep(self.pause_s)
        rows = [row for row in self.waiting if self.order.random() < 0.3]
        self.order.shuffle(rows)
        self.answered += rows
        return [(row, self.waiting.pop(row)) for row in rows]


def roll(sampler, workers=0, tasks=TASKS, **pool):
    with EnvironmentPool(EnvironmentSpec(SPEC), PoolConfig(workers=workers, **pool)) as opened:
        return collect(tasks, CONFIG, sampler, ByteFormat(), opened, seed=1, step=2)


@pytest.fixture(scope="module")
def expected():
    return roll(ScriptedSampler())


@pytest.mark.parametrize(("workers", "order"), [(0, 0), (0, 1), (1, 2), (3, 3)])
def test_the_trajectories_are_those_of_the_rollout_in_step(expected, workers, order):
    sampler = StreamingSampler(order)
    result = roll(sampler, workers)
    (session,) = sampler.sessions
    assert isinstance(session, StreamingSession)
    assert result.trajectories == expected.trajectories
    assert result.counters == expected.counters
    # It did stream: at some time an episode was three turns ahead of another that was not over.
    turns, ahead = [0] * 12, 0
    for row in session.answered:
        turns[row] += 1
        still = [turns[i] for i, t in enumerate(result.trajectories) if turns[i] < len(t.turns)]
        ahead = max(ahead, max(turns) - min(still, default=max(turns)))
    assert ahead >= 3
    assert not session.waiting


@pytest.mark.parametrize("quirk", ["crash-once@3", "hang-once@1", "raise-once@5"])
def test_accidents_change_nothing(quirk, tmp_path, expected):
    tasks = [TASKS[0], task("t1", f"{quirk}:{tmp_path / 'happened'}"), TASKS[2]]
    result = roll(StreamingSampler(), 2, tasks, step_timeout_s=1.5, reset_timeout_s=1.5)
    assert (tmp_path / "happened").exists()
    assert [t.turns for t in result.trajectories] == [t.turns for t in expected.trajectories]
    assert result.counters["worker_restarts"] == (0 if quirk.startswith("raise") else 1)


def test_an_error_leaves_the_pool_usable(expected):
    with EnvironmentPool(EnvironmentSpec(SPEC), PoolConfig(workers=2)) as pool:
        broken = [*TASKS, task("bad", "broken@x")]
        with pytest.raises(DataError, match="game bad is truncated"):
            collect(broken, CONFIG, StreamingSampler(), ByteFormat(), pool, seed=1, step=2)
        again = collect(TASKS, CONFIG, StreamingSampler(), ByteFormat(), pool, seed=1, step=2)
    assert again.trajectories == expected.trajectories


@pytest.mark.parametrize("sampler", [ScriptedSampler(), StreamingSampler(pause_s=0.002)])
def test_the_parts_of_the_time_add_up(sampler):
    began = time.perf_counter()
    timings = roll(sampler, 1).timings
    wall = time.perf_counter() - began
    split = time_split(timings, training_s=0.25)
    assert list(split) == ["environment", "sampling", "format", "sync", "training", "idle", "total"]
    assert min(split.values()) >= 0
    assert split["total"] == pytest.approx(sum(value for name, value in split.items() if name != "total"))
    assert split["total"] == pytest.approx(timings["total_s"] + 0.25, abs=1e-6)
    assert split["idle"] < 0.1 * timings["total_s"]  # each moment has been booked
    rested = time_split(timings, training_s=0.25, resting_s=0.5)
    assert rested == pytest.approx({**split, "sync": split["sync"] + 0.5, "total": split["total"] + 0.5})
    assert timings["total_s"] <= wall
    if isinstance(sampler, StreamingSampler):
        assert split["sampling"] > 0.002 * len(sampler.sessions[0].answered) / 12  # a poll's time is the engine's


def test_shares_of_new_and_of_older_steps():
    assert shares({"environment": 1.0, "sampling": 3.0, "sync": 0.0, "total": 4.0}) == {
        "sampling": 0.75, "environment": 0.25, "sync": 0.0
    }  # fmt: skip
    assert shares({"total": 4.0}) == {}
    assert shares({"environment": 1.0, "total": None}) == {}
