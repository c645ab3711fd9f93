import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sg_pipeline.config.rewards import PHASES
from sg_pipeline.rewards.trust import Constant, Off, Trapezoid


@pytest.mark.parametrize(
    ("step", "trust"),
    [(0, 0), (40, 0), (41, 0.1), (45, 0.5), (49, 0.9), (50, 1), (70, 1), (75, 0.5), (79, 0.1), (80, 0)],
)
def test_trapezoid_trust_equals_the_papers(step, trust):
    assert Trapezoid().trust(step, 80) == pytest.approx(trust)


def test_trapezoid_peak_scales_every_phase():
    assert [Trapezoid(peak=0.5).trust(u, 80) for u in (20, 45, 60, 75)] == pytest.approx([0, 0.25, 0.5, 0.25])


@pytest.mark.parametrize(("step", "phase"), [(0, 0), (39, 0), (40, 1), (49, 1), (50, 2), (69, 2), (70, 3), (79, 3)])
def test_trapezoid_phase_at_its_borders(step, phase):
    assert Trapezoid().phase(step, 80) == PHASES[phase]


def test_constant_and_off_have_the_same_trust_at_every_step():
    assert [Constant(value=0.3).trust(u, 10) for u in (0, 5, 9)] == [0.3] * 3
    assert [Off().trust(u, 10) for u in (0, 5, 9)] == [0.0] * 3


fractions = st.floats(0, 1)


@given(st.tuples(fractions, fractions, fractions).map(sorted), st.integers(1, 200), st.floats(0, 3))
def test_trapezoid_trust_is_bounded_and_phases_only_advance(borders, steps, peak):
    schedule = Trapezoid(activation=borders[0], full=borders[1], annealing=borders[2], peak=peak)
    trusts = [schedule.trust(u, steps) for u in range(steps)]
    assert all(0 <= trust <= peak + 1e-12 for trust in trusts)
    phases = [PHASES.index(schedule.phase(u, steps)) for u in range(steps)]
    assert phases == sorted(phases)


def test_trapezoid_borders_out_of_order_raise():
    with pytest.raises(ValidationError, match="activation <= full <= annealing"):
        Trapezoid(activation=0.9)
