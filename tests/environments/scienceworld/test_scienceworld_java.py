"""The JVMs: equal answers, clear errors, and none outlives the run."""

import os
import signal
import subprocess
import sys

import psutil
import pytest
from scienceworld_worlds import FIND_ANIMAL, SOLUTION, SPEC, WANDERING, play

from sg_pipeline.config.environment import PoolConfig
from sg_pipeline.environments.pool import EnvironmentPool
from sg_pipeline.environments.registry import EnvironmentSpec
from sg_pipeline.environments.scienceworld import java
from sg_pipeline.environments.scienceworld.environment import ScienceWorldEnvironment
from sg_pipeline.environments.scienceworld.jvm import Simulator, World, shared_simulator
from sg_pipeline.errors import EnvironmentFailure

pytestmark = pytest.mark.slow

POOLED = EnvironmentSpec(SPEC, {"show_objects": False, "heap_mb": 256})

PLAYER = f"""
import logging, sys, time
from sg_pipeline.config.environment import EnvironmentConfig, PoolConfig
from sg_pipeline.environments.pool import open_pool
from sg_pipeline.environments.scienceworld.jvm import shared_simulator
from sg_pipeline.environments.scienceworld.panel import make_task

logging.basicConfig(level=logging.WARNING)
config = EnvironmentConfig(name={SPEC!r}, arguments={{"heap_mb": 256}}, pool=PoolConfig(workers=int(sys.argv[1])))
pool = open_pool(config, "", None)
pool.reset([make_task("find-animal", 0, "train")] * 2, [0, 0])
print(pool.step([0, 1], ["look around", "teleport to outside"])[1].valid, flush=True)
if "stay" in sys.argv:
    time.sleep(300)
kept = shared_simulator(256).interface
logging.getLogger("py4j").setLevel(logging.NOTSET)  # nothing is to be said, rather than said and not heard
"""


def java_children(pid):
    children = psutil.Process(pid).children(recursive=True)
    return [child for child in children if child.status() != psutil.STATUS_ZOMBIE and child.name() == "java"]


def are_gone(processes):
    _, alive = psutil.wait_procs(processes, timeout=10)
    return all(process.status() == psutil.STATUS_ZOMBIE for process in alive if process.is_running())


def wander(simulator):
    world = World(simulator)
    world.load("use-thermometer", 5, "easy")
    answers = [world.act(action) for action in ("teleport to outside", *WANDERING)]
    world.close()
    return answers


def test_another_jvm_next_to_the_first_gives_the_same_answers():
    # A JVM with a past is compared with a new one: chance and hashes must not carry over.
    wander(shared_simulator())
    other = Simulator(heap_mb=128)
    try:
        assert wander(other) == wander(shared_simulator())
    finally:
        other.close()
    assert not psutil.pid_exists(other.process.pid)


def test_episodes_continue_in_a_new_jvm_after_kill_of_jvm_or_worker():
    expected = play(ScienceWorldEnvironment(show_objects=False), FIND_ANIMAL, SOLUTION)
    with EnvironmentPool(POOLED, PoolConfig(workers=1)) as pool:
        seen = [pool.reset([FIND_ANIMAL, FIND_ANIMAL], [0, 0])]
        for turn, action in enumerate(SOLUTION):
            if turn in (2, 4):
                (worker,) = pool.pids()
                machines = java_children(worker)
                assert len(machines) == 1  # for all environments of the worker
                os.kill(machines[0].pid if turn == 2 else worker, signal.SIGKILL)
                assert are_gone(machines)
            seen.append(pool.step([0, 1], [action, action]))
        left = java_children(pool.pids()[0])
        assert len(left) == 1
    assert seen == [[result, result] for result in expected]
    assert are_gone(left)


def test_process_ends_without_output_or_files(tmp_path):
    command = [sys.executable, "-c", PLAYER, "0"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert (ended.stdout, ended.stderr) == ("True\n", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("workers", [0, 1])
def test_kill_9_leaves_no_jvm(workers):
    player = subprocess.Popen([sys.executable, "-c", PLAYER, str(workers), "stay"], stdout=subprocess.PIPE)
    assert player.stdout is not None
    with player.stdout:
        assert player.stdout.readline() == b"True\n"
        machines = java_children(player.pid)
        assert len(machines) == 1
        player.send_signal(signal.SIGKILL)
        player.wait()
    assert are_gone(machines)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (None, r"cannot be started for ScienceWorld from .*No such file"),
        ("exec sleep 60", r"did not answer within 0.5 s"),
        ("echo no memory; echo ''; exit 3", r"ended with code 3 and says 'no memory'.*lower .*heap_mb \(now 64\)"),
        ("echo no heap >&2; exit 1", r"ended with code 1 and says 'no heap'"),
    ],
)
def test_simulator_java_that_does_not_start_raises(script, message, tmp_path, monkeypatch):
    program = tmp_path / "java"
    if script is not None:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setattr(java, "START_S", 0.5)
    monkeypatch.setattr(java, "find_java", lambda: program)
    with pytest.raises(EnvironmentFailure, match=message) as caught:
        Simulator(heap_mb=64)
    assert "\n" not in str(caught.value)
