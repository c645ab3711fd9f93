"""Where a run's metrics are sent besides its own files."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from sg_pipeline.config.section import DISTINCT, FolderName, Section

TrackerName = Literal["tensorboard", "wandb", "mlflow", "trackio"]


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class TrackingConfig(Section):
    """Experiment trackers.

    Attributes:
        to: their names; one name may stand alone, as in `--params tracking.to=tensorboard`.
        project: what they file the run under.
    """

    to: Annotated[tuple[TrackerName, ...], BeforeValidator(_several), DISTINCT]
    project: FolderName
