"""How fast ScienceWorld is played, ours and published: `python benchmarks/scienceworld_steps.py [--steps N]`.

Plays the same fixed actions through the published wrapper's `env.step()`, one environment; through the pool with one
and two workers; and through ours in this process, one and many environments in one JVM. Prints milliseconds of wall
clock and of processor time (Java's included), steps per second, and the memory of each JVM. Wants the extra 'dev'.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil

from sg_pipeline.config.environment import PoolConfig
from sg_pipeline.environments.pool import EnvironmentPool
from sg_pipeline.environments.registry import EnvironmentSpec
from sg_pipeline.environments.scienceworld.environment import ScienceWorldEnvironment
from sg_pipeline.environments.scienceworld.java import find_java
from sg_pipeline.environments.scienceworld.make import SHORT_TASKS
from sg_pipeline.environments.scienceworld.panel import make_task
from sg_pipeline.trajectories.types import Task

SPEC = EnvironmentSpec(
    "sg_pipeline.environments.scienceworld.environment:ScienceWorldEnvironment",
    {"show_actions": False, "show_objects": False},
)
ACTIONS = (
    *("teleport to kitchen", "look around", "open cupboard", "pick up metal pot", "move metal pot to sink"),
    *("teleport to greenhouse", "inventory", "wait1", "dance", "teleport to outside", "look at ground", "wait1"),
)
WARM_UP = 60
"""Steps before the clock starts: Java compiles what it runs often."""


def tasks(count: int) -> list[Task]:
    """Return `count` training tasks of the default panel's kinds."""
    return [
        make_task(SHORT_TASKS[place % len(SHORT_TASKS)], place // len(SHORT_TASKS), "train") for place in range(count)
    ]


def children_cpu_s() -> float:
    """Return the processor seconds of this process and of all below it."""
    own = psutil.Process()
    return sum(sum(process.cpu_times()[:2]) for process in [own, *own.children(recursive=True)])


def java_mb() -> list[int]:
    """Return the resident memory of every JVM below this process."""
    found = [child for child in psutil.Process().children(recursive=True) if "java" in child.name()]
    return sorted(child.memory_info().rss // 2**20 for child in found)


def measure(name: str, begin: Callable[[], object], step: Callable[[str], int], steps: int) -> None:
    """Time `steps` steps after the warm-up; `step` plays an action and returns how many steps that was."""
    begin()
    begun = time.perf_counter()
    begin()
    reset_ms = 1000 * (time.perf_counter() - begun)
    played = 0
    while played < WARM_UP:
        played += sum(step(action) for action in ACTIONS)
    wall, cpu, played = time.perf_counter(), children_cpu_s(), 0
    while played < steps:
        played += sum(step(action) for action in ACTIONS)
    wall, cpu = time.perf_counter() - wall, children_cpu_s() - cpu
    memory = ", ".join(map(str, java_mb()))
    print(
        f"{name:<42} step {1000 * wall / played:6.1f} ms wall {1000 * cpu / played:6.1f} ms cpu {played / wall:7.1f}/s"
        f"   begin {reset_ms:6.0f} ms   JVMs {memory} MB"
    )


@contextmanager
def published() -> Iterator[tuple[Callable[[], object], Callable[[str], int]]]:
    """Yield begin and step of the published wrapper."""
    os.environ["PATH"] = f"{find_java().parent}{os.pathsep}{os.environ['PATH']}"
    from scienceworld import ScienceWorldEnv

    made = ScienceWorldEnv("")

    def begin() -> None:
        made.load(SHORT_TASKS[0], 0, "easy")
        made.reset()

    def step(action: str) -> int:
        made.step(action)
        return 1

    yield begin, step
    made.close()


@contextmanager
def ours(worlds: int) -> Iterator[tuple[Callable[[], object], Callable[[str], int]]]:
    """Yield begin and step of `worlds` environments of one process, which take turns."""
    environments = [ScienceWorldEnvironment(show_actions=False, show_objects=False) for _ in range(worlds)]

    def begin() -> None:
        for environment, task in zip(environments, tasks(worlds), strict=True):
            environment.reset(task, 0)

    def step(action: str) -> int:
        for environment in environments:
            environment.step(action)
        return worlds

    yield begin, step
    for environment in environments:
        environment.close()


@contextmanager
def pooled(workers: int, worlds: int) -> Iterator[tuple[Callable[[], object], Callable[[str], int]]]:
    """Yield begin and step of a pool."""
    with EnvironmentPool(SPEC, PoolConfig(workers=workers)) as pool:

        def begin() -> None:
            pool.reset(tasks(worlds), [0] * worlds)

        def step(action: str) -> int:
            pool.step(range(worlds), [action] * worlds)
            return worlds

        yield begin, step


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=240, help="timed steps of each way (default 240)")
    parser.add_argument("--worlds", type=int, default=32, help="environments where there are many (default 32)")
    arguments = parser.parse_args()
    ways = {
        "published env.step()": published,
        f"pool, 1 worker, {arguments.worlds} environments": lambda: pooled(1, arguments.worlds),
        f"pool, 2 workers, {arguments.worlds} environments": lambda: pooled(2, arguments.worlds),
        "ours, one environment": lambda: ours(1),
        f"ours, {arguments.worlds} environments in one JVM": lambda: ours(arguments.worlds),
    }
    for name, way in ways.items():
        with way() as (begin, step):
            measure(name, begin, step, arguments.steps)


if __name__ == "__main__":
    main()
