"""The trust schedule lambda(u): how much the internal reward counts at co-evolution step u.

"Trust follows competence" (Self-Guide, arXiv 2604.03098): an immature internal reward is worse than none, so it has no
weight at first (warm-up), then an increasing one (activation), then full weight; it decreases to 0 at the end
(annealing), because this shaping is not potential-based and would bias the final policy.
"""

import math
from typing import Literal

from pydantic import Field, model_validator

from sg_pipeline.config.rewards import TrustSchedule
from sg_pipeline.rewards.evidence import VETOES, Evidence


class Trapezoid(TrustSchedule):
    """The paper's schedule, with borders as fractions of training.

        lambda(u) = 0                                u <  b1      phase 1, warm-up
                  = peak (u - b1) / (b2 - b1)  b1 <= u <  b2      phase 2, activation
                  = peak                       b2 <= u <  b3      phase 3, full
                  = peak (N - u) / (N - b3)    b3 <= u <= N       phase 4, annealing

    with b_k = fraction_k * N and N the number of steps; u = 0 .. N-1 are trained on and lambda(N) = 0. The
    paper has N = 80 and borders 40, 50, 70. With cosine ramps the fraction x of the peak in phases 2 and 4
    becomes (1 - cos(pi x)) / 2: the same total trust, with smoother transitions.

    Attributes:
        activation, full, annealing: the fractions at which phases 2, 3 and 4 begin, in this order.
        peak: lambda in phase 3.
        shape: of the ramps in phases 2 and 4.
    """

    kind: Literal["trapezoid"] = "trapezoid"
    activation: float = Field(0.5, ge=0.0, le=1.0)
    full: float = Field(0.625, ge=0.0, le=1.0)
    annealing: float = Field(0.875, ge=0.0, le=1.0)
    peak: float = Field(1.0, ge=0.0, allow_inf_nan=False)
    shape: Literal["linear", "cosine"] = "linear"

    @model_validator(mode="after")
    def _ordered(self) -> "Trapezoid":
        if not self.activation <= self.full <= self.annealing:
            raise ValueError(
                f"the phases must begin in order, activation <= full <= annealing, "
                f"found {self.activation}, {self.full}, {self.annealing}"
            )
        return self

    def trust(self, step: int, steps: int) -> float:
        """Return lambda at `step` of `steps`."""
        begin, full, annealing = (fraction * steps for fraction in (self.activation, self.full, self.annealing))
        if step < begin:
            return 0.0
        if step < full:
            return self._ramp(step - begin, full - begin)
        if step < annealing:
            return self.peak
        return self._ramp(steps - step, steps - annealing) if step < steps else 0.0

    def _ramp(self, part: float, whole: float) -> float:
        if self.shape == "linear":
            return self.peak * part / whole
        return self.peak * (1 - math.cos(math.pi * part / whole)) / 2

    def borders(self) -> tuple[float, float, float]:
        """Return the fractions of training at which phases 2, 3 and 4 begin."""
        return self.activation, self.full, self.annealing


class Constant(TrustSchedule):
    """The same trust throughout: lambda(u) = value. The ablation "immediate full reward" is value = 1."""

    kind: Literal["constant"] = "constant"
    value: float = Field(1.0, ge=0.0, allow_inf_nan=False)

    def trust(self, step: int, steps: int) -> float:
        """Return lambda at `step` of `steps`."""
        return self.value

    def borders(self) -> tuple[float, float, float]:
        """Return the paper's borders: a constant schedule has none, but runs are compared by phase."""
        return Trapezoid().borders()


class Off(TrustSchedule):
    """No internal reward: lambda(u) = 0. With guidance on this is "GRPO w/ SG", without it plain GRPO."""

    kind: Literal["off"] = "off"

    def trust(self, step: int, steps: int) -> float:
        """Return lambda at `step` of `steps`."""
        return 0.0

    def borders(self) -> tuple[float, float, float]:
        """Return the paper's borders, as for `Constant`."""
        return Trapezoid().borders()


class Earned(TrustSchedule):
    """Trust by evidence: lambda(u) follows how well verdicts have separated wins from losses (ours).

        lambda(u) = peak * clip(c_u / full_at, 0, 1) * a(u)

    c_u is the lower bound of the concordance d within groups (see `evidence`) over the steps before u, `deviations`
    standard errors below its fading mean. lambda is 0 in the first step, without evidence, and while a dial says that
    verdicts are being gamed (fading means): `negative_share` below `least_negative`, `corr_r_sg_turns` above
    `most_length` (praise by length), `r_sg_gap` not above 0. a(u) is 1 until `annealing` and falls to 0 at N.

    Attributes:
        peak: the largest lambda.
        full_at: concordance at which trust is full; d = 0.4 is an AUC of 0.7.
        deviations: of the lower bound; 1.64 is a one-sided 95 %.
        least_negative, most_length: borders of the dials.
        annealing: fraction of training at which the last phase begins.
    """

    kind: Literal["earned"] = "earned"
    peak: float = Field(0.5, ge=0.0, allow_inf_nan=False)
    full_at: float = Field(0.4, gt=0.0, le=1.0)
    deviations: float = Field(1.64, ge=0.0, allow_inf_nan=False)
    least_negative: float = Field(0.02, ge=0.0, le=1.0)
    most_length: float = Field(0.0, ge=-1.0, le=1.0)
    annealing: float = Field(0.875, ge=0.0, le=1.0)

    @property
    def reads_evidence(self) -> bool:
        """True."""
        return True

    def trust(self, step: int, steps: int) -> float | None:
        """Return 0 for the first step, which has no evidence, and where peak is 0; else None."""
        return 0.0 if step == 0 or step >= steps or self.peak == 0 else None

    def earn(self, step: int, steps: int, evidence: Evidence | None) -> float:
        """Return lambda at `step` of `steps`."""
        if evidence is None or step >= steps or self.veto(evidence):
            return 0.0
        earned = min(1.0, max(0.0, (evidence.bound(self.deviations) or 0.0) / self.full_at))
        begin = self.annealing * steps
        left = 1.0 if step < begin else (steps - step) / (steps - begin)
        return self.peak * earned * left

    def reason(self, step: int, steps: int, evidence: Evidence | None) -> str:
        """Return the veto, or the bound that trust was earned by."""
        if evidence is None:
            return "the first step has no evidence"
        if objection := self.veto(evidence):
            return objection
        bound = evidence.bound(self.deviations)
        if bound is None:
            return "too few groups with wins and losses so far"
        annealed = ", annealing" if step >= self.annealing * steps else ""
        mean = evidence.concordance / evidence.groups
        return (
            f"verdicts in the right order {mean:.2f}, at least {bound:.2f} (full trust from {self.full_at:g}){annealed}"
        )

    def veto(self, evidence: Evidence) -> str | None:
        """Return why there is no trust, in words; None where no dial objects."""
        negative, length, gap = (evidence.dial(name) for name in VETOES)
        if negative is not None and negative < self.least_negative:
            return f"only {100 * negative:.1f} % of the verdicts are negative"
        if length is not None and length > self.most_length:
            return f"R_sg grows with the length of an episode (correlation {length:.2f})"
        if gap is not None and gap <= 0:
            return f"won episodes have no more R_sg than lost ones (gap {gap:.3f})"
        return None

    def borders(self) -> tuple[float, float, float]:
        """Return the paper's borders but for the last: trust is not planned, but runs are compared by phase."""
        activation, full, _ = Trapezoid().borders()
        return min(activation, self.annealing), min(full, self.annealing), self.annealing
