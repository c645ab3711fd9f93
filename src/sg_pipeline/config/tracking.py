"""Experiment trackers that get a run's metrics."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from sg_pipeline.config.section import DISTINCT, FolderName, Section

TrackerName = Literal["tensorboard", "wandb", "mlflow", "trackio"]


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class TrackingConfig(Section):
    """Experiment trackers.

    Attributes:
        to: names of the trackers; or one name, as in `--params tracking.to=tensorboard`.
        project: the project of the run in the trackers.
    """

    to: Annotated[tuple[TrackerName, ...], BeforeValidator(_several), DISTINCT]
    project: FolderName
