"""Kedro's loader of conf/, in which each layer overrides the previous ones.

    base ─► environments/NAME.yml ─► --env ─► ENV/environments/NAME.yml ─► methods/NAME.yml ─► --params
            (environment.name)                                             (run.method)

A benchmark's file adapts the default, which is for ALFWorld, to that benchmark; a Kedro environment may also have such
files, for values of one benchmark. A method's file selects a method of the study; it works on top of any Kedro
environment, which a second `--env` could not. Both contain parameters by section, like the `parameters_*.yml` files.
"""

import difflib
from collections.abc import Mapping
from contextlib import suppress
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from kedro.config import OmegaConfigLoader
from omegaconf import OmegaConf
from omegaconf.resolvers import oc
from pydantic import TypeAdapter

from sg_pipeline.config.extensions import DEFAULT, ENVIRONMENT, KNOWN, load_benchmark_class
from sg_pipeline.config.tree import tree_for, value_of
from sg_pipeline.errors import ConfigurationError

METHODS, ENVIRONMENTS = "methods", "environments"
"""Folders of conf/ with a file for each method, and for each benchmark."""

TITLE = "title"
"""Entry of a method's file that is not a parameter: its name in tables and figures."""

CONFIG_LOADER_ARGS: dict[str, Any] = {
    "base_env": "base",
    "default_run_env": "base",
    # An environment such as conf/smoke changes single values of a section and inherits the others.
    "merge_strategy": {"parameters": "soft", "globals": "soft"},
    "custom_resolvers": {"oc.env": oc.env},  # for $ALFWORLD_DATA
}
"""For the session, and for use without one."""


class MethodConfigLoader(OmegaConfigLoader):
    """Kedro's loader, with the layers of the benchmark and of the method."""

    def __init__(
        self, conf_source: str, env: str | None = None, runtime_params: dict[str, Any] | None = None, **named: Any
    ) -> None:
        """Read the layers of parameters, determine the benchmark, and name a run without a name.

        The catalog needs the name. A method's run is named after method and seed, prefixed by the benchmark if that is
        not the default.
        """
        given = runtime_params or {}
        # What benchmark a layer itself names, and of what kind its sections are, is read without those of --params.
        unnamed = _without_kinds(given)
        if isinstance(environment := given.get("environment"), Mapping):
            unnamed["environment"] = {key: value for key, value in environment.items() if key != "name"}
        reader = OmegaConfigLoader(conf_source, env, unnamed, **named)
        conf, run_env = Path(conf_source), env or reader.default_run_env
        self._layers = [(conf, _read_layer(reader, reader.base_env))]
        if run_env != reader.base_env:
            self._layers.append((conf / run_env, _read_layer(reader, run_env)))
        parameters = _merged(*(layer for _, layer in self._layers), given)
        self._environment, self._benchmark = _in_force(conf, parameters, given)
        names = {}
        if method := value_of(given, "run", "method"):
            names["run"] = f"{method}-seed{value_of(parameters, 'run', 'seed') or 0}"
        if self._benchmark != DEFAULT:
            shared = {key.removesuffix("_name"): str(name) for key, name in reader["globals"].items()}
            default = run_env == reader.base_env and not names
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
        if key != "parameters" or key in self:
            return super().__getitem__(key)
        layers: list[Mapping[str, Any]] = []
        for (folder, layer), unnamed in zip(self._layers, (DEFAULT, self._environment), strict=False):
            layers += self._with_benchmark(layer, folder, unnamed)
        content = _merged(*layers, self.runtime_params or {})
        self._add_titles(content.get("study"))
        name = value_of(content, "run", "method")
        self["parameters"] = content if name is None else self.with_method(content, str(name))
        return super().__getitem__(key)

    def _with_benchmark(self, layer: dict[str, Any], folder: Path, unnamed: str) -> list[dict[str, Any]]:
        """Return a layer and the benchmark's file in `folder`, which overrides it.

        Values of the layer for another benchmark are removed.

        Args:
            layer: its parameters.
            folder: of the benchmarks' files of this layer.
            unnamed: the benchmark of a layer that does not name one.
        """
        if self._environment and self._environment != (value_of(layer, "environment", "name") or unnamed):
            layer = deepcopy(layer)
            layer.pop("tasks", None)
            for section, key in (("environment", "arguments"), ("evaluate", "splits")):
                if isinstance(layer.get(section), dict):
                    layer[section].pop(key, None)
        path = folder / ENVIRONMENTS / f"{self._benchmark}.yml"
        if not path.is_file():
            return [layer]
        content = _read(path, "sections of parameters such as `tasks: {panel: default}`")
        if "name" in content.get("environment", {}):
            raise ConfigurationError(
                f"{path} sets environment.name, but is selected by it: set it in conf/base, or by --params "
                f"environment.name={path.stem}"
            )
        own: Any = OmegaConf.to_container(OmegaConf.create(content), resolve=True)
        return [layer, own]

    def _add_titles(self, study: Any) -> None:
        """Add the titles of its methods to the study; an unreadable file is reported where it is needed."""
        if isinstance(study, dict):
            names = [name for part in ("methods", "offline") for name in study.get(part) or ()]
            study["titles"] = {name: name for name in map(str, names)}
            for name in study["titles"]:
                with suppress(ConfigurationError):
                    study["titles"][name] = method_title(Path(self.conf_source), name)

    def with_method(self, parameters: dict[str, Any], name: str) -> dict[str, Any]:
        """Override `parameters` by the method `name`, and both by `--params`."""
        return _merged(parameters, method_parameters(Path(self.conf_source), name), self.runtime_params or {})


@cache
def embedded_loader() -> MethodConfigLoader:
    """Return the loader of the checkout's conf/base, for use without a session of Kedro."""
    conf = Path(__file__).resolve().parents[3] / "conf"
    return MethodConfigLoader(str(conf), **CONFIG_LOADER_ARGS)


def section(name: str, /, **changes: Any) -> Any:
    """Return a section of conf/base with some values changed: `section("train", minibatch=8)`.

    Raises:
        pydantic.ValidationError: a value is unknown or impossible.
    """
    content = _merged(embedded_loader()["parameters"], {name: changes})
    model: Any = next(
        info.annotation for key, info in tree_for(content).model_fields.items() if name in (key, info.alias)
    )
    return TypeAdapter(model).validate_python(content[name])


def _read_layer(reader: OmegaConfigLoader, env: str) -> dict[str, Any]:
    """Return the parameters in a folder of conf/, resolved."""
    reader["registered"] = {}
    reader["registered"]  # any access registers `runtime_params:`, which Kedro takes away while it reads globals
    folder, patterns = str(Path(reader.conf_source) / env), reader.config_patterns["parameters"]
    content: dict[str, Any] = reader.load_and_merge_dir_config(folder, patterns, "parameters", set())
    return content


def _merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the layers merged section by section, later ones on top; lists are replaced, sections of another kind too.

    So `aggregate.schedule.kind=off` is enough over a trapezoid.
    """
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below = result.get(key)
            if isinstance(value, Mapping) and isinstance(below, Mapping) and not _another_kind(below, value):
                result[key] = _merged(below, value)
            else:
                result[key] = deepcopy(value)
    return result


def _another_kind(below: Mapping[str, Any], above: Mapping[str, Any]) -> bool:
    return "kind" in above and above["kind"] != below.get("kind")


def _without_kinds(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters without sections that name a kind."""
    nested = {key: value for key, value in given.items() if not (isinstance(value, Mapping) and "kind" in value)}
    return {key: _without_kinds(value) if isinstance(value, Mapping) else value for key, value in nested.items()}


def _in_force(conf: Path, parameters: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[str, str]:
    """Return the `environment.name` that counts, and what the benchmark calls itself.

    One that does not exist is passed over here: that is reported when the parameters are checked.
    """
    layers = [given, parameters]
    method = value_of(parameters, "run", "method")
    if method is not None:
        with suppress(ConfigurationError):
            layers.insert(1, method_parameters(conf, str(method)))
    name = next((name for layer in layers if (name := value_of(layer, "environment", "name"))), DEFAULT)
    if name in KNOWN[ENVIRONMENT]:
        return name, name
    with suppress(ConfigurationError):
        return name, str(load_benchmark_class(str(name))().name)
    return "", DEFAULT


def method_parameters(conf: Path, name: str) -> dict[str, Any]:
    """Return the parameters of the method `name`.

    Raises:
        ConfigurationError: the method does not exist, or its file does not contain parameters by section.
    """
    return {section: values for section, values in _read_method(conf, name).items() if section != TITLE}


def method_title(conf: Path, name: str) -> str:
    """Return the title of the method `name`. Errors as `method_parameters`."""
    return str(_read_method(conf, name).get(TITLE) or name)


def _read_method(conf: Path, name: str) -> dict[str, Any]:
    path = conf / METHODS / f"{name}.yml"
    known = sorted(file.stem for file in path.parent.glob("*.yml"))
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
        hint = f"did you mean {nearest[0]}? There are {', '.join(known)}" if nearest else f"{path.parent} holds none"
        raise ConfigurationError(f"parameter run.method: there is no method {name!r}; {hint}")
    return _read(path, "a title and sections of parameters such as `rollout: {guidance: false}`")


def _read(path: Path, expected: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} must hold {expected}, found {type(content).__name__}")
    for key, value in content.items():
        if key != TITLE and not isinstance(value, dict):
            raise ConfigurationError(f"{path} must hold {expected}, found no values under {key!r}")
    return content
