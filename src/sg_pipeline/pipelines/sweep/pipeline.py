"""The search for a trust schedule: trials, the best of them run again, and a report."""

from kedro.pipeline import Node, Pipeline

from sg_pipeline.config.tree import Parameters
from sg_pipeline.pipelines.sweep.nodes import draw, make_confirm, make_search, write_best, write_report
from sg_pipeline.runs.stale import OF_RUNS


def create_pipeline(given: Parameters) -> Pipeline:
    """Return the sweep.

    Args:
        given: the parameters in force, which trials use for everything that they do not set themselves.
    """
    started = ["params:sweep", "command_line", "project_folder"]
    return Pipeline(
        [
            Node(make_search(given), started, "sweep_trials", name="search"),
            Node(make_confirm(given), [*started, "sweep_trials"], "sweep_results", name="run_again"),
            Node(draw, ["sweep_results", "params:sweep", "project_folder"], "sweep_figures", name="draw"),
            Node(write_report, ["sweep_results", "sweep_figures"], "sweep_report", name="write_report"),
            Node(write_best, "sweep_results", "sweep_best", name="write_best"),
        ],
        tags=OF_RUNS,
    )
