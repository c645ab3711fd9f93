"""Runs of a sweep, as processes of their own: trials in segments, and the runs that confirm them."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sg_pipeline.config.tree import Parameters
from sg_pipeline.evaluation.validation import validation_output
from sg_pipeline.runs.child import run_child
from sg_pipeline.runs.command_line import CommandLine
from sg_pipeline.runs.identity import differences, fingerprint, read_identity
from sg_pipeline.runs.outputs import LOG, RUN_JSON
from sg_pipeline.runs.shared_steps import validation_file

logger = logging.getLogger(__name__)

# A sweep decides these for each run; its own section is none of theirs.
_DECIDED = ("run.name", "run.seed", "run.share", "sweep.", "coevolve.", "aggregate.schedule.")


@dataclass(frozen=True)
class SweepRun:
    """A run that belongs to a sweep.

    Attributes:
        name: its `run.name`.
        parameters: what makes it this run, by dotted name: schedule, seed, length.
    """

    name: str
    parameters: Mapping[str, Any]

    @property
    def steps(self) -> int:
        """Its length."""
        return int(self.parameters["coevolve.steps"])


def make_run(name: str, own: Mapping[str, Any], *, seed: int, steps: int, validate_every: int) -> SweepRun:
    """Return the run `name` with the parameters of a trial."""
    length = {"coevolve.steps": steps, "coevolve.checkpoint_every": validate_every}
    return SweepRun(name, {**own, **length, "run.seed": seed})


class Runner:
    """Starts the runs of a sweep."""

    def __init__(self, command_line: CommandLine, project: Path, given: Parameters) -> None:
        """Take what the sweep was started with: its `--env` and `--params` are handed on."""
        self._command_line = command_line
        self._project = project
        self._given = given
        self.data = project / "data"

    def validate(self, run: SweepRun, after: int) -> dict[str, Any]:
        """Train a run for so many steps, unless it has been, and return the validation of its policy.

        Raises:
            RunFailedError: in the run's own words.
        """
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
        """Return whether what lies under the run's name was made with its parameters, and not by another sweep."""
        there = read_identity(self._reports(run) / RUN_JSON)
        if there is None:
            return False
        own = fingerprint(self._given)["parameters"]
        own = {name: value for name, value in own.items() if not name.startswith(_DECIDED)} | dict(run.parameters)
        return not differences(there, {"parameters": own, "inputs": {}})

    def _reports(self, run: SweepRun) -> Path:
        return self.data / "08_reporting" / run.name

    def _start(self, pipeline: str, run: SweepRun, *options: str) -> None:
        handed_on = {n: v for n, v in self._command_line.parameters.items() if not n.startswith(_DECIDED)}
        own = {**handed_on, **run.parameters, "run.name": run.name, "run.share": True}
        log = self._reports(run) / LOG
        run_child(pipeline, own, command_line=self._command_line, project=self._project, log=log, options=options)
