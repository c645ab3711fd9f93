"""The pool: what comes back does not depend on workers, and their deaths lose nothing."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from rooms import SPEC, task

from sg_pipeline.config.environment import PoolConfig
from sg_pipeline.environments import pool as pool_module
from sg_pipeline.environments.pool import EnvironmentPool, shared_pool
from sg_pipeline.environments.registry import EnvironmentSpec
from sg_pipeline.errors import ConfigurationError, DataError, EnvironmentFailure

ROOMS = EnvironmentSpec(SPEC)
ACTIONS = ["right", "take key", "left", "take key", "left", "open chest", "dance", "right", "right", "take key"]


def play(pool, tasks, turns=6, groups=None):
    """Play fixed actions in every row; return every row's answers."""
    history = [[result] for result in pool.reset(tasks, range(len(tasks)), groups)]
    for turn in range(turns):
        rows = [row for row, seen in enumerate(history) if not seen[-1].done]
        actions = [ACTIONS[(3 * row + turn) % len(ACTIONS)] for row in rows]
        for row, result in zip(rows, pool.step(rows, actions), strict=True):
            history[row].append(result)
    return history


@pytest.fixture(scope="module")
def expected():
    with EnvironmentPool(ROOMS, PoolConfig(workers=0)) as pool:
        return play(pool, [task(f"t{row}") for row in range(6)])


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_do_not_depend_on_the_number_of_workers(workers, expected):
    with EnvironmentPool(ROOMS, PoolConfig(workers=workers)) as pool:
        assert play(pool, [task(f"t{row}") for row in range(6)]) == expected
        assert play(pool, [task(f"t{row}") for row in range(6)], groups=[0, 0, 1, 1, 2, 2]) == expected
        counters = pool.counters
    assert (counters.resets, counters.restarts, counters.replays) == (12, 0, 0)
    assert counters.steps == 2 * sum(len(seen) - 1 for seen in expected)
    assert counters.wait_s > 0
    assert counters.cpu_s > 0


def test_answers_come_in_the_order_of_the_call(expected):
    with EnvironmentPool(ROOMS, PoolConfig(workers=2)) as pool:
        pool.reset([task(f"t{row}") for row in range(6)], range(6))
        rows = [5, 0, 3]
        results = pool.step(rows, [ACTIONS[3 * row % len(ACTIONS)] for row in rows])
    assert results == [expected[row][1] for row in rows]


def test_misuse_is_refused_before_anything_is_played(expected):
    with EnvironmentPool(ROOMS, PoolConfig(workers=1)) as pool:
        pool.reset([task("t0"), task("t1")], [0, 1])
        with pytest.raises(ValueError, match="a row occurs twice"):
            pool.step([0, 0], ["left", "left"])
        assert pool.step([0], ACTIONS[:1]) == [expected[0][1]]


def test_groups_share_a_worker_and_environments_are_reused():
    tasks = [task(f"t{row}", "maker@x") for row in range(6)]
    with EnvironmentPool(ROOMS, PoolConfig(workers=2)) as pool:
        first = [result.observation.split()[-4:] for result in pool.reset(tasks, [0] * 6, [7, 7, 7, 8, 8, 8])]
        again = [result.observation.split()[-4:] for result in pool.reset(tasks, [0] * 6, [7, 7, 7, 8, 8, 8])]
        pids = pool.pids()
    assert [int(words[-1].rstrip(".")) for words in first] == [pids[0]] * 3 + [pids[1]] * 3
    assert again == first  # the same objects answered


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_worker_loses_nothing(workers, expected):
    tasks = [task(f"t{row}") for row in range(6)]
    with EnvironmentPool(ROOMS, PoolConfig(workers=workers)) as pool:
        history = [[result] for result in pool.reset(tasks, range(6))]
        for turn in range(6):
            rows = [row for row, seen in enumerate(history) if not seen[-1].done]
            if turn in (2, 4):
                os.kill(pool.pids()[0], signal.SIGKILL)
            for row, result in zip(
                rows, pool.step(rows, [ACTIONS[(3 * row + turn) % len(ACTIONS)] for row in rows]), strict=True
            ):
                history[row].append(result)
        assert history == expected
        assert pool.counters.restarts == 2


@pytest.mark.parametrize("quirk", ["crash-once", "exit-once", "hang-once", "raise-once", "quit-once"])
def test_one_accident_is_replayed(quirk, expected, tmp_path):
    tasks = [task(f"t{row}") for row in range(6)]
    tasks[2] = task("t2", f"{quirk}@3:{tmp_path / 'happened'}")
    with EnvironmentPool(ROOMS, PoolConfig(workers=2, step_timeout_s=1.5)) as pool:
        assert play(pool, tasks) == expected
        assert pool.counters.restarts == (0 if quirk in {"raise-once", "quit-once"} else 1)
        assert pool.counters.replays >= 1
    assert (tmp_path / "happened").exists()


@pytest.mark.parametrize(
    ("quirk", "reason", "tries"),
    [
        ("crash@2", "killed by signal 9", 2),
        ("exit@2", "ended with code 3", 2),
        ("hang@2", "did not answer within", 2),
        ("raise@2", "raised KeyError: 'val1'", 2),
        ("crash@0", "killed by signal 9", 2),
    ],
)
def test_repeated_failure_is_told_and_harms_nobody_else(quirk, reason, tries, expected):
    tasks = [task(f"t{row}") for row in range(3)]
    tasks[0] = task("t0", quirk)
    config = PoolConfig(workers=1, step_timeout_s=1.5, reset_timeout_s=1, max_restarts=1)
    with EnvironmentPool(ROOMS, config) as pool:
        with pytest.raises(EnvironmentFailure) as caught:
            play(pool, tasks)
        where = "at its start" if quirk.endswith("0") else "at action 2 ('take key')"
        assert f"failed in task t0 {where} {tries} time(s)" in str(caught.value)
        assert reason in str(caught.value)
        with pytest.raises(ValueError, match="row 0 takes no action"):
            pool.step([0], ["left"])
        turn = 0 if quirk.endswith("0") else 2
        results = pool.step([1, 2], [ACTIONS[(3 * row + turn) % len(ACTIONS)] for row in (1, 2)])
        assert results == [expected[row][turn + 1] for row in (1, 2)]


@pytest.mark.parametrize("workers", [0, 1])
def test_exception_counts_in_process_as_well(workers):
    with EnvironmentPool(ROOMS, PoolConfig(workers=workers)) as pool:
        with pytest.raises(EnvironmentFailure, match=r"2 time\(s\): it raised KeyError"):
            pool.reset([task("t0", "raise@0")], [0])
        assert pool.reset([task("t1")], [0])[0].valid


@pytest.mark.parametrize("workers", [0, 2])
def test_game_that_does_not_load(workers, expected):
    tasks = [task(f"t{row}") for row in range(6)]
    tasks[1] = task("t1", "broken@x")
    with EnvironmentPool(ROOMS, PoolConfig(workers=workers)) as pool:
        with pytest.raises(DataError, match=r"^game t1 is truncated$"):
            pool.reset(tasks, range(6))
        rows = [0, 2, 3, 4, 5]
        assert pool.step(rows, [ACTIONS[3 * row % len(ACTIONS)] for row in rows]) == [expected[row][1] for row in rows]
        assert play(pool, [task(f"t{row}") for row in range(6)]) == expected
        assert pool.counters.restarts == 0


def test_replay_that_shows_something_else_is_an_error():
    with EnvironmentPool(ROOMS, PoolConfig(workers=1)) as pool:
        pool.reset([task("t0", "wild@x"), task("t1")], [0, 1])
        os.kill(pool.pids()[0], signal.SIGKILL)
        with pytest.raises(EnvironmentFailure, match=r"task t0 at action 1 \('left'\).*not deterministic"):
            pool.step([0, 1], ["left", "left"])


def test_environment_that_cannot_be_started():
    with (
        EnvironmentPool(EnvironmentSpec("rooms:Unstartable"), PoolConfig(workers=1, max_restarts=1)) as pool,
        pytest.raises(EnvironmentFailure, match="before it was ready its worker process ended with code 5"),
    ):
        pool.reset([task("t0")], [0])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (EnvironmentSpec("alfwrld"), "unknown environment 'alfwrld': did you mean 'alfworld'"),
        (EnvironmentSpec("rooms:Roms"), "cannot be imported from rooms:Roms"),
        (EnvironmentSpec(SPEC, {"dely_s": 1.0}), "does not take the arguments dely_s .*it takes delay_s"),
    ],
)
def test_wrong_spec_is_a_configuration_error(spec, message):
    with (
        pytest.raises(ConfigurationError, match=message),
        EnvironmentPool(spec, PoolConfig(workers=1)) as pool,
    ):
        pool.reset([task("t0")], [0])


def interrupt_step(pool, rows, after_s=0.3):
    """Step, and be interrupted by Ctrl-C while waiting."""
    # A shell that starts the tests in the background has them ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(after_s, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        pool.step(rows, ["left"] * len(rows))
    timer.join()
    signal.signal(signal.SIGINT, before)


def test_interrupted_call_harms_nothing(expected):
    with EnvironmentPool(ROOMS, PoolConfig(workers=1)) as pool:
        pool.reset([task("t0", "slow@1"), task("t1")], [0, 1])
        interrupt_step(pool, [0, 1])
        with pytest.raises(ValueError, match="row 1 takes no action"):
            pool.step([1], ["left"])
        assert play(pool, [task(f"t{row}") for row in range(6)]) == expected
        assert pool.counters.restarts == 0


def test_closing_leaves_no_process_and_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("sg_pipeline.environments.worker_process.CLOSE_GRACE_S", 300.0)
    goodbye = tmp_path / "goodbye"
    with EnvironmentPool(ROOMS, PoolConfig(workers=2)) as pool:
        pool.reset([task("t0", f"goodbye@{goodbye}"), task("t1", "hang@1")], [0, 1])
        processes = [psutil.Process(pid) for pid in pool.pids()]
        interrupt_step(pool, [0, 1], after_s=1.0)
        processes += [psutil.Process(pid) for pid in pool.pids()]
        began = time.monotonic()
    assert time.monotonic() - began < 300.0  # no grace for a worker that is busy
    assert not any(process.is_running() for process in processes)
    assert list(tmp_path.iterdir()) == [goodbye]
    pool.close()
    with pytest.raises(ValueError, match="closed"):
        pool.reset([task("t0")], [0])


@pytest.mark.parametrize("quirk", ["", "hang@1"])
def test_workers_end_with_their_parent(quirk, tmp_path):
    code = f"""
from rooms import SPEC, task
from sg_pipeline.environments.pool import EnvironmentPool
from sg_pipeline.config.environment import PoolConfig
from sg_pipeline.environments.registry import EnvironmentSpec
pool = EnvironmentPool(EnvironmentSpec(SPEC), PoolConfig(workers=2))
pool.reset([task("t0", *{quirk.split()!r}), task("t1")], [0, 1])
print(*pool.pids(), flush=True)
pool.step([0, 1], ["left", "left"])
input()
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parent)}
    parent = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        workers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        assert len(workers) == 2
        time.sleep(0.3)
        assert parent.poll() is None
        parent.kill()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive
    assert list(tmp_path.iterdir()) == []


def test_shared_pool_is_kept_and_replaced_when_closed(monkeypatch):
    monkeypatch.setattr(pool_module, "_shared", {})
    monkeypatch.setattr(pool_module.atexit, "register", lambda function: None)
    config = PoolConfig(workers=0)
    first = shared_pool(EnvironmentSpec(SPEC, {"delay_s": 0.0}), config)
    assert shared_pool(EnvironmentSpec(SPEC, {"delay_s": 0.0}), config) is first
    other = shared_pool(ROOMS, config)
    assert other is not first
    first.close()
    assert shared_pool(EnvironmentSpec(SPEC, {"delay_s": 0.0}), config) is not first
    pool_module._close_shared()
    assert other.closed
