"""Every point of the space is a schedule, and the presets are what they are called."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from played_sweep import load

from sg_pipeline.config.rewards import PHASES
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.rewards.trust import Trapezoid
from sg_pipeline.sweep.space import PRESETS, check_sweep, point_parameters, preset_point, schedule_at

shares = st.floats(0, 1)
points = st.fixed_dictionaries({
    "activation": shares, "ramp": shares, "annealing": shares, "peak": st.floats(0, 3),
    "shape": st.sampled_from(["linear", "cosine"]),
})  # fmt: skip


@settings(deadline=None)  # a busy machine is no failure
@given(points, st.integers(1, 200))
def test_schedule_at_any_point_has_ordered_borders(point, steps) -> None:
    schedule = schedule_at(point)  # the schedule itself refuses borders out of order
    trusts = [schedule.trust(step, steps) for step in range(steps)]
    assert all(0 <= trust <= schedule.peak + 1e-9 for trust in trusts)
    phases = [PHASES.index(schedule.phase(step, steps)) for step in range(steps)]
    assert phases == sorted(phases)


@pytest.mark.parametrize("preset", ["paper", "constant", "off"])
@pytest.mark.parametrize("steps", [40, 80])
def test_preset_point_in_the_default_space_is_the_preset(preset, steps) -> None:
    parameters = load()
    point = preset_point(parameters.sweep.space, preset, parameters)
    assert point is not None
    there, own = schedule_at(point), PRESETS[preset]
    # Rounded to 4 decimals the borders may stand 0.004 of a step beside the preset's own.
    assert [there.trust(u, steps) for u in range(steps)] == pytest.approx(
        [own.trust(u, steps) for u in range(steps)], abs=1e-2
    )


def test_preset_point_outside_of_the_space_is_none() -> None:
    parameters = load(space={"peak": {"low": 0.2, "high": 0.8}})
    assert all(preset_point(parameters.sweep.space, preset, parameters) is None for preset in PRESETS)


def test_point_parameters_set_only_the_dimensions_of_the_space() -> None:
    point = {"activation": 0.25, "ramp": 0.5, "annealing": 0.0, "peak": 0.5, "shape": "cosine"}
    borders = {"activation": 0.25, "full": 0.625, "annealing": 1.0}
    schedule = {"kind": "trapezoid", **borders, "peak": 0.5, "shape": "cosine"}
    assert point_parameters(point) == {f"aggregate.schedule.{name}": value for name, value in schedule.items()}
    more = point_parameters({**point, "learning_rate": 0.000123456, "group_size": 4, "negative": -0.2})
    assert (more["train.learning_rate"], more["rollout.group_size"]) == (0.0001235, 4)
    assert more["aggregate.polarity.negative"] == -0.2


def test_a_sweep_may_search_how_trust_is_earned() -> None:
    planned = {"activation": 0.0, "ramp": 0.0, "shape": "linear"}
    space = {**planned, "annealing": {"low": 0.0, "high": 0.5}, "peak": {"low": 0.1, "high": 1.0}, "earned": 0.4}
    parameters = load(space=space)
    check_sweep(parameters.sweep, parameters)
    point = {**planned, "annealing": 0.25, "peak": 0.5, "earned": 0.4}
    found = point_parameters(point)
    assert (found["aggregate.schedule.kind"], found["aggregate.schedule.full_at"]) == ("earned", 0.4)
    assert (found["aggregate.schedule.peak"], found["aggregate.schedule.annealing"]) == (0.5, 0.75)
    assert preset_point(parameters.sweep.space, "paper", parameters) is None


def test_cosine_ramps_are_softer_and_trust_as_much() -> None:
    linear, cosine = (Trapezoid(activation=0, full=0.5, annealing=0.5, shape=shape) for shape in ("linear", "cosine"))
    ramps = [[schedule.trust(u, 40) for u in range(41)] for schedule in (linear, cosine)]
    assert sum(ramps[0]) == pytest.approx(sum(ramps[1]))
    assert ramps[1][2] < ramps[0][2] < ramps[0][18] < ramps[1][18]
    assert [ramps[1][u] for u in (0, 10, 20, 30, 40)] == pytest.approx([0, 0.5, 1, 0.5, 0])


FIXED = {"activation": 0.5, "ramp": 0.25, "annealing": 0.3, "peak": 1.0, "shape": "linear"}


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({"space": {"activation": {"low": 0.6, "high": 0.2}}}, "low must not be above high, found low 0.6"),
        ({"space": {"ramp": {"low": 0.0, "high": 1.5}}}, "ramp must lie between 0 and 1, found 0 to 1.5"),
        ({"space": FIXED}, "nothing is searched"),
        ({"space": {"peak": 0.0}}, "peak is 0, so that trust is 0 throughout"),
        ({"space": {"peek": 1.0}}, "sweep.space.peek .found 1.0.: did you mean sweep.space.peak"),
        ({"space": {"learning_rate": {"low": 0.0, "high": 0.1, "log": True}}}, "must begin above 0"),
        ({"space": {"earned": 0.4}}, "activation, ramp, shape are searched: fix them, or leave earned out"),
        ({"second": "calibration"}, "set pruner to none"),
        ({"presets": ["paper", "paper"]}, "paper is named twice"),
        ({"confirm_seeds": [0, 1]}, "sweep.confirm_seeds has 0, which is the seed of the search"),
        ({"space": {"group_size": [2, 8]}}, "sweep.space.group_size has 2, which makes 16 trajectories a step"),
    ],
)
def test_impossible_sweep_raises(sweep, message) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check_sweep((parameters := load(**sweep)).sweep, parameters)
