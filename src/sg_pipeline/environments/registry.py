"""Which benchmark a name stands for. Adding one: a room with a class that keeps to `benchmark.Benchmark`, a line here.

Its class is imported where it is needed, and what plays it only in a worker: naming a benchmark costs nothing. One that
lives outside this package is named "package.module:Class".
"""

import difflib
import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from sg_pipeline.environments.base import Environment
from sg_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from sg_pipeline.environments.benchmark import Benchmark

DEFAULT = "alfworld"
"""The benchmark of conf/base."""

BENCHMARKS: dict[str, str] = {
    DEFAULT: "sg_pipeline.environments.alfworld.benchmark:AlfworldBenchmark",
    "scienceworld": "sg_pipeline.environments.scienceworld.benchmark:ScienceWorldBenchmark",
    "webshop": "sg_pipeline.environments.webshop.benchmark:WebshopBenchmark",
}
"""Name -> "module:Class"."""

_MEMBERS = ("name", "environment", "tasks_config", "prepare", "inputs", "demonstrator", "vocabulary")
"""What makes a class a benchmark."""


@dataclass(frozen=True, slots=True)
class EnvironmentSpec:
    """A recipe for an environment: small, picklable, built wherever it is needed.

    Attributes:
        name: a name of `BENCHMARKS`, or "module:Class" of a benchmark or of an environment itself.
        arguments: keyword arguments of the environment's class; plain values that can be pickled.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


def locate(name: str) -> tuple[str, str]:
    """Return the (module, class) that `name` stands for, importing nothing.

    Raises:
        ConfigurationError: for a name that is neither known nor of the form "module:Class".
    """
    target = BENCHMARKS.get(name, name)
    module, colon, attribute = target.partition(":")
    if not (colon and module and attribute):
        nearest = difflib.get_close_matches(name, BENCHMARKS, n=1, cutoff=0.0)[0]
        raise ConfigurationError(
            f"unknown environment {name!r}: did you mean {nearest!r}? Known are {', '.join(sorted(BENCHMARKS))},"
            " and 'module:Class' names one of your own"
        )
    return module, attribute


@cache
def load_benchmark(name: str) -> "Benchmark":
    """Import the benchmark that `name` stands for.

    Raises:
        ConfigurationError: it cannot be imported, or is no benchmark; says what to write.
    """
    found = _import(name)
    if not hasattr(found, "prepare") and hasattr(found, "reset"):
        raise ConfigurationError(
            f"environment {name!r} is a class that plays episodes, but a run also needs its tasks: name a benchmark, a "
            f"class as in environments/benchmark.py whose `environment` is {name!r}; where it plays ALFWorld's games, "
            f"a subclass of AlfworldBenchmark with that one line"
        )
    missing = [member for member in _MEMBERS if not hasattr(found, member)]
    if missing:
        raise ConfigurationError(
            f"environment {name!r} is no benchmark: it has no {missing[0]!r}; environments/benchmark.py says what one "
            f"has, which is {', '.join(_MEMBERS)}"
        )
    made: Benchmark = found()
    return made


def build(spec: EnvironmentSpec) -> Environment:
    """Import the class that plays what `spec` names and make one environment.

    Raises:
        ConfigurationError: where the class cannot be imported or does not take these arguments.
    """
    environment = _import(spec.name)
    if hasattr(environment, "prepare"):
        environment = _import(load_benchmark(spec.name).environment)
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


def _import(name: str) -> Any:
    module, attribute = locate(name)
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"environment {name!r} cannot be imported from {module}:{attribute} ({error}); "
            "install what it needs or correct the name"
        ) from error
