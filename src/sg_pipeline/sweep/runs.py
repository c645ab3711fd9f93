"""Runs of a sweep, as separate processes: trials in segments, and the runs that confirm the best of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sg_pipeline.config.run import step_number
from sg_pipeline.config.tree import Parameters
from sg_pipeline.runs.child import run_child
from sg_pipeline.runs.command_line import CommandLine
from sg_pipeline.runs.identity import differences, fingerprint, read_identity
from sg_pipeline.runs.outputs import RUN_JSON
from sg_pipeline.runs.shared_steps import SCHEDULE, read_shared, validation_file
from sg_pipeline.runs.steps import validation_output

# A sweep decides these for each run; its own section does not concern them.
_DECIDED = ("run.name", "run.seed", "run.share", "sweep.", "coevolve.", SCHEDULE)


@dataclass(frozen=True)
class SweepRun:
    """A run of a sweep: its `run.name`, and the parameters (schedule, seed, length) that only this run has."""

    name: str
    parameters: Mapping[str, Any]
    steps: int


def make_run(name: str, own: Mapping[str, Any], *, seed: int, steps: int, validate_every: int) -> SweepRun:
    """Return the run `name` with the parameters of a trial."""
    length = {"coevolve.steps": steps, "coevolve.checkpoint_every": validate_every}
    return SweepRun(name, {**own, **length, "run.seed": seed}, steps)


class Runner:
    """Starts the runs of a sweep."""

    def __init__(self, command_line: CommandLine, project: Path, given: Parameters) -> None:
        """Take what the sweep was started with: its `--env` and `--params` are passed on."""
        self._command_line, self._project, self._given = command_line, project, given
        self.data = project / "data"

    def validate(self, run: SweepRun, after: int) -> dict[str, Any]:
        """Train a run for so many steps, unless it has been, and return the validation of its policy."""
        path = validation_file(self.data, run.name, after, run.steps)
        if not (path.exists() and self._is_own(run)):
            self._start("validation", run, f"--to-outputs={validation_output(after, run.steps)}")
        return dict(json.loads(path.read_text(encoding="utf-8")))

    def finish(self, run: SweepRun) -> None:
        """Train a run to its end, evaluate it on the evaluation panels, and validate its final policy."""
        self._start("coevolve", run)
        self.validate(run, run.steps)

    def is_finished(self, run: SweepRun) -> bool:
        """Return whether `finish` has nothing to do."""
        files = (self._reports(run) / "summary.json", validation_file(self.data, run.name, run.steps, run.steps))
        return all(path.exists() for path in files) and self._is_own(run)

    def _is_own(self, run: SweepRun) -> bool:
        """Return whether the outputs under the run's name were made with its parameters, and not by another sweep."""
        recorded = read_identity(self._reports(run) / RUN_JSON)
        if recorded is None:
            return False
        own = fingerprint(self._given)["parameters"]
        own = {name: value for name, value in own.items() if not name.startswith(_DECIDED)} | dict(run.parameters)
        return not differences(recorded, {"parameters": own, "inputs": {}})

    def _reports(self, run: SweepRun) -> Path:
        return self.data / "08_reporting" / run.name

    def _start(self, pipeline: str, run: SweepRun, *options: str) -> None:
        run_child(
            pipeline,
            # One core for each worker: the number of workers is not known here.
            {
                **run.parameters,
                "run.name": run.name,
                "run.share": True,
                "run.processes": self._given.run.processes or 1,
            },
            decided=_DECIDED,
            command_line=self._command_line,
            project=self._project,
            options=options,
        )


def work_of(data: Path, run: str, steps: int) -> dict[str, Any]:
    """Count the `steps` made so far of a run of that many, those `shared`: taken over from a run that begins alike.

    What was taken over up to its last checkpoint was neither rolled out nor trained again; behind it, it was
    `retrained` on the recorded trajectories. `seconds` are spent by this run, `seconds_saved` by taking over; those of
    a step are what it took where it was made.
    """
    found = {"steps": 0, "shared": 0, "retrained": 0, "seconds": 0.0, "seconds_saved": 0.0}
    parts = read_shared(data, run)
    for step in range(steps):
        path = data / "08_reporting" / run / "steps" / f"step_{step_number(step, steps)}.json"
        if not path.exists():
            break
        seconds = json.loads(path.read_text(encoding="utf-8"))["seconds"]
        found["steps"] += 1
        end = next((part["last"] for part in parts if part["first"] <= step < part["last"]), None)
        if end is None:
            found["seconds"] += seconds["total"]
            continue
        # The last step's policy is no checkpoint: it is trained again.
        later = (f"step_{step_number(number, steps)}" for number in range(step, min(end, steps - 1)))
        retrained = not any((data / "06_models" / run / "checkpoints" / name).is_dir() for name in later)
        again = seconds.get("training", 0.0) * retrained
        found["shared"] += 1
        found["retrained"] += retrained
        found["seconds"] += again
        found["seconds_saved"] += seconds["total"] - again
    return found
