"""What WebShop costs: `python benchmarks/webshop.py [--products N] [--data FOLDER]`.

Writes a generated catalogue of N products (or takes the official files in FOLDER), prepares it, and plays it: searches,
steps of one worker, steps of the pool, memory of one more environment. Times are of this machine as busy as it is; the
sizes on the disk and in memory hold anywhere.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sg_pipeline.config.environment import PoolConfig
from sg_pipeline.environments.pool import EnvironmentPool
from sg_pipeline.environments.registry import EnvironmentSpec
from sg_pipeline.environments.webshop.catalogue import Catalogue, open_catalogue
from sg_pipeline.environments.webshop.environment import WebShopEnvironment
from sg_pipeline.environments.webshop.generation.catalogue import CatalogueRecipe, write_catalogue
from sg_pipeline.environments.webshop.goals import Goal
from sg_pipeline.randomness import stream
from sg_pipeline.trajectories.types import Task

CLASS = "sg_pipeline.environments.webshop.environment:WebShopEnvironment"
MEGABYTE = 1 << 20


def resident() -> tuple[float, float]:
    """Return the megabytes of this process in memory: its own, and of mapped files (shared between processes)."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    own, mapped = (int(fields[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile"))
    return own, mapped


def timed(what: str, function: Callable[[], object]) -> None:
    """Run `function` and print what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{what}: {time.perf_counter() - wall:.1f} s, {time.process_time() - cpu:.1f} CPU s; "
        f"peak of the process so far {peak:.0f} MB"
    )


def tasks_of(catalogue: Catalogue, number: int, kind: str) -> list[Task]:
    """Return tasks spread over the goals."""
    count = catalogue.goal_count(kind)  # type: ignore[arg-type]
    positions = range(0, count, max(1, count // number))
    return [Task(f"{position}", "webshop", "train", "", f"{kind}/{position}", "") for position in positions][:number]


def visit(goal: Goal, step: Callable[[str], tuple[bool, list[str]]], rng: np.random.Generator, limit: int = 15) -> int:
    """Search, then click at random; return how many steps were played."""
    done, clickables = step(f"search[{goal.instruction}]")
    steps = 1
    while steps < limit and not done:
        possible = [name for name in clickables if name != "search"]
        action = f"click[{possible[int(rng.integers(len(possible)))]}]" if possible else f"search[{goal.query}]"
        done, clickables = step(action)
        steps += 1
    return steps


def play_alone(folder: Path, cache: Path, catalogue: Catalogue, tasks: list[Task]) -> None:
    """Time one environment in this process."""
    environment = WebShopEnvironment(folder, cache)

    def step(action: str) -> tuple[bool, list[str]]:
        result = environment.step(action)
        assert environment.session is not None
        return result.done, environment.session.page.clickables

    steps, cpu = 0, time.process_time()
    for number, task in enumerate(tasks):
        environment.reset(task, 0)
        kind, _, position = task.path.partition("/")
        steps += visit(catalogue.goal(kind, int(position)), step, stream(0, number))  # type: ignore[arg-type]
    cpu = time.process_time() - cpu
    print(f"one environment: {steps} steps, {1000 * cpu / steps:.2f} CPU ms each, {steps / cpu:.0f} a CPU second")


def play_in_pool(folder: Path, cache: Path, tasks: list[Task], workers: int) -> None:
    """Time the pool: every row searches and opens pages at random, all rows in step."""
    spec = EnvironmentSpec(CLASS, {"data_root": folder, "cache_dir": cache, "admissible": True})
    with EnvironmentPool(spec, PoolConfig(workers=workers)) as pool:
        results = pool.reset(tasks, [0] * len(tasks))
        rng, rows, steps, wall = stream(0, "pool"), list(range(len(tasks))), 0, time.perf_counter()
        for turn in range(15):
            actions = []
            for row in rows:
                commands = [name for name in results[row].admissible or () if name != "search[...]"]
                fallback = f"search[{results[row].observation[-60:]}]"
                chosen = commands[int(rng.integers(len(commands)))] if commands and turn else fallback
                actions.append(chosen)
            for row, result in zip(rows, pool.step(rows, actions), strict=True):
                results[row] = result
            steps += len(rows)
            rows = [row for row in rows if not results[row].done]
        wall = time.perf_counter() - wall
        own = [_own(pid) for pid in pool.pids()]
    print(f"pool of {workers} workers, {len(tasks)} rows: {steps / wall:.0f} steps a second of wall time")
    print(f"  memory of each worker, mapped files not counted: {', '.join(f'{size:.0f}' for size in own)} MB")


def _own(pid: int) -> float:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) / 1024


def memory_of_environments(folder: Path, cache: Path, task: Task, number: int = 200) -> None:
    """Print what one more environment costs a process that has one."""
    first = WebShopEnvironment(folder, cache)
    first.reset(task, 0)
    own, mapped = resident()
    more = [WebShopEnvironment(folder, cache) for _ in range(number)]
    for environment in more:
        environment.reset(task, 0)
        environment.step("search[red shirt]")
    grown = resident()[0] - own
    print(f"memory: process {own:.0f} MB of its own and {mapped:.0f} MB mapped; ", end="")
    print(f"each further environment {1024 * grown / number:.0f} KB")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, default=3000, help="generated products (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="folder of official files, in place of generated ones")
    parser.add_argument("--goals", choices=("human", "synthetic"), default="synthetic")
    parser.add_argument("--tasks", type=int, default=64, help="episodes (default: %(default)s)")
    parser.add_argument(
        "--scratch", type=Path, help="where generated and prepared files go (default: a temporary folder)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        folder, cache = options.data or Path(scratch) / "shop", Path(scratch) / "prepared"
        if options.data is None:
            recipe = CatalogueRecipe(products=options.products)
            timed(f"{options.products} products written", lambda: write_catalogue(recipe, folder))
        timed("prepared", lambda: open_catalogue(folder, cache))
        catalogue = open_catalogue(folder, cache)
        timed("goals put in order", lambda: catalogue.goal_count(options.goals))
        for name, where in (("official files", folder), ("prepared", cache)):
            files = [Path(root) / file for root, _, names in os.walk(where) for file in names]
            print(f"{name} on the disk: {sum(file.stat().st_size for file in files) / MEGABYTE:.0f} MB")
        tasks = tasks_of(catalogue, options.tasks, options.goals)
        play_alone(folder, cache, catalogue, tasks)
        queries = [catalogue.goal(options.goals, int(task.path.partition("/")[2])).instruction for task in tasks]
        cpu = time.process_time()
        for query in queries:
            catalogue.search(query)
        print(f"search for a whole instruction: {1000 * (time.process_time() - cpu) / len(queries):.2f} CPU ms")
        memory_of_environments(folder, cache, tasks[0])
        for workers in (1, 2):
            play_in_pool(folder, cache, tasks, workers)


if __name__ == "__main__":
    main()
