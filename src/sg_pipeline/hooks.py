"""Kedro hooks: parameters are checked first, runs keep their identity, and each step says how it went."""

import logging
import os
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl

from sg_pipeline import clock, pipeline_registry

logger = logging.getLogger(__name__)


class ParametersHook:
    """Checks every parameter before anything runs, and tells the registry which graph they ask for."""

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: Any) -> None:
        """Read the parameters (runtime ones included) through the context that Kedro creates first."""
        from kedro.framework.project import LOGGING, pipelines

        from sg_pipeline.parameters import check_parameters

        clock.restart()
        _use_project_logging(Path(context.project_path), LOGGING)
        pipeline_registry.use(check_parameters(context.config_loader["parameters"]))
        # An earlier session of the same process may have asked for another graph.
        requested = pipelines._requested_pipelines
        pipelines.configure(pipelines._pipelines_module)
        pipelines.set_requested(requested)


class RunIdentityHook:
    """A run's name belongs to one fingerprint, and a process to one run's settings."""

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        """Compare this run's fingerprint with the one under its name, then fix what is else left to the machine."""
        from sg_pipeline.identity import claim_run

        parameters = pipeline_registry.parameters()
        claim_run(Path(catalog.get("run_identity").path), parameters)
        _settle_libraries(parameters.run.threads)


class ProgressHook:
    """Says in one line how each co-evolution step went."""

    @hook_impl
    def after_node_run(self, node: Any, outputs: dict[str, Any]) -> None:
        """Print the line when a step's `train` node has run."""
        from sg_pipeline.reporting.progress import progress_line

        if node.name.rpartition(".")[2] == "train":
            metrics = next(value for name, value in outputs.items() if name.endswith("metrics"))
            logger.info("%s", progress_line(metrics, pipeline_registry.parameters().coevolve.steps))


def _settle_libraries(threads: int) -> None:
    """Thread count (results depend on it in their last bits), and libraries that neither phone home nor chatter."""
    for name, value in {
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRL_EXPERIMENTAL_SILENCE": "1",
    }.items():
        os.environ.setdefault(name, value)
    import torch
    import transformers

    torch.set_num_threads(threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def _use_project_logging(project: Path, current: Any) -> None:
    """Use the project's logging configuration also when Kedro was started in another folder of it."""
    path = project / "conf" / "logging.yml"
    if path.is_file() and "KEDRO_LOGGING_CONFIG" not in os.environ:
        import yaml

        current.configure(yaml.safe_load(path.read_text(encoding="utf-8")))
