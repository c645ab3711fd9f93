"""From a point of the search space to the parameters of a trial.

A point is a mapping dimension -> value. The borders of the phases are ordered by construction, since each dimension
is a share of what the ones before it have left of the training:

    0 ── activation ── full ───────── annealing ── 1
                      = activation + ramp (1 - activation)
                                      = 1 - annealing' (1 - full)      annealing': the dimension, the border beside it
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sg_pipeline.config.rewards import TrustSchedule
from sg_pipeline.config.sweep import Range, SpaceConfig, SweepConfig
from sg_pipeline.config.tree import Parameters, flat
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.rewards.trust import Constant, Earned, Off, Trapezoid
from sg_pipeline.runs.shared_steps import SCHEDULE

if TYPE_CHECKING:
    import optuna

Point = Mapping[str, Any]

DIGITS = 4
"""Decimals of a trial's fractions: finer than a step, and a schedule is still readable."""

PRESETS: dict[str, TrustSchedule] = {"paper": Trapezoid(), "constant": Constant(value=1.0), "off": Off()}
"""What every sweep is compared with."""

_PAPER = {"activation": 0.5, "ramp": 0.25, "annealing": 1 / 3, "peak": 1.0, "shape": "linear"}
_PRESET_POINTS: dict[str, Point] = {
    "paper": _PAPER,
    "constant": {**_PAPER, "activation": 0.0, "ramp": 0.0, "annealing": 0.0},
    "off": {**_PAPER, "peak": 0.0},
}
# Dimensions that are not of the schedule.
_PARAMETERS = {
    "positive": "aggregate.polarity.positive",
    "negative": "aggregate.polarity.negative",
    "learning_rate": "train.learning_rate",
    "group_size": "rollout.group_size",
}


def schedule_at(point: Point) -> TrustSchedule:
    """Return the schedule of a point."""
    if "earned" in point:
        full_at, annealing = round(point["earned"], DIGITS), round(1 - point["annealing"], DIGITS)
        return Earned(peak=round(point["peak"], DIGITS), full_at=full_at, annealing=annealing)
    activation = round(point["activation"], DIGITS)
    full = round(activation + point["ramp"] * (1 - activation), DIGITS)
    annealing = round(1 - point["annealing"] * (1 - full), DIGITS)
    return Trapezoid(
        activation=activation,
        # Rounding keeps the order except where two borders are closer than its last digit.
        full=min(1.0, max(activation, full)),
        annealing=min(1.0, max(activation, full, annealing)),
        peak=round(point["peak"], DIGITS),
        shape=point["shape"],
    )


def preset_point(space: SpaceConfig, preset: str, given: Parameters) -> Point | None:
    """Return a preset's point in the space, other values as in `given`; None where the preset is outside of it."""
    if space.earned is not None:  # presets follow a plan
        return None
    values = flat(given.model_dump(by_alias=True))
    everything = {**_PRESET_POINTS[preset], **{name: values[parameter] for name, parameter in _PARAMETERS.items()}}
    point = {name: everything[name] for name in dimensions(space)}
    for name, value in point.items():
        searched = getattr(space, name)
        if not (searched.low <= value <= searched.high if isinstance(searched, Range) else value in searched):
            return None
    return point


def dimensions(space: SpaceConfig) -> list[str]:
    """Return the names of a point's values: those that are searched or fixed."""
    return [name for name in SpaceConfig.model_fields if getattr(space, name) is not None]


def distributions(space: SpaceConfig) -> "dict[str, optuna.distributions.BaseDistribution]":
    """Return the distributions of the searched dimensions, sorted by name."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    values = {name: getattr(space, name) for name in sorted(space.searched)}
    return {
        name: FloatDistribution(value.low, value.high, log=value.log)
        if isinstance(value, Range)
        else CategoricalDistribution(value)
        for name, value in values.items()
    }


def draw(trial: "optuna.Trial", space: SpaceConfig) -> Point:
    """Let a trial draw its point; what it has drawn before stays."""
    point: dict[str, Any] = {}
    for name in dimensions(space):
        value = getattr(space, name)
        if name not in space.searched:
            point[name] = value.low if isinstance(value, Range) else value[0]
        elif isinstance(value, Range):
            point[name] = trial.suggest_float(name, value.low, value.high, log=value.log)
        else:
            point[name] = trial.suggest_categorical(name, value)
    return point


def point_parameters(point: Point) -> dict[str, Any]:
    """Convert a point to run parameters, by dotted name."""
    found = schedule_parameters(schedule_at(point))
    for name, parameter in ((name, parameter) for name, parameter in _PARAMETERS.items() if name in point):
        value = point[name]
        found[parameter] = float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
    return found


def schedule_parameters(schedule: TrustSchedule) -> dict[str, Any]:
    """Return a schedule as parameters, by dotted name."""
    return flat(schedule.model_dump(), SCHEDULE)


def check_sweep(sweep: SweepConfig, given: Parameters) -> None:
    """Check that the trials of a sweep can run.

    Raises:
        ConfigurationError: they cannot; says why.
    """
    if not given.rollout.guidance:
        raise ConfigurationError(
            "rollout.guidance is false, but a sweep searches how much guidance is trusted: turn it on, or choose a "
            "method that has it (run.method)"
        )
    if given.run.seed in sweep.confirm_seeds:
        raise ConfigurationError(
            f"sweep.confirm_seeds has {given.run.seed}, which is the seed of the search (run.seed): the best of many "
            f"trials owes something to its seed, so it is run again with others"
        )
    for size in sweep.space.group_size or ():
        episodes = size * given.rollout.tasks_per_step
        if given.train.minibatch > episodes:
            raise ConfigurationError(
                f"sweep.space.group_size has {size}, which makes {episodes} trajectories a step "
                f"(rollout.tasks_per_step {given.rollout.tasks_per_step}), fewer than train.minibatch "
                f"{given.train.minibatch}: leave it out or lower the latter"
            )
