"""Benchmarks and environments by name; `config/extensions.py` lists the names."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sg_pipeline.config.extensions import ENVIRONMENT, load, load_benchmark_class
from sg_pipeline.environments.base import Benchmark, Environment
from sg_pipeline.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class EnvironmentSpec:
    """A recipe for an environment: small, picklable, built wherever it is needed.

    Attributes:
        name: a known environment, or "module:Class" of a benchmark or of an environment itself.
        arguments: keyword arguments of the environment's class; plain values that can be pickled.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@cache
def load_benchmark(name: str) -> Benchmark:
    """Return the benchmark of that name. Raises `ConfigurationError` if it cannot be imported, or is none."""
    made: Benchmark = load_benchmark_class(name)()
    return made


def build(spec: EnvironmentSpec) -> Environment:
    """Build the environment of `spec`. Raises `ConfigurationError` if its class cannot be imported or built so."""
    environment = load(ENVIRONMENT, spec.name)
    if hasattr(environment, "prepare"):
        environment = load(ENVIRONMENT, load_benchmark(spec.name).environment)
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
