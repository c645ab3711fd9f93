"""Every parameter of the project in one typed tree, checked before anything runs.

One section per file `conf/<env>/parameters_<section>.yml`. An unknown key is an error that names the nearest known one.
"""

import difflib
import math
from collections.abc import Mapping
from functools import cache, partial
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from sg_pipeline.config.base_model import BaseModelConfig
from sg_pipeline.config.checkpoints import CheckpointsConfig
from sg_pipeline.config.distill import DistillConfig
from sg_pipeline.config.distributed import DistributedConfig
from sg_pipeline.config.environment import EnvironmentConfig
from sg_pipeline.config.evaluation import CrossCheckpointConfig, EvaluationConfig, PromptingConfig, ValidationConfig
from sg_pipeline.config.extensions import DEFAULT, TRUST, load, load_benchmark_class
from sg_pipeline.config.plan import PlanConfig
from sg_pipeline.config.publish import PublishConfig
from sg_pipeline.config.rewards import RewardConfig, TrustSchedule, kind_of
from sg_pipeline.config.rollout import GateConfig, RolloutConfig
from sg_pipeline.config.run import CoevolveConfig, RunConfig
from sg_pipeline.config.sampling import SamplingConfig
from sg_pipeline.config.study import StudyConfig
from sg_pipeline.config.sweep import SweepConfig
from sg_pipeline.config.train import TrainConfig
from sg_pipeline.errors import ConfigurationError


class Parameters(BaseModel):
    """The whole tree; each attribute is a section. The benchmark defines the section `tasks`: see `tree_of`."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    run: RunConfig
    environment: EnvironmentConfig
    tasks: Any
    base_model: BaseModelConfig
    coevolve: CoevolveConfig
    checkpoints: CheckpointsConfig
    rollout: RolloutConfig
    sampling: SamplingConfig
    gate: GateConfig = Field(alias="validate")
    aggregate: RewardConfig
    train: TrainConfig
    evaluate: EvaluationConfig
    cross_checkpoint: CrossCheckpointConfig
    distill: DistillConfig
    prompting: PromptingConfig
    study: StudyConfig
    validation: ValidationConfig
    sweep: SweepConfig
    plan: PlanConfig
    distributed: DistributedConfig
    publish: PublishConfig


@cache
def tree_of(environment: str, schedule: str) -> type[Parameters]:
    """Return the tree with the sections that depend on a name: `tasks` and `aggregate.schedule`.

    Args:
        environment: name of the benchmark.
        schedule: kind of the trust schedule.

    Raises:
        ConfigurationError: either is unknown or cannot be imported.
    """
    aggregate = create_model("RewardConfig", __base__=RewardConfig, schedule=(load(TRUST, schedule), ...))
    tasks = load_benchmark_class(environment)().tasks_config
    tree: type[Parameters] = create_model(
        "Parameters", __base__=Parameters, tasks=(tasks, ...), aggregate=(aggregate, ...)
    )
    return tree


def check_parameters(raw: Mapping[str, Any]) -> Parameters:
    """Return the typed parameters.

    Args:
        raw: as Kedro read and merged them, runtime parameters included.

    Raises:
        ConfigurationError: one sentence for each parameter that is unknown or impossible.
    """
    tree = tree_for(raw)
    try:
        parameters = tree.model_validate(dict(raw))
    except ValidationError as error:
        raise ConfigurationError("; ".join(_sentence(detail, raw, tree) for detail in error.errors())) from None
    for name, value in flat(parameters.model_dump(by_alias=True)).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigurationError(f"parameter {name}: must be a finite number (found {value})")
    _check_together(parameters)
    return parameters


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}."""
    if isinstance(value, dict) and value:
        return {name: leaf for key, part in value.items() for name, leaf in flat(part, f"{prefix}{key}.").items()}
    return {prefix.removesuffix("."): value}


def tree_for(raw: Mapping[str, Any]) -> type[Parameters]:
    """Return the tree of the environment and the trust schedule that `raw` names."""
    environment = str(_value(raw, "environment", "name") or DEFAULT)
    schedule = _value(raw, "aggregate", "schedule")
    kind = kind_of(schedule) if isinstance(schedule, Mapping | TrustSchedule) else "off"
    for parameter, name, load_class in (
        ("environment.name", environment, load_benchmark_class),
        ("aggregate.schedule.kind", kind, partial(load, TRUST)),
    ):
        try:
            load_class(name)
        except ConfigurationError as error:
            raise ConfigurationError(f"parameter {parameter}: {error}") from error
    return tree_of(environment, kind)


def _value(raw: Mapping[str, Any], section: str, key: str) -> Any:
    """Return a parameter of a section, as Kedro read it or as a checked one; None where it has none."""
    values = raw.get(section)
    return values.get(key) if isinstance(values, Mapping) else getattr(values, key, None)


def _check_together(parameters: Parameters) -> None:
    """Refuse combinations of valid values that are impossible together."""
    rollout, train, tasks = parameters.rollout, parameters.train, parameters.tasks
    if rollout.temperature == 0:
        raise ConfigurationError(
            "rollout.temperature is 0, but a group without chance plays the same episode every time: it must be "
            "above 0 (1.0 trains the policy that was sampled)"
        )
    limit = getattr(tasks, "limit", None)  # as every shipped benchmark calls it
    if limit is not None and rollout.tasks_per_step > limit:
        raise ConfigurationError(
            f"rollout.tasks_per_step is {rollout.tasks_per_step}, but tasks.limit leaves only {limit} games to "
            f"choose from: lower the one or raise the other"
        )
    if rollout.group_size < 2:
        raise ConfigurationError(
            f"rollout.group_size is {rollout.group_size}, but advantages compare the trajectories of a group: "
            f"it must be 2 or more"
        )
    if rollout.guide is not None and not rollout.guidance:
        raise ConfigurationError(
            f"rollout.guide is {rollout.guide!r}, but rollout.guidance is false, so there is nothing for a guide to "
            f"write: leave out the one or turn on the other"
        )
    engine = parameters.sampling.engine
    if engine != "transformers" and train.sampler_correction == "none":
        raise ConfigurationError(
            f"sampling.engine is '{engine}', whose log-probabilities differ a little from the trainer's, but "
            f"train.sampler_correction is 'none': set it to token_truncate, which weighs that difference"
        )
    size = rollout.group_size * rollout.tasks_per_step
    if train.minibatch > size:
        raise ConfigurationError(
            f"train.minibatch is {train.minibatch}, but a step has only {size} trajectories "
            f"(rollout.tasks_per_step {rollout.tasks_per_step} x rollout.group_size {rollout.group_size}): set it to "
            f"{size} or less"
        )


def _sentence(detail: Any, raw: Mapping[str, Any], tree: type[Parameters]) -> str:
    """Return an error of pydantic in the terms of the configuration files."""
    path = [str(part) for part in detail["loc"]]
    # A discriminated union names its branch in the path; the file does not.
    path = [part for index, part in enumerate(path) if not _is_branch(raw, path[:index], part)]
    name = ".".join(path)
    if detail["type"] == "extra_forbidden":
        known = _known_keys(path[:-1], tree)
        nearest = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.0)
        hint = f"did you mean {'.'.join([*path[:-1], nearest[0]])}?" if nearest else "remove it"
        return f"unknown parameter {name} (found {detail['input']!r}): {hint}"
    if detail["type"] == "missing":
        return f"parameter {name} is missing: {_home(path)} must set it"
    if detail["type"].startswith("union_tag"):
        return (
            f"parameter {name}.kind: must be one of {detail['ctx']['expected_tags']} (found {detail['ctx']['tag']!r})"
        )
    message = str(detail["msg"]).removeprefix("Value error, ")
    if isinstance(detail["input"], Mapping):
        return f"parameter {name}: {message}"
    return f"parameter {name}: {message[0].lower()}{message[1:]} (found {detail['input']!r})"


def _is_branch(raw: Mapping[str, Any], path: list[str], part: str) -> bool:
    node: Any = raw
    for key in path:
        if isinstance(node, Mapping) and key in node:
            node = node[key]
    return isinstance(node, Mapping) and part not in node and node.get("kind") == part


def _known_keys(path: list[str], tree: type[Parameters]) -> list[str]:
    """Return the keys of the section at `path`."""
    models: list[Any] = [tree]
    for key in path:
        models = [model for field in _fields(models, key) for model in _models_in(field.annotation)]
    return sorted({field.alias or name for model in models for name, field in model.model_fields.items()})


def _fields(models: list[Any], key: str) -> list[Any]:
    return [field for model in models for name, field in model.model_fields.items() if key in (name, field.alias)]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _home(path: list[str]) -> str:
    return f"conf/base/parameters_{path[0]}.yml"
