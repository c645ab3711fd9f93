"""How Kedro reads conf/: one set of arguments, for its session and for whoever needs none."""

from typing import Any

from omegaconf.resolvers import oc

CONFIG_LOADER_ARGS: dict[str, Any] = {
    "base_env": "base",
    "default_run_env": "base",
    # An environment such as conf/smoke changes single values of a section and inherits the others.
    "merge_strategy": {"parameters": "soft", "globals": "soft"},
    "custom_resolvers": {"oc.env": oc.env},  # for $ALFWORLD_DATA
}
