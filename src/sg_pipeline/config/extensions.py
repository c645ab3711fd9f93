"""Extension points: what a name among the parameters stands for. To add one: write its file, add its line to `KNOWN`.

An implementation is imported when it is used, so naming one costs nothing. One outside this package is named
"package.module:Name" and needs no line here.
"""

import difflib
import importlib
from typing import Any

from sg_pipeline.errors import ConfigurationError

ENVIRONMENT, TRUST, CREDIT, TRUTH = "environment", "trust schedule", "credit rule", "truth rule"
NORMALISATION, SAMPLER = "normalisation", "sampling engine"

DEFAULT = "alfworld"
"""The benchmark of conf/base."""

KNOWN: dict[str, dict[str, str]] = {
    ENVIRONMENT: {  # environments/base.py: Benchmark
        DEFAULT: "sg_pipeline.environments.alfworld.benchmark:AlfworldBenchmark",
        "scienceworld": "sg_pipeline.environments.scienceworld.benchmark:ScienceWorldBenchmark",
        "textarena": "sg_pipeline.environments.textarena.benchmark:TextArenaBenchmark",
        "webshop": "sg_pipeline.environments.webshop.benchmark:WebshopBenchmark",
    },
    TRUST: {  # config/rewards.py: TrustSchedule
        "trapezoid": "sg_pipeline.rewards.trust:Trapezoid",
        "constant": "sg_pipeline.rewards.trust:Constant",
        "earned": "sg_pipeline.rewards.trust:Earned",
        "off": "sg_pipeline.rewards.trust:Off",
    },
    CREDIT: {  # config/rewards.py: CreditRule
        "trajectory": "sg_pipeline.rewards.credit:TrajectoryCredit",
        "turn": "sg_pipeline.rewards.credit:TurnCredit",
        "gigpo": "sg_pipeline.rewards.credit:GigpoCredit",
    },
    TRUTH: {  # config/rewards.py: TruthRule
        "off": "sg_pipeline.rewards.truth:Off",
        "outcome": "sg_pipeline.rewards.truth:OutcomeTruth",
        "brier": "sg_pipeline.rewards.truth:BrierTruth",
    },
    NORMALISATION: {  # rewards/normalisation.py: Normalisation
        "group": "sg_pipeline.rewards.normalisation:group",
        "batch": "sg_pipeline.rewards.normalisation:batch",
        "apart": "sg_pipeline.rewards.normalisation:apart",
        "none": "sg_pipeline.rewards.normalisation:none",
        "rloo": "sg_pipeline.rewards.normalisation:rloo",
    },
    SAMPLER: {  # sampling/base.py: make_sampler
        "transformers": "sg_pipeline.sampling.transformers_sampler:make_sampler",
        "vllm": "sg_pipeline.sampling.vllm.sampler:make_sampler",
    },
}
"""Extension point -> name -> "module:Name"."""

_MEMBERS = ("name", "environment", "tasks_config", "prepare", "inputs", "demonstrator", "vocabulary")
"""Attributes that make a class a benchmark."""


def locate(point: str, name: str) -> tuple[str, str]:
    """Return the (module, attribute) that `name` stands for, without importing it.

    Args:
        point: a key of `KNOWN`.
        name: a known name, or "module:Name".

    Raises:
        ConfigurationError: the name is neither known nor of the form "module:Name".
    """
    known = KNOWN[point]
    module, colon, attribute = known.get(name, name).partition(":")
    if not (colon and module and attribute):
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise ConfigurationError(
            f"unknown {point} {name!r}: did you mean {nearest!r}? Known are {', '.join(sorted(known))},"
            " and 'module:Class' names one of your own"
        )
    return module, attribute


def load(point: str, name: str) -> Any:
    """Import what `name` stands for.

    Raises:
        ConfigurationError: it is unknown or cannot be imported.
    """
    module, attribute = locate(point, name)
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"{point} {name!r} cannot be imported from {module}:{attribute} ({error}); "
            "install what it needs or correct the name"
        ) from error


def check(point: str, name: str) -> str:
    """Return `name`, for validators of parameters; one outside this package is imported to see that it can be.

    Raises:
        ValueError: it is unknown or cannot be imported.
    """
    try:
        if name not in KNOWN[point]:
            load(point, name)
    except ConfigurationError as error:
        raise ValueError(str(error)) from error
    return name


def load_benchmark_class(name: str) -> Any:
    """Import the benchmark that `name` stands for.

    Raises:
        ConfigurationError: it cannot be imported, or is not a benchmark.
    """
    found = load(ENVIRONMENT, name)
    if not hasattr(found, "prepare") and hasattr(found, "reset"):
        raise ConfigurationError(
            f"environment {name!r} is a class that plays episodes, but a run also needs its tasks: name a benchmark, a "
            f"class as in environments/base.py whose `environment` is {name!r}; where it plays ALFWorld's games, "
            f"a subclass of AlfworldBenchmark with that one line"
        )
    missing = [member for member in _MEMBERS if not hasattr(found, member)]
    if missing:
        raise ConfigurationError(
            f"environment {name!r} is no benchmark: it has no {missing[0]!r}; environments/base.py says what one "
            f"has, which is {', '.join(_MEMBERS)}"
        )
    return found
