"""The parameters of conf/, as a run gets them."""

from pathlib import Path
from typing import Any

from sg_pipeline.config.loader import CONFIG_LOADER_ARGS, MethodConfigLoader
from sg_pipeline.config.tree import Parameters, check_parameters

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"


def load_raw(env: str = "base", conf: Path = CONF, **given: Any) -> dict[str, Any]:
    """Return the parameters of an environment; `given` are sections with the values behind `--params`."""
    return MethodConfigLoader(str(conf), **{**CONFIG_LOADER_ARGS, "env": env, "runtime_params": given})["parameters"]


def load(env: str = "base", conf: Path = CONF, **given: Any) -> Parameters:
    return check_parameters(load_raw(env, conf, **given))


def load_method(method: str, env: str = "base", conf: Path = CONF, **given: Any) -> Parameters:
    return load(env, conf, **{**given, "run": {**given.get("run", {}), "method": method}})
