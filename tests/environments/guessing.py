"""A whole benchmark in twenty lines, as in docs/ARCHITECTURE.md: guess a number."""

from sg_pipeline.environments.base import Benchmark, StepResult
from sg_pipeline.environments.panels import prepared
from sg_pipeline.trajectories.types import Task


class Guessing(Benchmark):
    name, environment = "guessing", "guessing:Game"

    def prepare(self, config, games, compiled, root):
        splits = {"train": range(1, 16), "test": range(16, 21)}
        tasks = {name: [Task(f"{n}", self.name, name, "number", f"{n}", "") for n in splits[name]] for name in splits}
        return prepared(tasks, config.limit, sha256="1", source="numbers to 20", data_root=self.name)


class Game:
    def __init__(self, data_root, cache_dir): ...

    def reset(self, task, seed):
        self._number = task.path
        return StepResult("Guess a number from 1 to 20.", forms=("(number)",))

    def step(self, action):
        won = action.strip() == self._number
        return StepResult("Right!" if won else "Wrong.", float(won), done=won, won=won, score=float(won))

    def close(self): ...
