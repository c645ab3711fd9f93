"""The search for a trust schedule: trials, the best of them run again, and a report.

Each node may be run by several processes at once.
"""

import logging
from pathlib import Path
from typing import Any

from kedro.pipeline import Node, Pipeline

from sg_pipeline.config.sweep import SweepConfig
from sg_pipeline.config.tree import check_parameters
from sg_pipeline.runs.command_line import CommandLine
from sg_pipeline.runs.stale import OF_RUNS

logger = logging.getLogger(__name__)


def create_pipeline() -> Pipeline:
    """Return the sweep."""
    started = ["parameters", "params:sweep", "command_line", "project_folder"]
    return Pipeline(
        [
            Node(search, started, "sweep_trials", name="search"),
            Node(run_again, [*started, "sweep_trials"], "sweep_results", name="run_again"),
            Node(draw, ["sweep_results", "params:sweep", "project_folder"], "sweep_figures", name="draw"),
            Node(write_report, ["sweep_results", "sweep_figures"], "sweep_report", name="write_report"),
            Node(write_best, "sweep_results", "sweep_best", name="write_best"),
        ],
        tags=OF_RUNS,
    )


def search(parameters: dict[str, Any], sweep: SweepConfig, command_line: CommandLine, project: Path) -> dict[str, Any]:
    """Work on the search until it is over; return all trials, of every worker and every start.

    Trials use `parameters` for everything that they do not set themselves; `--env` and `--params` are passed on.
    """
    from sg_pipeline.sweep.claims import Claims
    from sg_pipeline.sweep.results import read_trials
    from sg_pipeline.sweep.runs import Runner
    from sg_pipeline.sweep.space import check_sweep
    from sg_pipeline.sweep.storage import explained, open_study, where
    from sg_pipeline.sweep.worker import Worker

    given = check_parameters(parameters)
    check_sweep(sweep, given)
    runner = Runner(command_line, project, given)
    reports = runner.data / "08_reporting" / sweep.name
    claims = Claims(reports)
    with claims.alone():
        study = open_study(sweep, given, reports)
    logger.info("sweep '%s': its study is in %s", sweep.name, where(sweep, reports))
    with explained(sweep, reports):
        Worker(study, sweep, runner, claims, given.run.seed).search()
        return read_trials(study, sweep, runner.data)


def run_again(
    parameters: dict[str, Any],
    sweep: SweepConfig,
    command_line: CommandLine,
    project: Path,
    trials: dict[str, Any],
) -> dict[str, Any]:
    """Run the best of the `trials` and the presets with other seeds; return everything that is shown of the sweep."""
    from sg_pipeline.sweep.claims import Claims
    from sg_pipeline.sweep.results import confirm, contenders, sweep_results
    from sg_pipeline.sweep.runs import Runner

    given = check_parameters(parameters)
    runner = Runner(command_line, project, given)
    chosen = contenders(sweep, trials)
    confirm(sweep, chosen, runner, Claims(runner.data / "08_reporting" / sweep.name))
    found = sweep_results(sweep, trials, chosen, runner.data, given.run.seed)
    logger.info("%s", found["verdict"])
    return found


def draw(found: dict[str, Any], sweep: SweepConfig, project: Path) -> dict[str, bytes]:
    """Draw the sweep's figures: name -> PNG."""
    from sg_pipeline.sweep.report import draw_figures
    from sg_pipeline.sweep.storage import load_study

    return draw_figures(found, load_study(sweep, project / "data" / "08_reporting" / sweep.name))


def write_report(found: dict[str, Any], figures: dict[str, bytes]) -> str:
    """Write the sweep in Markdown; figures are in the folder `figures` next to it."""
    from sg_pipeline.sweep.report import sweep_markdown

    return sweep_markdown(found, {name: f"figures/{name}.png" for name in figures})


def write_best(found: dict[str, Any]) -> str:
    """Write the winner as a method."""
    from sg_pipeline.sweep.report import method_file

    return method_file(found)
