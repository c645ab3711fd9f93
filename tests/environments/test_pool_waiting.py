"""The pool without waiting: actions are sent, answers received as they come."""

import os
import signal
import time

import psutil
import pytest
from rooms import SPEC, task

from sg_pipeline.config.environment import PoolConfig
from sg_pipeline.environments.pool import EnvironmentPool
from sg_pipeline.environments.registry import EnvironmentSpec
from sg_pipeline.errors import DataError

ROOMS = EnvironmentSpec(SPEC)
ACTIONS = ["right", "take key", "left", "take key", "left", "open chest", "dance", "right", "right", "take key"]
TASKS = [task(f"t{row}") for row in range(6)]


def action(row, turn):
    return ACTIONS[(3 * row + turn) % len(ACTIONS)]


def play(pool, kill_after=None, turns=6):
    """Play fixed actions, each row at its own pace; return every row's answers."""
    history = [[] for _ in TASKS]
    pool.begin(TASKS, range(6))
    received = 0
    while any(not seen or not (seen[-1].done or len(seen) > turns) for seen in history):
        for row, result in pool.receive():
            received += 1
            history[row].append(result)
            if not result.done and len(history[row]) <= turns:
                pool.send([row], [action(row, len(history[row]) - 1)])
        if kill_after is not None and received >= kill_after:
            os.kill(pool.pids()[0], signal.SIGKILL)
            kill_after = None
    return history


@pytest.fixture(scope="module")
def expected():
    with EnvironmentPool(ROOMS, PoolConfig(workers=0)) as pool:
        history = [[result] for result in pool.reset(TASKS, range(6))]
        for turn in range(6):
            rows = [row for row, seen in enumerate(history) if not seen[-1].done]
            for row, result in zip(rows, pool.step(rows, [action(row, turn) for row in rows]), strict=True):
                history[row].append(result)
    return history


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_answers_are_those_of_rows_that_wait_for_each_other(workers, expected):
    with EnvironmentPool(ROOMS, PoolConfig(workers=workers)) as pool:
        assert play(pool) == expected
        assert pool.receive() == []
        assert pool.counters.steps == sum(len(seen) - 1 for seen in expected)


def test_a_worker_that_dies_between_answers_loses_nothing(expected):
    with EnvironmentPool(ROOMS, PoolConfig(workers=2)) as pool:
        assert play(pool, kill_after=15) == expected
        assert pool.counters.restarts == 1


def test_nobody_waits_for_a_slow_row(tmp_path):
    tasks = [task("t0", f"hang-once@0:{tmp_path / 'happened'}"), *TASKS[1:3]]
    with EnvironmentPool(ROOMS, PoolConfig(workers=3, reset_timeout_s=2)) as pool:
        pool.begin(tasks, range(3))
        order = []
        while len(order) < 3:
            order += [row for row, _ in pool.receive()]
    assert order[-1] == 0
    assert (tmp_path / "happened").exists()


@pytest.mark.parametrize("frozen_while", ["writing", "reading"])
def test_pool_worker_frozen_in_the_middle_of_a_message_is_replaced(frozen_while, tmp_path):
    quirk = [f"freeze-once@1:{tmp_path / 'happened'}"] if frozen_while == "writing" else []
    actions = ["count 400000", "left", "right" if frozen_while == "writing" else "dance " * 400_000]
    with EnvironmentPool(ROOMS, PoolConfig(workers=0)) as pool:
        expected = [pool.reset(TASKS[:3], range(3)), pool.step(range(3), actions)]
    with EnvironmentPool(ROOMS, PoolConfig(workers=1, step_timeout_s=2)) as pool:
        first = pool.reset([task("t0", *quirk), *TASKS[1:3]], range(3))
        worker = psutil.Process(pool.pids()[0])
        if frozen_while == "reading":
            worker.suspend()
        pool.send(range(3), actions)
        while worker.status() != psutil.STATUS_STOPPED:
            time.sleep(0.01)
        received = {}
        while len(received) < 3:
            received |= dict(pool.receive())
        assert [first, [received[row] for row in range(3)]] == expected
        assert pool.counters.restarts == 1
        assert not worker.is_running()


def test_pool_healthy_worker_is_not_replaced_while_nobody_listens():
    with EnvironmentPool(ROOMS, PoolConfig(workers=1, step_timeout_s=0.8)) as pool:
        pool.reset(TASKS[:1], [0])
        pool.send([0], ["dance " * 400_000])
        time.sleep(1.0)
        assert [row for row, _ in pool.receive()] == [0]
        pool.send([0], ["count 400000"])
        time.sleep(1.0)
        assert [row for row, _ in pool.receive()] == [0]
        assert pool.counters.restarts == 0


def test_receive_waits_no_longer_than_it_may():
    with EnvironmentPool(ROOMS, PoolConfig(workers=1)) as pool:
        pool.begin(TASKS[:1], [0])  # the worker is still starting
        assert pool.receive(timeout_s=0.0) == []
        assert pool.receive(timeout_s=0.05) == []
        assert [row for row, _ in pool.receive()] == [0]


def test_misuse_is_refused():
    with EnvironmentPool(ROOMS, PoolConfig(workers=1)) as pool:
        pool.begin(TASKS[:2], [0, 1])
        with pytest.raises(ValueError, match="row 0 takes no action: its last answer has not been received"):
            pool.send([0], ["left"])
        received = []
        while len(received) < 2:
            received += pool.receive()
        pool.send([0], ["left"])
        with pytest.raises(ValueError, match="row 0 takes no action"):
            pool.send([0], ["left"])
        assert [row for row, _ in pool.receive()] == [0]


def test_an_error_is_told_once_and_a_new_beginning_forgets_what_was_under_way():
    with EnvironmentPool(ROOMS, PoolConfig(workers=2)) as pool:
        pool.begin([task("bad", "broken@x"), *TASKS[1:4]], range(4))
        with pytest.raises(DataError, match="game bad is truncated"):
            list(iter(pool.receive, []))
        first = pool.reset(TASKS, range(6))
        pool.send(range(6), ["left"] * 6)
        assert pool.reset(TASKS, range(6)) == first
