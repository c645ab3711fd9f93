"""Which environment a name stands for. Adding one: a file with a class that keeps to `base.Environment`, a line here.

The class is imported where it is built, that is in a worker: naming an environment costs nothing. One that lives
outside this package is named "package.module:Class".
"""

import difflib
import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sg_pipeline.environments.base import Environment
from sg_pipeline.errors import ConfigurationError

ENVIRONMENTS: dict[str, str] = {
    "alfworld": "sg_pipeline.environments.alfworld.adapter:AlfworldEnvironment",
}
"""Name -> "module:Class"."""


@dataclass(frozen=True, slots=True)
class EnvironmentSpec:
    """A recipe for an environment: small, picklable, built wherever it is needed.

    Attributes:
        name: a name of `ENVIRONMENTS`, or "module:Class".
        arguments: keyword arguments of the class; plain values that can be pickled.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


def locate(name: str) -> tuple[str, str]:
    """Return the (module, class) that `name` stands for, importing nothing.

    Raises:
        ConfigurationError: for a name that is neither known nor of the form "module:Class".
    """
    target = ENVIRONMENTS.get(name, name)
    module, colon, attribute = target.partition(":")
    if not (colon and module and attribute):
        nearest = difflib.get_close_matches(name, ENVIRONMENTS, n=1, cutoff=0.0)[0]
        raise ConfigurationError(
            f"unknown environment {name!r}: did you mean {nearest!r}? Known are {', '.join(sorted(ENVIRONMENTS))},"
            " and 'module:Class' names one of your own"
        )
    return module, attribute


def build(spec: EnvironmentSpec) -> Environment:
    """Import the class that `spec` names and make one environment.

    Raises:
        ConfigurationError: where the class cannot be imported or does not take these arguments.
    """
    module, attribute = locate(spec.name)
    try:
        environment = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"environment {spec.name!r} cannot be imported from {module}:{attribute} ({error}); "
            "install what it needs or correct the name"
        ) from error
    try:
        inspect.signature(environment).bind(**spec.arguments)
    except TypeError as error:
        known = ", ".join(inspect.signature(environment).parameters)
        raise ConfigurationError(
            f"environment {spec.name!r} does not take the arguments {', '.join(sorted(spec.arguments)) or 'none'} "
            f"({error}); it takes {known or 'none'}"
        ) from error
    made: Environment = environment(**spec.arguments)
    return made
