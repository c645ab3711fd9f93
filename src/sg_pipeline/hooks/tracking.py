"""Sends what a run writes to experiment trackers as well; nodes know nothing of them."""

from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl

from sg_pipeline.config import session
from sg_pipeline.config.tree import flat
from sg_pipeline.distributed.world import world
from sg_pipeline.runs.outputs import data_folder
from sg_pipeline.runs.stale import OF_RUNS
from sg_pipeline.runs.steps import BASE_POLICY, VALIDATION


class TrackingHook:
    """The trackers of the current run, started with the first values that are sent."""

    def __init__(self) -> None:
        self._identity: Path | None = None
        self._resumes = False
        self._trackers: Any = None

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        """Note where the files of the run are (None: nothing is sent), and whether it is resumed or made again."""
        wanted = session.parameters().tracking.to and world().first
        starts_runs = any(OF_RUNS in node.tags for node in pipeline.nodes)  # each run sends its own values
        self._identity = Path(catalog.get("run_identity").path) if wanted and not starts_runs else None
        self._resumes = run_params["only_missing_outputs"] or BASE_POLICY not in pipeline.all_outputs()

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Send the metrics of a step, an evaluation, a validation, the learning curve."""
        if self._identity is None:
            return
        from sg_pipeline.reporting.tracking import evaluation_values, step_values

        steps = session.parameters().coevolve.steps
        namespace, _, name = dataset_name.rpartition(".")
        if name == "metrics" and namespace.startswith("phase_"):
            self._of_the_run().log(step_values(data), data["step"])
        elif name == "evaluation" and namespace.startswith("evaluate."):
            self._of_the_run().log(evaluation_values(data), 0 if namespace.endswith(".base") else steps)
        elif namespace == VALIDATION:
            scores = {"validation": {data["mode"]: data}}
            self._of_the_run().log(evaluation_values(scores), data["after"])
        elif dataset_name == "learning_curve":
            self._of_the_run().picture(dataset_name, data, steps)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Let the trackers write what is buffered."""
        self._finish()

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Do the same after an error."""
        self._finish()

    def _of_the_run(self) -> Any:
        if self._trackers is None:
            from sg_pipeline.reporting.tracking import Trackers

            given, identity = session.parameters(), self._identity
            assert identity is not None
            read = flat(given.model_dump(mode="json", by_alias=True))
            data = data_folder(identity, given.run.name)
            self._trackers = Trackers(given.tracking, given.run.name, data, read, resumes=self._resumes)
        return self._trackers

    def _finish(self) -> None:
        if self._trackers is not None:
            self._trackers.finish()
        self._trackers = self._identity = None
