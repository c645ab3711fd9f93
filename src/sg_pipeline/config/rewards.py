"""Rewards: the trust schedule, the value of each polarity, the credit rule."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from pydantic import Field, SerializeAsAny, field_validator

from sg_pipeline.config.extensions import CREDIT, KNOWN, TRUST, check, load
from sg_pipeline.config.section import Section

PHASES = ("phase_1_warmup", "phase_2_activation", "phase_3_full", "phase_4_annealing")


class TrustSchedule(Section, ABC):
    """lambda(u): weight of the internal reward at co-evolution step u. See `rewards/trust.py`.

    Attributes:
        kind: its name in `config/extensions.py`.
    """

    kind: str

    @abstractmethod
    def trust(self, step: int, steps: int) -> float:
        """Return lambda at `step` (from 0) of `steps`."""

    @abstractmethod
    def borders(self) -> tuple[float, float, float]:
        """Return the fractions of training at which phases 2, 3 and 4 begin."""

    def phase(self, step: int, steps: int) -> str:
        """Return the name of the phase of `step` of `steps`."""
        return PHASES[sum(step >= fraction * steps for fraction in self.borders())]


class PolarityValues(Section):
    """The step reward of each polarity."""

    positive: float = Field(allow_inf_nan=False)
    neutral: float = Field(allow_inf_nan=False)
    negative: float = Field(allow_inf_nan=False)


class RewardConfig(Section):
    """Rewards of a trajectory.

    Attributes:
        schedule: the trust schedule; its fields are those of the class that `kind` names, see `tree.tree_of`.
        polarity: the step reward of each polarity.
        environment_scale: factor of R_env.
        normalisation: the credit rule, see `rewards/credit.py`.
    """

    schedule: SerializeAsAny[TrustSchedule]
    polarity: PolarityValues
    environment_scale: float = Field(gt=0.0, allow_inf_nan=False)
    normalisation: str

    @field_validator("schedule", mode="before")
    @classmethod
    def _of_one_kind(cls, schedule: Any) -> Any:
        """Drop fields of other kinds: `--params aggregate.schedule.kind=off` is enough over a trapezoid."""
        if not isinstance(schedule, dict):
            return schedule
        kind = kind_of(schedule)
        own = set(load(TRUST, kind).model_fields)
        others = {field for name in KNOWN[TRUST] for field in load(TRUST, name).model_fields} - own
        return {name: value for name, value in {**schedule, "kind": kind}.items() if name not in others}

    @field_validator("normalisation")
    @classmethod
    def _known(cls, name: str) -> str:
        return check(CREDIT, name)


def kind_of(schedule: Mapping[str, Any] | TrustSchedule) -> str:
    """Return the kind of a schedule or of its section; YAML reads a bare `off` as false."""
    kind = schedule.kind if isinstance(schedule, TrustSchedule) else schedule.get("kind")
    return "off" if kind is False else str(kind)


def parse_schedule(values: dict[str, Any]) -> TrustSchedule:
    """Return the schedule that a section's values describe.

    Raises:
        ConfigurationError: its kind is unknown.
    """
    made: TrustSchedule = load(TRUST, kind_of(values)).model_validate(values)
    return made
