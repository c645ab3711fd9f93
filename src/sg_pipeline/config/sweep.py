"""The search space of a sweep, and its budget."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from sg_pipeline.config.section import DISTINCT, FolderName, Section


class Range(Section):
    """A number searched between `low` and `high`, evenly by order of magnitude with `log`; a single value is fixed."""

    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)
    log: bool = False

    @model_validator(mode="before")
    @classmethod
    def _single_value_is_fixed(cls, value: Any) -> Any:
        return value if isinstance(value, (dict, Range)) else {"low": value, "high": value}

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if self.low > self.high:
            raise ValueError(f"low must not be above high, found low {self.low:g} and high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"a range with log: true must begin above 0, found low {self.low:g}")
        return self

    @property
    def fixed(self) -> bool:
        """Whether there is nothing to search."""
        return self.low == self.high


SHARES = ("activation", "ramp", "annealing")
_LIMITS = {
    **dict.fromkeys(SHARES, (0.0, 1.0)),
    "peak": (0.0, 100.0),
    "earned": (1e-3, 1.0),
    "positive": (0.0, 100.0),
    "negative": (-100.0, 0.0),
    "learning_rate": (1e-12, 1.0),
}


class SpaceConfig(Section):
    """The search space: each dimension a range, a choice, or fixed.

    Attributes:
        activation: fraction of the steps after which trust begins.
        ramp: share of the steps left then during which it rises.
        annealing: share of the steps left then during which it falls.
        peak: lambda in between.
        shape: of the ramps.
        earned: concordance at which trust that is earned is full (`rewards.trust.Earned.full_at`); activation, ramp and
            shape have no part in it. None: trust follows a plan.
        positive, negative: rewards of these verdicts; None: not searched.
        learning_rate, group_size: of training and rollouts; None: not searched.
    """

    activation: Range
    ramp: Range
    annealing: Range
    peak: Range
    shape: Annotated[tuple[Literal["linear", "cosine"], ...], DISTINCT] = Field(min_length=1)
    earned: Range | None = None
    positive: Range | None = None
    negative: Range | None = None
    learning_rate: Range | None = None
    group_size: Annotated[tuple[Annotated[int, Field(ge=2)], ...] | None, DISTINCT] = Field(None, min_length=1)

    @field_validator("shape", "group_size", mode="before")
    @classmethod
    def _single_choice_is_fixed(cls, value: Any) -> Any:
        return value if value is None or isinstance(value, (list, tuple)) else (value,)

    @model_validator(mode="after")
    def _possible(self) -> "SpaceConfig":
        for name, (least, most) in _LIMITS.items():
            value = getattr(self, name)
            if value is not None and not least <= value.low <= value.high <= most:
                found = f"{value.low:g}" if value.fixed else f"{value.low:g} to {value.high:g}"
                raise ValueError(f"{name} must lie between {least:g} and {most:g}, found {found}")
        if not self.searched:
            raise ValueError("nothing is searched: every dimension has a single value; give one of them a range")
        planned = {"activation", "ramp", "shape"} & set(self.searched)
        if self.earned is not None and planned:
            raise ValueError(
                f"earned is given, so that trust follows evidence and not a plan, but {', '.join(sorted(planned))} are "
                f"searched: fix them, or leave earned out"
            )
        if self.peak.high == 0 and set(self.searched) <= {*SHARES, "shape"}:
            raise ValueError(
                f"peak is 0, so that trust is 0 throughout and {', '.join(self.searched)} have no effect: search "
                f"peak, or fix it above 0"
            )
        return self

    @property
    def searched(self) -> tuple[str, ...]:
        """The dimensions that are not fixed, in order."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return tuple(
            name
            for name, value in values.items()
            if (isinstance(value, Range) and not value.fixed) or (isinstance(value, tuple) and len(value) > 1)
        )


class SweepConfig(Section):
    """A sweep.

    Attributes:
        name: of the sweep; its trials are runs called NAME/trial-NNNN.
        space: the search space.
        presets: schedules that are tried first and never pruned.
        n_trials: number of trials, of all workers and all starts together.
        timeout: seconds after which a worker begins no further trial; None: no limit.
        steps: of a trial.
        validate_every: a trial is saved, validated and perhaps pruned every so many steps.
        second: another objective besides the success at the end; the result is then a Pareto front.
        threshold: of success, for the objective steps_to_threshold.
        pruner: stops hopeless trials.
        startup: trials drawn at random before the sampler learns and the pruner stops any; presets count.
        storage: of Optuna's study; None: a journal file in the sweep's reports; else a database's url.
        candidates: number of the best trials that are run again.
        confirm_seeds: seeds with which these and the presets are run again; none: they are not.
        confirm_steps: steps of these runs; None: those of a trial.
    """

    name: FolderName
    space: SpaceConfig
    presets: Annotated[tuple[Literal["paper", "constant", "off"], ...], DISTINCT]
    n_trials: int = Field(ge=1)
    timeout: float | None = Field(gt=0)
    steps: int = Field(ge=1, le=100_000)
    validate_every: int = Field(ge=1)
    second: Literal["calibration", "steps_to_threshold"] | None
    threshold: float = Field(gt=0, le=1)
    pruner: Literal["median", "hyperband", "none"]
    startup: int = Field(ge=0)
    storage: str | None
    candidates: int = Field(ge=1)
    confirm_seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], DISTINCT]
    confirm_steps: int | None = Field(ge=1, le=100_000)

    @field_validator("presets", mode="before")
    @classmethod
    def _off_is_text(cls, values: Any) -> Any:
        # YAML reads a bare `off` as false.
        return ["off" if value is False else value for value in values] if isinstance(values, (list, tuple)) else values

    @model_validator(mode="after")
    def _possible(self) -> "SweepConfig":
        if self.second is not None and self.pruner != "none":
            raise ValueError(
                f"pruner is {self.pruner!r}, but with a second objective ({self.second}) no trial is worse than "
                f"another before its end: set pruner to none"
            )
        return self

    @property
    def objectives(self) -> tuple[str, ...]:
        """The names of the objectives, success first."""
        return ("success",) if self.second is None else ("success", self.second)

    def trial_name(self, number: int) -> str:
        """Name of the run of trial `number`."""
        return f"{self.name}/trial-{number:04d}"
