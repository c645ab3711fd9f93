"""The first steps of a run, played and trained in a process and under a name of their own, to be measured.

A trial starts with the command line of the plan, so it is the run itself but for its name and one checkpoint that it
writes at its end. Schedules keep the length of the whole run. Its outputs are in data/*/trial/NAME: a trial that failed
or was killed stays there with its log and is resumed by the next plan; after a plan it is deleted.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sg_pipeline.config.run import CoevolveConfig, step_number
from sg_pipeline.config.tree import Parameters
from sg_pipeline.errors import DataError
from sg_pipeline.files import remove
from sg_pipeline.runs.child import run_child
from sg_pipeline.runs.command_line import CommandLine
from sg_pipeline.runs.outputs import LOG
from sg_pipeline.runs.steps import unroll

logger = logging.getLogger(__name__)

# A trial decides these itself.
_DECIDED = ("run.name", "run.share", "run.when_changed", "coevolve.checkpoint_every", "plan.")


def trial_name(run: str) -> str:
    """Return the `run.name` of the trial of a run."""
    return f"trial/{run.replace('/', '-')}"


def start_trial(given: Parameters, steps: int, command_line: CommandLine, project: Path) -> None:
    """Run the first `steps` steps of the run `given`; RunFailedError with the trial's last sentence if that fails."""
    name = trial_name(given.run.name)
    own = {
        "run.name": name,
        "run.share": False,  # steps taken over from another run would not be measured
        "run.when_changed": "start_over",  # what an earlier trial with other parameters has left
        "coevolve.checkpoint_every": steps,
    }
    length = CoevolveConfig(steps=given.coevolve.steps, checkpoint_every=steps)
    last = unroll(length, given.aggregate.schedule)[steps - 1]
    logger.info("trial: the first %d steps of run '%s'; its log is data/08_reporting/%s/%s", steps, given.run.name,
                name, LOG)  # fmt: skip
    options = [f"--to-outputs={last.policy_out}"]
    run_child("coevolve", own, decided=_DECIDED, command_line=command_line, project=project, options=options)


def delete_trial(run: str, data: Path) -> None:
    """Delete what the trial of a run has left in the data folder."""
    for folder in data.glob(f"*/{trial_name(run)}"):
        remove(folder)
        with suppress(OSError):  # other trials
            folder.parent.rmdir()


def read_steps(data: Path, run: str, total: int) -> list[Mapping[str, Any]]:
    """Return the metrics of the recorded steps of a run of `total` steps, from the first on without a gap.

    Raises:
        DataError: a file does not hold the metrics of a step.
    """
    steps: list[Mapping[str, Any]] = []
    for index in range(total):
        path = data / "08_reporting" / run / "steps" / f"step_{step_number(index, total)}.json"
        if not path.exists():
            break
        step = read_json(path)
        try:
            _ = float(step["seconds"]["total"]), int(step["trajectories"]), dict(step.get("memory", {}))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} does not hold the metrics of a step ({type(error).__name__}: {error}); delete it"
            ) from error
        steps.append(step)
    return steps


def read_json(path: Path) -> Any:
    """Return what a JSON file holds; DataError where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({type(error).__name__}: {error}); delete it and plan again") from error
