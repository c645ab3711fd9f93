"""Deletes checkpoints that need not be kept as soon as a later one is on disk; `policies.retention` decides which."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from sg_pipeline.config import session
from sg_pipeline.config.run import written_steps
from sg_pipeline.distributed.world import world
from sg_pipeline.runs.outputs import data_folder
from sg_pipeline.runs.steps import FINAL_POLICY, validation_output

CROSS_CHECKPOINT = "cross_checkpoint.table"
"""Dataset of the pipeline that compares the guidance of checkpoints."""


class Checkpoints:
    """The policies of the run in force."""

    def __init__(self) -> None:
        self._catalog: Any = None
        self._validations: dict[str, int] = {}

    def begin(self, only_missing: bool, makes: Collection[str], catalog: Any) -> None:
        """Refuse to run if a checkpoint that is needed was deleted; finish deletions of a killed process.

        Args:
            only_missing: the run continues; otherwise it makes what it needs.
            makes: outputs of the pipeline.
            catalog: their datasets.
        """
        self._catalog = catalog if any(map(_is_written_policy, makes)) or CROSS_CHECKPOINT in makes else None
        if self._catalog is None:
            return
        from sg_pipeline.policies import retention

        given = session.parameters()
        models, steps = self._folder("06_models"), given.coevolve.steps
        named = {validation_output(after, steps): after for after in written_steps(given.coevolve)[1:]}
        self._validations = {name: after for name, after in named.items() if name in makes}
        if CROSS_CHECKPOINT in makes:
            if not catalog.get(CROSS_CHECKPOINT).exists():
                _, guides = given.cross_checkpoint.steps(given.coevolve)
                retention.check_there(models, given.coevolve, guides, "the pipeline cross_checkpoint")
        elif only_missing:
            retention.check_there(models, given.coevolve, self._to_validate(), "the pipeline validation")
            self._tidy()

    def saved(self, dataset_name: str) -> None:
        """Check again when a policy was written or validated."""
        if self._catalog is not None and (_is_written_policy(dataset_name) or dataset_name in self._validations):
            self._tidy()

    def _tidy(self) -> None:
        from sg_pipeline.policies import retention

        if not world().first:
            return
        given = session.parameters()
        needed = self._to_validate()
        if given.checkpoints.keep_cross_checkpoint:
            needed |= set(given.cross_checkpoint.steps(given.coevolve)[1])
        models, reports = self._folder("06_models"), self._folder("08_reporting")
        retention.tidy(models, reports, given.checkpoints, given.coevolve, needed)

    def _to_validate(self) -> set[int]:
        """Checkpoints that this process is still going to validate, by the steps before them."""
        return {after for name, after in self._validations.items() if not self._catalog.get(name).exists()}

    def _folder(self, layer: str) -> Path:
        name = session.parameters().run.name
        return data_folder(Path(self._catalog.get("run_identity").path), name) / layer / name


def _is_written_policy(name: str) -> bool:
    return name == FINAL_POLICY or name.endswith(".checkpoint")
