"""The search for a trust schedule: trials, the best of them run again, and a report."""

from kedro.pipeline import Node, Pipeline

from sg_pipeline.pipelines.sweep.nodes import draw, run_again, search, write_best, write_report
from sg_pipeline.runs.stale import OF_RUNS


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
