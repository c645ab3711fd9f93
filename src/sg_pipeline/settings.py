"""Kedro's project settings. https://docs.kedro.org/en/stable/configure/configuration_basics/ ."""

from typing import Any

from omegaconf.resolvers import oc

from sg_pipeline.hooks import ClockHook, FileHook, ParametersHook, ProgressHook, RunIdentityHook

HOOKS = (ParametersHook(), RunIdentityHook(), ClockHook(), FileHook(), ProgressHook())

CONFIG_LOADER_ARGS: dict[str, Any] = {
    "base_env": "base",
    "default_run_env": "base",
    # An environment such as conf/smoke changes single values of a section and inherits the others.
    "merge_strategy": {"parameters": "soft", "globals": "soft"},
    "custom_resolvers": {"oc.env": oc.env},  # for $ALFWORLD_DATA
}

# A plugin that somebody has installed for other projects must not change what a run of this one does.
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-telemetry", "kedro-mlflow")
