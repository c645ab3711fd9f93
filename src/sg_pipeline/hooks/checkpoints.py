"""A Kedro hook: deletes checkpoints that need not be kept as soon as a later one is on disk."""

from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl

from sg_pipeline.config import session
from sg_pipeline.config.run import written_steps
from sg_pipeline.distributed.world import world
from sg_pipeline.hooks.run import CROSS_CHECKPOINT
from sg_pipeline.policies import retention
from sg_pipeline.runs.outputs import data_folder
from sg_pipeline.runs.steps import FINAL_POLICY, validation_output


class CheckpointHook:
    """Deletes policies of the run; `policies.retention` decides which."""

    def __init__(self) -> None:
        self._catalog: Any = None
        self._validations: dict[str, int] = {}

    @hook_impl(trylast=True)  # the run is ours when `RunIdentityHook` has locked it, and has what it shares
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        """Refuse to run if a checkpoint that is needed was deleted; finish deletions of a killed process."""
        self._catalog, outputs = None, pipeline.all_outputs()
        writes = any(_is_written_policy(name) for name in outputs)
        compares = CROSS_CHECKPOINT in outputs
        if not (writes or compares):
            return
        self._catalog = catalog
        given = session.parameters()
        if compares:
            if not catalog.get(CROSS_CHECKPOINT).exists():
                _, guides = given.cross_checkpoint.steps(given.coevolve)
                retention.check_there(self._models(), given.coevolve, guides, "the pipeline cross_checkpoint")
            return
        named = {validation_output(after, given.coevolve.steps): after for after in written_steps(given.coevolve)[1:]}
        self._validations = {name: after for name, after in named.items() if name in outputs}
        if run_params["only_missing_outputs"]:  # otherwise it makes what it needs
            retention.check_there(self._models(), given.coevolve, self._to_validate(), "the pipeline validation")
            self._tidy()

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        """Check again when a policy was written or validated."""
        if self._catalog is not None and (_is_written_policy(dataset_name) or dataset_name in self._validations):
            self._tidy()

    def _tidy(self) -> None:
        if not world().first:
            return
        given = session.parameters()
        needed = self._to_validate()
        if given.checkpoints.keep_cross_checkpoint:
            needed |= set(given.cross_checkpoint.steps(given.coevolve)[1])
        retention.tidy(self._models(), self._reports(), given.checkpoints, given.coevolve, needed)

    def _to_validate(self) -> set[int]:
        """Checkpoints that this process is still going to validate, by the steps before them."""
        return {after for name, after in self._validations.items() if not self._catalog.get(name).exists()}

    def _reports(self) -> Path:
        return Path(self._catalog.get("run_identity").path).parent

    def _models(self) -> Path:
        name = session.parameters().run.name
        return data_folder(Path(self._catalog.get("run_identity").path), name) / "06_models" / name


def _is_written_policy(name: str) -> bool:
    return name == FINAL_POLICY or name.endswith(".checkpoint")
