"""Kedro's project settings. https://docs.kedro.org/en/stable/configure/configuration_basics/ ."""

from sg_pipeline.configuration import CONFIG_LOADER_ARGS
from sg_pipeline.context import ProjectContext
from sg_pipeline.hooks import ClockHook, FileHook, ProgressHook, RunIdentityHook

__all__ = ["CONFIG_LOADER_ARGS", "CONTEXT_CLASS", "DISABLE_HOOKS_FOR_PLUGINS", "HOOKS"]

CONTEXT_CLASS = ProjectContext

HOOKS = (RunIdentityHook(), ClockHook(), FileHook(), ProgressHook())

# A plugin that somebody has installed for other projects must not change what a run of this one does.
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-telemetry", "kedro-mlflow")
