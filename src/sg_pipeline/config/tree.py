"""Every parameter of the project in one typed tree, checked before anything runs.

One section per file `conf/<env>/parameters_<section>.yml`. An unknown key is an error that names the nearest known one.
"""

import difflib
import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from sg_pipeline.config.base_model import BaseModelConfig
from sg_pipeline.config.checkpoints import CheckpointsConfig
from sg_pipeline.config.distill import DistillConfig
from sg_pipeline.config.environment import EnvironmentConfig
from sg_pipeline.config.evaluation import CrossCheckpointConfig, EvaluationConfig, PromptingConfig, ValidationConfig
from sg_pipeline.config.extensions import DEFAULT, KNOWN, load, load_benchmark_class
from sg_pipeline.config.rewards import OF_A_KIND, RewardConfig, kind_of
from sg_pipeline.config.rollout import GateConfig, RolloutConfig
from sg_pipeline.config.run import CoevolveConfig, DistributedConfig, PlanConfig, PublishConfig, RunConfig
from sg_pipeline.config.sampling import SamplingConfig
from sg_pipeline.config.section import Section
from sg_pipeline.config.study import StudyConfig
from sg_pipeline.config.sweep import SweepConfig
from sg_pipeline.config.tracking import TrackingConfig
from sg_pipeline.config.train import TrainConfig
from sg_pipeline.errors import ConfigurationError


class Parameters(Section):
    """The whole tree; each attribute is a section. The benchmark defines the section `tasks`: see `tree_of`."""

    model_config = ConfigDict(populate_by_name=True)

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
    tracking: TrackingConfig


@cache
def tree_of(environment: str, *kinds: str) -> type[Parameters]:
    """Return the tree with the sections that depend on a name: `tasks`, and those of `aggregate` that have a kind.

    Args:
        environment: name of the benchmark.
        kinds: of the sections in `rewards.OF_A_KIND`, in its order.

    Raises:
        ConfigurationError: one is unknown or cannot be imported.
    """
    classes = {name: load(point, kind) for (name, point), kind in zip(OF_A_KIND.items(), kinds, strict=True)}
    fields: dict[str, Any] = {name: (found, ...) for name, found in classes.items()}
    aggregate = create_model("RewardConfig", __base__=RewardConfig, **fields)
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
        raise ConfigurationError("; ".join(_sentence(detail, tree) for detail in error.errors())) from None
    for name, value in flat(parameters.model_dump(by_alias=True)).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigurationError(f"parameter {name}: must be a finite number (found {value})")
    for contradiction in _contradictions(parameters):
        raise ConfigurationError(contradiction)
    return parameters


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}."""
    if isinstance(value, dict) and value:
        return {name: leaf for key, part in value.items() for name, leaf in flat(part, f"{prefix}{key}.").items()}
    return {prefix.removesuffix("."): value}


def value_of(raw: Mapping[str, Any], section: str, key: str) -> Any:
    """Return a parameter of a section, as Kedro read it or as a checked one; None where it has none."""
    values = raw.get(section)
    return values.get(key) if isinstance(values, Mapping) else getattr(values, key, None)


def tree_for(raw: Mapping[str, Any]) -> type[Parameters]:
    """Return the tree of the environment and the kinds that `raw` names."""
    environment = str(value_of(raw, "environment", "name") or DEFAULT)
    sections = {name: value_of(raw, "aggregate", name) for name in OF_A_KIND}
    kinds = {
        name: kind_of(found) if isinstance(found, Mapping | Section) else next(reversed(KNOWN[OF_A_KIND[name]]))
        for name, found in sections.items()
    }
    named: list[tuple[str, str, Callable[[str], Any]]] = [("environment.name", environment, load_benchmark_class)]
    named += [(f"aggregate.{name}.kind", kind, partial(load, OF_A_KIND[name])) for name, kind in kinds.items()]
    for parameter, name, load_class in named:
        try:
            load_class(name)
        except ConfigurationError as error:
            raise ConfigurationError(f"parameter {parameter}: {error}") from error
    return tree_of(environment, *kinds.values())


def _contradictions(parameters: Parameters) -> Iterator[str]:
    """Yield what is wrong with combinations of values that are each valid."""
    rollout, train, engine = parameters.rollout, parameters.train, parameters.sampling.engine
    if rollout.temperature == 0:
        yield (
            "rollout.temperature is 0, but a group without chance plays the same episode every time: it must be "
            "above 0 (1.0 trains the policy that was sampled)"
        )
    limit = getattr(parameters.tasks, "limit", None)  # as every shipped benchmark calls it
    if limit is not None and rollout.tasks_per_step > limit:
        yield (
            f"rollout.tasks_per_step is {rollout.tasks_per_step}, but tasks.limit leaves only {limit} games to "
            f"choose from: lower the one or raise the other"
        )
    if rollout.group_size < 2:
        yield (
            f"rollout.group_size is {rollout.group_size}, but advantages compare the trajectories of a group: "
            f"it must be 2 or more"
        )
    if rollout.guide is not None and not rollout.guidance:
        yield (
            f"rollout.guide is {rollout.guide!r}, but rollout.guidance is false, so there is nothing for a guide to "
            f"write: leave out the one or turn on the other"
        )
    if engine != "transformers" and train.sampler_correction == "none":
        yield (
            f"sampling.engine is '{engine}', whose log-probabilities differ a little from the trainer's, but "
            f"train.sampler_correction is 'none': set it to token_truncate, which weighs that difference"
        )
    benchmark = parameters.environment.name
    if parameters.aggregate.credit.reads_oracle and not getattr(load_benchmark_class(benchmark), "judges", False):
        yield f"aggregate.credit.verdicts is 'oracle', but {benchmark} has no judge of progress: set it to own"
    if not rollout.guidance:
        yield from _needs_guidance(parameters.aggregate)
    own, how = ("guided", "with") if rollout.guidance else ("plain", "without")
    if not getattr(parameters.evaluate, own):
        yield (
            f"evaluate.{own} is false, but rollout.guidance={str(rollout.guidance).lower()} trains a policy {how} "
            f"guidance: it would not be evaluated as it was trained; set evaluate.{own} to true"
        )
    size = rollout.group_size * rollout.tasks_per_step
    if train.minibatch > size:
        yield (
            f"train.minibatch is {train.minibatch}, but a step has only {size} trajectories "
            f"(rollout.tasks_per_step {rollout.tasks_per_step} x rollout.group_size {rollout.group_size}): set it to "
            f"{size} or less"
        )


def _needs_guidance(rewards: RewardConfig) -> Iterator[str]:
    """Yield what reads verdicts in a run that has none."""
    for name, section, without in (
        ("schedule", rewards.schedule, "off"),
        ("credit", rewards.credit, "trajectory"),
        ("truth", rewards.truth, "off"),
    ):
        if section.kind in ("earned", "turn", "outcome", "brier"):
            yield (
                f"aggregate.{name}.kind is '{section.kind}', which reads verdicts, but rollout.guidance is false, so "
                f"there are none: set it to {without} or turn guidance on"
            )


def _sentence(detail: Any, tree: type[Parameters]) -> str:
    """Return an error of pydantic in the terms of the configuration files."""
    path = [str(part) for part in detail["loc"]]
    name = ".".join(path)
    if detail["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(path[-1], _known_keys(path[:-1], tree), n=1, cutoff=0.0)
        hint = f"did you mean {'.'.join([*path[:-1], nearest[0]])}?" if nearest else "remove it"
        return f"unknown parameter {name} (found {detail['input']!r}): {hint}"
    if detail["type"] == "missing":
        return f"parameter {name} is missing: conf/base/parameters_{path[0]}.yml must set it"
    message = str(detail["msg"]).removeprefix("Value error, ")
    if isinstance(detail["input"], Mapping):
        return f"parameter {name}: {message}"
    return f"parameter {name}: {message[0].lower()}{message[1:]} (found {detail['input']!r})"


def _known_keys(path: list[str], tree: type[BaseModel]) -> list[str]:
    """Return the keys of the section at `path`; a number in it is a place in a list."""
    models = [tree]
    for key in path:
        if not key.isdecimal():
            fields = [field for model in models for name, field in model.model_fields.items()
                      if key in (name, field.alias)]  # fmt: skip
            models = [model for field in fields for model in _models_in(field.annotation)]
    return sorted({field.alias or name for model in models for name, field in model.model_fields.items()})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]
