"""Kedro's project settings. https://docs.kedro.org/en/stable/configure/configuration_basics/ ."""

from sg_pipeline.config.loader import CONFIG_LOADER_ARGS, MethodConfigLoader
from sg_pipeline.datasets.ranks import RankCatalog
from sg_pipeline.hooks.context import ProjectContext
from sg_pipeline.hooks.run import RunHook
from sg_pipeline.hooks.tracking import TrackingHook

__all__ = [
    "CONFIG_LOADER_ARGS",
    "CONFIG_LOADER_CLASS",
    "CONTEXT_CLASS",
    "DATA_CATALOG_CLASS",
    "DISABLE_HOOKS_FOR_PLUGINS",
    "HOOKS",
]

CONFIG_LOADER_CLASS = MethodConfigLoader
CONTEXT_CLASS = ProjectContext
DATA_CATALOG_CLASS = RankCatalog
HOOKS = (RunHook(), TrackingHook())

# A plugin installed for other projects must not change what a run does.
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-telemetry", "kedro-mlflow")
