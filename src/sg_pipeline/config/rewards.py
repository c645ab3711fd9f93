"""Rewards: the trust schedule, the value of each polarity, normalisation, credit by turn, pay for true verdicts."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field, SerializeAsAny, ValidationInfo, field_validator

from sg_pipeline.config.extensions import CREDIT, KNOWN, NORMALISATION, TRUST, TRUTH, check, load
from sg_pipeline.config.section import Section

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

PHASES = ("phase_1_warmup", "phase_2_activation", "phase_3_full", "phase_4_annealing")

OF_A_KIND = {"schedule": TRUST, "credit": CREDIT, "truth": TRUTH}
"""Sections of `aggregate` whose fields are those of the class that their `kind` names -> its extension point."""


class TrustSchedule(Section, ABC):
    """lambda(u): weight of the internal reward at co-evolution step u. See `rewards/trust.py`.

    Attributes:
        kind: its name in `config/extensions.py`.
    """

    kind: str

    @property
    def reads_evidence(self) -> bool:
        """Whether lambda depends on the steps before; then `earn` says what it is."""
        return False

    @abstractmethod
    def trust(self, step: int, steps: int) -> float | None:
        """Return lambda at `step` (from 0) of `steps`; None where it is not known before the run."""

    def earn(self, step: int, steps: int, evidence: Any) -> float:
        """Return lambda where `trust` does not know it; `evidence` is that of the steps before, or None."""
        raise NotImplementedError

    def reason(self, step: int, steps: int, evidence: Any) -> str | None:
        """Return in words why lambda is what it is; None where a plan says so."""
        return None

    @abstractmethod
    def borders(self) -> tuple[float, float, float]:
        """Return the fractions of training at which phases 2, 3 and 4 begin."""

    def phase(self, step: int, steps: int) -> str:
        """Return the name of the phase of `step` of `steps`."""
        return PHASES[sum(step >= fraction * steps for fraction in self.borders())]


class CreditRule(Section, ABC):
    """Which tokens get which part of the rewards. See `rewards/credit.py`.

    Attributes:
        kind: its name in `config/extensions.py`.
    """

    kind: str

    @property
    def in_return(self) -> bool:
        """Whether lambda R_sg is part of the trajectory's return R, and so of the advantage of all its tokens."""
        return True

    @property
    def reads_states(self) -> bool:
        """Whether `by_turn` needs `anchor`, which the benchmark names."""
        return False

    @property
    def reads_oracle(self) -> bool:
        """Whether `by_turn` needs `oracle`, the benchmark's own verdict on each action."""
        return False

    @property
    def reads_evidence(self) -> bool:
        """Whether `by_turn` needs what earlier steps say of the verdicts."""
        return False

    @abstractmethod
    def by_turn(
        self, turns: "pl.DataFrame", trust: float, evidence: Any = None
    ) -> "tuple[np.ndarray, np.ndarray] | None":
        """Return what the tokens of each turn get besides their trajectory's advantage; None: nothing.

        Args:
            turns: one row a turn, sorted by (step, group, item, turn): see `rewards.credit.Turns`.
            trust: lambda(u).
            evidence: of the steps before this one (`rewards.evidence`), or None.

        Returns:
            (T,) for plan and action, and (T,) for the tokens of the verdict, of each turn.
        """


class TruthRule(Section, ABC):
    """What the tokens of a verdict are paid for its coming true. See `rewards/truth.py`.

    Attributes:
        kind: its name in `config/extensions.py`.
    """

    kind: str

    @property
    def reads_evidence(self) -> bool:
        """Whether `pay` needs what earlier steps say of the verdicts."""
        return False

    @abstractmethod
    def pay(self, turns: "pl.DataFrame", evidence: Any, step: int, steps: int) -> "np.ndarray | None":
        """Return the advantage of each turn's verdict, (T,); None: nothing.

        Args:
            turns: as for `CreditRule.by_turn`.
            evidence: of the steps before this one (`rewards.evidence`), or None.
            step, steps: u and N.
        """


class PolarityValues(Section):
    """The step reward of each polarity."""

    positive: float = Field(allow_inf_nan=False)
    neutral: float = Field(allow_inf_nan=False)
    negative: float = Field(allow_inf_nan=False)


class RewardConfig(Section):
    """Rewards of a trajectory.

    Attributes:
        schedule: the trust schedule.
        credit: the credit rule.
        truth: the pay for true verdicts.
        polarity: the step reward of each polarity.
        environment_scale: factor of R_env.
        normalisation: of the trajectories' advantage, see `rewards/normalisation.py`.
    """

    schedule: SerializeAsAny[TrustSchedule]
    credit: SerializeAsAny[CreditRule]
    truth: SerializeAsAny[TruthRule]
    polarity: PolarityValues
    environment_scale: float = Field(gt=0.0, allow_inf_nan=False)
    normalisation: str

    @property
    def reads_evidence(self) -> bool:
        """Whether a step's rewards depend on the steps before it."""
        return any(rule.reads_evidence for rule in (self.schedule, self.credit, self.truth))

    @field_validator(*OF_A_KIND, mode="before")
    @classmethod
    def _of_one_kind(cls, values: Any, info: ValidationInfo) -> Any:
        """Drop fields of other schedules; of credit and truth they are a mistake.

        `--params aggregate.schedule.peak=0.5` is for those methods of a study that have a peak.
        """
        if not isinstance(values, dict):
            return values
        point, kind = OF_A_KIND[str(info.field_name)], kind_of(values)
        own = set(load(point, kind).model_fields)
        kinds = {name: set(load(point, name).model_fields) for name in KNOWN[point]}
        others = set[str]().union(*kinds.values()) - own
        if point != TRUST and (foreign := sorted(others & set(values))):
            of = " or ".join(name for name, fields in kinds.items() if foreign[0] in fields)
            raise ValueError(f"{foreign[0]} is a field of kind {of}, but kind is '{kind}': change the one or the other")
        return {name: value for name, value in {**values, "kind": kind}.items() if name not in others}

    @field_validator("normalisation")
    @classmethod
    def _known(cls, name: str) -> str:
        return check(NORMALISATION, name)


def kind_of(section: Mapping[str, Any] | Section) -> str:
    """Return the kind of a section of `OF_A_KIND`; YAML reads a bare `off` as false."""
    kind = section.get("kind") if isinstance(section, Mapping) else getattr(section, "kind", None)
    return "off" if kind is False else str(kind)


def parse_schedule(values: dict[str, Any]) -> TrustSchedule:
    """Return the schedule that a section's values describe.

    Raises:
        ConfigurationError: its kind is unknown.
    """
    made: TrustSchedule = load(TRUST, kind_of(values)).model_validate(values)
    return made
