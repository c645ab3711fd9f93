"""Sweeps whose runs are played by a function: the machinery without the training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import configured

from sg_pipeline.config.tree import Parameters
from sg_pipeline.sweep.claims import Claims
from sg_pipeline.sweep.runs import SweepRun
from sg_pipeline.sweep.storage import open_study
from sg_pipeline.sweep.worker import Worker

Success = Callable[[dict[str, Any], int], float]


def load(**sweep: Any) -> Parameters:
    """Return the parameters of conf/base with other values in the section `sweep`."""
    return configured.load(sweep={"n_trials": 8, "startup": 5, **sweep})


def steady(parameters: dict[str, Any], after: int) -> float:
    """Return a success that grows with training, and is best with late trust."""
    begin = parameters.get("aggregate.schedule.activation", 0.5)
    return round(0.4 + 0.1 * after / 40 - 0.2 * abs(begin - 0.7), 6)


class PlayedRunner:
    """Stands in for `Runner`: a run's success is a function of its parameters."""

    def __init__(self, data: Path, success: Success = steady) -> None:
        self.data = data
        self.success = success
        self.played: list[tuple[str, int]] = []

    def validate(self, run: SweepRun, after: int) -> dict[str, Any]:
        self.played.append((run.name, after))
        success = self.success(dict(run.parameters), after)
        return {"after": after, "success_rate": success, "calibration": {"auc": {"turns": success + 0.1}}}


class Bench:
    """A sweep in a separate folder, worked on by workers of this process."""

    def __init__(self, folder: Path) -> None:
        self.reports = folder / "data" / "08_reporting" / "sweep"
        self.data = folder / "data"

    def worker(self, given: Parameters, runner: Any) -> Worker:
        claims = Claims(self.reports)
        study = open_study(given.sweep, given, self.reports)
        return Worker(study, given.sweep, runner, claims, given.run.seed)

    def search(self, given: Parameters, success: Success = steady) -> PlayedRunner:
        runner = PlayedRunner(self.data, success)
        self.worker(given, runner).search()
        return runner

    def trials(self, given: Parameters) -> list[Any]:
        return open_study(given.sweep, given, self.reports).get_trials(deepcopy=False)
