"""Nodes that start the study's runs."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sg_pipeline.config.tree import Parameters
from sg_pipeline.runs.child import run_child
from sg_pipeline.runs.command_line import CommandLine
from sg_pipeline.runs.identity import is_same_run
from sg_pipeline.runs.outputs import LOG, RUN_JSON
from sg_pipeline.study.plan import PlannedRun

logger = logging.getLogger(__name__)

# The study decides these for each run; its own section is none of theirs.
_DECIDED = ("run.name", "run.seed", "run.method", "run.share", "study.")


def coevolve_run(run: PlannedRun, parameters: Parameters) -> Callable[..., dict[str, Any]]:
    """Return the node function that makes one run of the study; `parameters` are the method's."""
    own = parameters.run.model_copy(update={"name": run.name, "seed": run.seed})
    planned = parameters.model_copy(update={"run": own})

    def train_and_evaluate(command_line: CommandLine, project: Path, *before: Any) -> dict[str, Any]:
        """Co-evolve, evaluate and report in a process of its own.

        Args:
            command_line: of the study; its `--env` and `--params` are handed on.
            project: the project's folder.
            before: what must be there first: a run whose steps are shared, the guide.

        Returns:
            The run's summary.
        """
        reports = _reports(project, run.name)
        summary = reports / "summary.json"
        # To start a process only to see that it has nothing to do takes seconds, times all runs.
        if (
            summary.exists()
            and (reports / "report.html").exists()
            and is_same_run(reports / RUN_JSON, planned, project)
        ):
            return dict(_read(summary))
        _start("coevolve", {"run.method": run.method, **_run(run.name, run.seed)}, command_line, project)
        return dict(_read(summary))

    return train_and_evaluate


def guide_run(source: str, name: str, seed: int) -> Callable[..., dict[str, Any]]:
    """Return the node function that distils the guide of the offline methods from the run `source`."""

    def distil_guide(command_line: CommandLine, project: Path, teacher: Any) -> dict[str, Any]:
        """Distil the guide in a process of its own, from the trajectories of a run that is finished.

        Returns:
            The figures of the distillation.
        """
        reports = _start("distill", {"distill.source": source, **_run(name, seed)}, command_line, project)
        return _read(reports / "distillation.json")

    return distil_guide


def cross_checkpoint_run(run: PlannedRun) -> Callable[..., Any]:
    """Return the node function that lets other checkpoints of a run write its guidance."""

    def cross_checkpoints(command_line: CommandLine, project: Path, summary: Any) -> Any:
        """Evaluate in a process of its own.

        Returns:
            The table: one entry for each checkpoint that wrote guidance, and split.
        """
        given = {"run.method": run.method, **_run(run.name, run.seed)}
        return _read(_start("cross_checkpoint", given, command_line, project) / "cross_checkpoint.json")

    return cross_checkpoints


def _run(name: str, seed: int) -> dict[str, Any]:
    return {"run.name": name, "run.seed": seed, "run.share": True}


def _start(pipeline: str, given: dict[str, Any], command_line: CommandLine, project: Path) -> Path:
    """Run a pipeline; return the folder of the run's reports."""
    handed_on = {name: value for name, value in command_line.parameters.items() if not name.startswith(_DECIDED)}
    reports = _reports(project, given["run.name"])
    logger.info("run '%s': %s begins; its log is %s", given["run.name"], pipeline, reports / LOG)
    run_child(pipeline, {**handed_on, **given}, command_line=command_line, project=project, log=reports / LOG)
    logger.info("run '%s': %s is done", given["run.name"], pipeline)
    return reports


def _reports(project: Path, name: str) -> Path:
    return project / "data" / "08_reporting" / name


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
