"""The pool: results do not depend on workers, and dead workers lose nothing, with and without waiting."""

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

from sg_pipeline.config.environment import EnvironmentConfig, PoolConfig
from sg_pipeline.environments.base import Benchmark
from sg_pipeline.environments.pool import EnvironmentPool, open_pool, shared_pids
from sg_pipeline.environments.registry import EnvironmentSpec
from sg_pipeline.errors import ConfigurationError, DataError, EnvironmentFailure

pytestmark = pytest.mark.slow

ROOMS = EnvironmentSpec(SPEC)
ACTIONS = ["right", "take key", "left", "take key", "left", "open chest", "dance", "right", "right", "take key"]
TASKS = [task(f"t{row}") for row in range(6)]
TURNS = 6


def action(row, turn):
    return ACTIONS[(3 * row + turn) % len(ACTIONS)]


def play(pool, tasks=TASKS, groups=None, kill_at=()):
    """Play fixed actions in every row, all rows in step; return every row's answers. Kills worker 0 at some turns."""
    history = [[result] for result in pool.reset(tasks, range(len(tasks)), groups)]
    for turn in range(TURNS):
        rows = [row for row, seen in enumerate(history) if not seen[-1].done]
        if turn in kill_at:
            os.kill(pool.pids()[0], signal.SIGKILL)
        for row, result in zip(rows, pool.step(rows, [action(row, turn) for row in rows]), strict=True):
            history[row].append(result)
    return history


def play_freely(pool, kill_after=None):
    """Play the same, each row at its own pace. Kills worker 0 after some answers."""
    history = [[] for _ in TASKS]
    pool.begin(TASKS, range(6))
    received = 0
    while any(not seen or not (seen[-1].done or len(seen) > TURNS) for seen in history):
        for row, result in pool.receive():
            received += 1
            history[row].append(result)
            if not result.done and len(history[row]) <= TURNS:
                pool.send([row], [action(row, len(history[row]) - 1)])
        if kill_after is not None and received >= kill_after:
            os.kill(pool.pids()[0], signal.SIGKILL)
            kill_after = None
    return history


@pytest.fixture(scope="module")
def expected():
    with EnvironmentPool(ROOMS, PoolConfig(workers=0)) as pool:
        return play(pool)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_pool_any_number_of_workers_and_any_pace_give_the_same_results(workers, expected):
    with EnvironmentPool(ROOMS, PoolConfig(workers=workers)) as pool:
        assert play(pool) == expected
        assert play(pool, groups=[0, 0, 1, 1, 2, 2]) == expected
        assert play_freely(pool) == expected
        assert pool.receive() == []
        pool.reset(TASKS, range(6))
        rows = [5, 0, 3]
        assert pool.step(rows, [action(row, 0) for row in rows]) == [expected[row][1] for row in rows]
        assert (pool.counters.restarts, pool.counters.replays) == (0, 0)
        assert pool.counters.cpu_s > 0


def test_pool_groups_share_a_worker_and_environments_are_reused():
    tasks = [task(f"t{row}", "maker@x") for row in range(6)]
    with EnvironmentPool(ROOMS, PoolConfig(workers=2)) as pool:
        first = [result.observation.split()[-4:] for result in pool.reset(tasks, [0] * 6, [7, 7, 7, 8, 8, 8])]
        again = [result.observation.split()[-4:] for result in pool.reset(tasks, [0] * 6, [7, 7, 7, 8, 8, 8])]
        pids = pool.pids()
    assert [int(words[-1].rstrip(".")) for words in first] == [pids[0]] * 3 + [pids[1]] * 3
    assert again == first  # the same objects answered


@pytest.mark.parametrize("workers", [1, 2])
def test_pool_killed_worker_loses_nothing(workers, expected):
    with EnvironmentPool(ROOMS, PoolConfig(workers=workers)) as pool:
        assert play(pool, kill_at=(2, 4)) == expected
        assert pool.counters.restarts == 2
        assert play_freely(pool, kill_after=15) == expected
        assert pool.counters.restarts == 3


@pytest.mark.parametrize("quirk", ["crash-once", "exit-once", "hang-once", "raise-once", "quit-once"])
def test_pool_single_accident_is_replayed(quirk, expected, tmp_path):
    tasks = [*TASKS[:2], task("t2", f"{quirk}@3:{tmp_path / 'happened'}"), *TASKS[3:]]
    with EnvironmentPool(ROOMS, PoolConfig(workers=2, step_timeout_s=1.5)) as pool:
        assert play(pool, tasks) == expected
        assert pool.counters.restarts == (0 if quirk in {"raise-once", "quit-once"} else 1)
        assert pool.counters.replays >= 1
    assert (tmp_path / "happened").exists()


@pytest.mark.parametrize(
    ("quirk", "reason", "workers"),
    [
        ("crash@2", "killed by signal 9", 1),
        ("exit@2", "ended with code 3", 1),
        ("hang@2", "did not answer within", 1),
        ("raise@2", "raised KeyError: 'val1'", 0),
        ("crash@0", "killed by signal 9", 1),
    ],
)
def test_pool_repeated_failure_raises_and_other_rows_continue(quirk, reason, workers, expected):
    config = PoolConfig(workers=workers, step_timeout_s=1.5, reset_timeout_s=1, max_restarts=1)
    with EnvironmentPool(ROOMS, config) as pool:
        with pytest.raises(EnvironmentFailure) as caught:
            play(pool, [task("t0", quirk), *TASKS[1:3]])
        where = "at its start" if quirk.endswith("0") else "at action 2 ('take key')"
        assert f"failed in task t0 {where} 2 time(s)" in str(caught.value)
        assert reason in str(caught.value)
        with pytest.raises(ValueError, match="row 0 takes no action"):
            pool.step([0], ["left"])
        turn = 0 if quirk.endswith("0") else 2
        results = pool.step([1, 2], [action(row, turn) for row in (1, 2)])
        assert results == [expected[row][turn + 1] for row in (1, 2)]


@pytest.mark.parametrize("workers", [0, 2])
def test_pool_game_that_does_not_load_raises_once_and_other_rows_continue(workers, expected):
    tasks = [TASKS[0], task("bad", "broken@x"), *TASKS[2:]]
    rows = [0, 2, 3, 4, 5]
    with EnvironmentPool(ROOMS, PoolConfig(workers=workers)) as pool:
        with pytest.raises(DataError, match=r"^game bad is truncated$"):
            pool.reset(tasks, range(6))
        assert pool.step(rows, [action(row, 0) for row in rows]) == [expected[row][1] for row in rows]
        pool.begin(tasks, range(6))
        with pytest.raises(DataError, match="game bad is truncated"):
            list(iter(pool.receive, []))
        assert play(pool) == expected
        assert pool.counters.restarts == 0


def test_pool_replay_that_differs_raises():
    with EnvironmentPool(ROOMS, PoolConfig(workers=1)) as pool:
        pool.reset([task("t0", "wild@x"), task("t1")], [0, 1])
        os.kill(pool.pids()[0], signal.SIGKILL)
        with pytest.raises(EnvironmentFailure, match=r"task t0 at action 1 \('left'\).*not deterministic"):
            pool.step([0, 1], ["left", "left"])


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        (("alfwrld",), ConfigurationError, "unknown environment 'alfwrld': did you mean 'alfworld'"),
        (("rooms:Roms",), ConfigurationError, "cannot be imported from rooms:Roms"),
        ((SPEC, {"dely_s": 1.0}), ConfigurationError, "does not take the arguments dely_s .*it takes delay_s"),
        (("rooms:Unstartable",), EnvironmentFailure, "before it was ready its worker process ended with code 5"),
    ],
)
def test_pool_environment_that_cannot_be_built_raises(spec, error, message):
    limits = PoolConfig(workers=1, max_restarts=1)
    with EnvironmentPool(EnvironmentSpec(*spec), limits) as pool, pytest.raises(error, match=message):
        pool.reset([task("t0")], [0])


def test_benchmark_without_expert_or_words_names_what_to_set(tmp_path):
    benchmark = Benchmark()
    benchmark.name = "mine"
    with pytest.raises(ConfigurationError, match=r"mine has no expert .* set base_model.source"):
        benchmark.demonstrator(None, tmp_path, tmp_path, tmp_path)
    with pytest.raises(ConfigurationError, match=r"mine has no vocabulary"):
        benchmark.vocabulary()


def test_pool_misuse_raises_before_anything_is_played(expected):
    with EnvironmentPool(ROOMS, PoolConfig(workers=1)) as pool:
        pool.begin(TASKS[:1], [0])  # the worker is still starting
        assert pool.receive(wait=False) == []
        with pytest.raises(ValueError, match="row 0 takes no action: its last answer has not been received"):
            pool.send([0], ["left"])
        assert pool.receive() == [(0, expected[0][0])]
        with pytest.raises(ValueError, match="a row occurs twice"):
            pool.step([0, 0], ["left", "left"])
        pool.send([0], [action(0, 0)])
        with pytest.raises(ValueError, match="row 0 takes no action"):
            pool.send([0], ["left"])
        assert pool.receive() == [(0, expected[0][1])]


def test_pool_slow_row_delays_no_other(tmp_path):
    tasks = [task("t0", f"hang-once@0:{tmp_path / 'happened'}"), *TASKS[1:3]]
    with EnvironmentPool(ROOMS, PoolConfig(workers=3, reset_timeout_s=2)) as pool:
        pool.begin(tasks, range(3))
        order = [row for answers in iter(pool.receive, []) for row, _ in answers]
    assert order[-1] == 0
    assert (tmp_path / "happened").exists()


@pytest.mark.parametrize("frozen_while", ["writing", "reading"])
def test_pool_worker_frozen_in_the_middle_of_a_message_is_replaced(frozen_while, tmp_path):
    quirk = [f"freeze-once@1:{tmp_path / 'happened'}"] if frozen_while == "writing" else []
    actions = ["count 400000", "left", "right" if frozen_while == "writing" else "dance " * 400_000]
    with EnvironmentPool(ROOMS, PoolConfig(workers=0)) as pool:
        unfrozen = [pool.reset(TASKS[:3], range(3)), pool.step(range(3), actions)]
    with EnvironmentPool(ROOMS, PoolConfig(workers=1, step_timeout_s=1.5)) as pool:
        first = pool.reset([task("t0", *quirk), *TASKS[1:3]], range(3))
        worker = psutil.Process(pool.pids()[0])
        if frozen_while == "reading":
            worker.suspend()
        pool.send(range(3), actions)
        while worker.status() != psutil.STATUS_STOPPED:
            time.sleep(0.01)
        received = dict(answer for answers in iter(pool.receive, []) for answer in answers)
        assert [first, [received[row] for row in range(3)]] == unfrozen
        assert pool.counters.restarts == 1
        assert not worker.is_running()


def test_pool_healthy_worker_is_not_replaced_while_nobody_listens():
    with EnvironmentPool(ROOMS, PoolConfig(workers=1, step_timeout_s=0.8)) as pool:
        pool.reset(TASKS[:1], [0])
        for command in ("dance " * 400_000, "count 400000"):
            pool.send([0], [command])
            time.sleep(1.0)
            assert [row for row, _ in pool.receive()] == [0]
        assert pool.counters.restarts == 0


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


def test_pool_interrupted_call_harms_nothing(expected):
    with EnvironmentPool(ROOMS, PoolConfig(workers=1)) as pool:
        pool.reset([task("t0", "slow@1"), task("t1")], [0, 1])
        interrupt_step(pool, [0, 1])
        with pytest.raises(ValueError, match="row 1 takes no action"):
            pool.step([1], ["left"])
        busy = pool.pids()
        assert play_freely(pool) == expected
        assert pool.pids() != busy  # what was under way has ended with its worker
        assert pool.counters.restarts == 0


def test_pool_close_leaves_no_process_and_no_file(tmp_path, monkeypatch):
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


def test_open_pool_is_kept_until_closed(tmp_path):
    config = EnvironmentConfig(name=SPEC, pool=PoolConfig(workers=1))
    first = open_pool(config, tmp_path, tmp_path)
    assert open_pool(config, tmp_path, tmp_path) is first
    other = open_pool(config, tmp_path / "other", tmp_path)
    assert other is not first
    assert {*first.pids(), *other.pids()} <= set(shared_pids())
    first.close()
    third = open_pool(config, tmp_path, tmp_path)
    assert third is not first
    for pool in (other, third):
        pool.close()
