"""How Kedro reads conf/: each layer lies over those before it.

    base ─► environments/NAME.yml ─► --env ─► ENV/environments/NAME.yml ─► methods/NAME.yml ─► --params
            (environment.name)                                             (run.method)

A benchmark's file makes of the default, which is for ALFWorld, one for that benchmark; an environment of Kedro's may
have such files too, for what it says for one benchmark alone. A method's makes a run one of those which the study
compares; it works on top of any environment of Kedro's, which a second `--env` could not.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader
from omegaconf import DictConfig, OmegaConf
from omegaconf.resolvers import oc

from sg_pipeline.config.extensions import DEFAULT, ENVIRONMENT, KNOWN, load_benchmark_class
from sg_pipeline.config.layers import METHODS, environment_file, environment_parameters, method_parameters, method_title
from sg_pipeline.errors import ConfigurationError

__all__ = ["CONFIG_LOADER_ARGS", "MethodConfigLoader", "method_parameters", "method_title"]

CONFIG_LOADER_ARGS: dict[str, Any] = {
    "base_env": "base",
    "default_run_env": "base",
    # An environment such as conf/smoke changes single values of a section and inherits the others.
    "merge_strategy": {"parameters": "soft", "globals": "soft"},
    "custom_resolvers": {"oc.env": oc.env},  # for $ALFWORLD_DATA
}
"""For the session, and for whoever needs none."""


class MethodConfigLoader(OmegaConfigLoader):
    """Kedro's loader, with the layers of the benchmark and of the method."""

    def __init__(
        self, conf_source: str, env: str | None = None, runtime_params: dict[str, Any] | None = None, **named: Any
    ) -> None:
        """Find out which benchmark is in force, and name the run after it where it has no name: the catalog needs one.

        A method's run is named after method and seed. A benchmark's name goes before, but for the default one.
        """
        # Read by a loader of its own: this one keeps what it has once resolved.
        plain = OmegaConfigLoader(conf_source, env, runtime_params, **named)
        parameters, given = plain["parameters"], runtime_params or {}
        self._environment, self._benchmark = _in_force(Path(conf_source), parameters, given)
        names = {}
        if method := _value(given, "run", "method"):
            names["run"] = f"{method}-seed{_value(parameters, 'run', 'seed') or 0}"
        if self._benchmark != DEFAULT:
            shared = {key.removesuffix("_name"): str(name) for key, name in plain["globals"].items()}
            default = (env or plain.default_run_env) == plain.base_env and not names
            names = {section: f"{self._benchmark}-{name}" for section, name in {**shared, **names}.items()}
            if default:
                names["run"] = self._benchmark
        for section, name in names.items():
            values = given.get(section, {})
            if isinstance(values, dict) and not values.get("name"):
                runtime_params = {**(runtime_params or {}), section: {**values, "name": name}}
        super().__init__(conf_source, env, runtime_params, **named)

    def __getitem__(self, key: str) -> dict[str, Any]:
        """Return the configuration of a kind; see `OmegaConfigLoader`."""
        content = super().__getitem__(key)
        if key != "parameters" or key in self:
            return content
        self._add_titles(content.get("study"))
        name = _value(content, "run", "method")
        return content if name is None else self.with_method(content, str(name))

    def _read_raw_config(self, key: str) -> Any:
        """Read the files of a kind; those of parameters with the benchmark's, before anything is resolved."""
        base, env, *others = super()._read_raw_config(key)
        if key == "parameters":
            conf, name = Path(self.conf_source), self.env or self.default_run_env
            self._add_benchmark(base, conf, DEFAULT)
            if name != self.base_env:
                self._add_benchmark(env, conf / name, self._environment)
        return base, env, *others

    def _add_benchmark(self, layer: dict[Path, Any], folder: Path, unnamed: str) -> None:
        """Lay the benchmark's file in `folder` over a layer, whose own values for another benchmark do not count.

        Args:
            layer: file -> its content.
            folder: where the benchmarks' files of this layer are.
            unnamed: the benchmark that the layer speaks of where it names none.
        """
        named = [name for content in layer.values() if (name := _value(content, "environment", "name"))]
        if self._environment and self._environment not in (named or [unnamed]):
            for content in layer.values():
                _clear(content)
        path = environment_file(folder, self._benchmark)
        if path.is_file():
            layer[path] = OmegaConf.create(environment_parameters(path))

    def _add_titles(self, study: Any) -> None:
        """Tell the study what its methods are called; a file that cannot be read is told where it is needed."""
        if isinstance(study, dict):
            known = {path.stem for path in (Path(self.conf_source) / METHODS).glob("*.yml")}
            names = [name for part in ("methods", "offline") for name in study.get(part) or ()]
            titles = {}
            for name in names:
                with suppress(ConfigurationError):
                    titles[name] = method_title(Path(self.conf_source), name) if name in known else str(name)
            study["titles"] = titles

    def with_method(self, parameters: dict[str, Any], name: str) -> dict[str, Any]:
        """Lay the method `name` over `parameters`; what stood after `--params` stays on top."""
        overlay = method_parameters(Path(self.conf_source), name)
        merged = OmegaConf.unsafe_merge(parameters, overlay, self.runtime_params or {})
        return OmegaConf.to_container(merged, resolve=True)  # type: ignore[return-value]


def _in_force(conf: Path, parameters: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[str, str]:
    """Return the `environment.name` that counts, and what the benchmark calls itself.

    One that does not exist is passed over here: it is told when the parameters are checked.
    """
    layers = [given, parameters]
    method = _value(parameters, "run", "method")
    if method is not None:
        with suppress(ConfigurationError):
            layers.insert(1, method_parameters(conf, str(method)))
    name = next((name for layer in layers if (name := _value(layer, "environment", "name"))), DEFAULT)
    if name in KNOWN[ENVIRONMENT]:
        return name, name
    with suppress(ConfigurationError):
        return name, str(load_benchmark_class(str(name))().name)
    return "", DEFAULT


def _value(layer: Mapping[str, Any], section: str, key: str) -> Any:
    """The value of `section.key`, None where there is none, or something else in its place."""
    values = layer.get(section)
    return values.get(key) if isinstance(values, Mapping | DictConfig) else None


def _clear(content: DictConfig) -> None:
    """Take out of a layer's file what it says for the benchmark that the layer names: another does not inherit it."""
    if "tasks" in content:
        content["tasks"] = {}
    for section, key in (("environment", "arguments"), ("evaluate", "splits")):
        if isinstance(values := content.get(section), DictConfig):
            values.pop(key, None)
