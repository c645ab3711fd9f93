"""The project's context: checks the parameters, from which the graph follows."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from kedro.framework.context import KedroContext

from sg_pipeline.config import session
from sg_pipeline.config.kedro_internals import requested_pipelines
from sg_pipeline.distributed.world import world
from sg_pipeline.runs import clock, command_line

if TYPE_CHECKING:
    from sg_pipeline.config.loader import MethodConfigLoader


class ProjectContext(KedroContext):
    """Checks every parameter before anything runs, and passes them to the registry.

    Not a hook: `kedro viz` switches hooks off, and must show the graph of its `--env` and `--params` nevertheless.
    """

    def __init__(self, **arguments: Any) -> None:
        """Read the parameters, runtime ones included."""
        from kedro.framework.project import LOGGING, pipelines

        from sg_pipeline.config.tree import check_parameters, flat

        super().__init__(**arguments)
        clock.restart()
        _use_project_logging(self.project_path, LOGGING)
        if not world().first:  # rank 0 logs for all
            logging.getLogger("sg_pipeline").setLevel(logging.WARNING)
        loader = cast("MethodConfigLoader", self.config_loader)
        raw, given = loader["parameters"], dict(loader.runtime_params or {})
        command_line.note(command_line.CommandLine(self.env, str(loader.conf_source), flat(given) if given else {}))
        parameters = check_parameters(raw)
        session.use(parameters, lambda name: check_parameters(loader.with_method(raw, name)))
        # Nodes get these very objects: Kedro does not parse what is an instance of the wanted type already.
        fields = type(parameters).model_fields.items()
        loader["parameters"] = {info.alias or name: getattr(parameters, name) for name, info in fields}
        # An earlier session of the same process may have used another graph.
        requested = requested_pipelines()
        pipelines.configure("sg_pipeline.pipeline_registry")
        pipelines.set_requested(requested)


def _use_project_logging(project: Path, current: Any) -> None:
    """Use the project's logging configuration also when Kedro was started in another folder of it."""
    path = project / "conf" / "logging.yml"
    if path.is_file() and "KEDRO_LOGGING_CONFIG" not in os.environ:
        import yaml

        current.configure(yaml.safe_load(path.read_text(encoding="utf-8")))
