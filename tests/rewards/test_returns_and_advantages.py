"""Golden numbers, computed by hand."""

import math

import polars as pl
import pytest
from played_episodes import N, P, Z, episode

from sg_pipeline.config.extensions import NORMALISATION, load
from sg_pipeline.config.loader import section
from sg_pipeline.rewards.credit import EPSILON
from sg_pipeline.rewards.dials import step_dials
from sg_pipeline.rewards.returns import trajectory_returns
from sg_pipeline.trajectories.frame import to_frame
from sg_pipeline.trajectories.types import Polarity, Trajectory


def trajectory(group: int, item: int, polarities: tuple[Polarity | None, ...], won: bool) -> Trajectory:
    return episode(group, item, polarities, won, step=7, invalid=(0,))


@pytest.fixture
def turns() -> pl.DataFrame:
    return to_frame(
        [
            trajectory(0, 0, (Z, P, P), won=True),  # R_sg = +0.2
            trajectory(0, 1, (N, N, Z, P), won=False),  # R_sg = -0.1
            trajectory(1, 0, (Z, N), won=False),  # R_sg = -0.1
            trajectory(1, 1, (P, P), won=False),  # R_sg = +0.2
        ]
    )


def returns(turns, trust=0.5, scale=1.0):
    return trajectory_returns(turns, section("aggregate").polarity, trust=trust, environment_scale=scale)


def test_trajectory_returns_by_hand(turns):
    table = returns(turns)
    assert table["r_env"].to_list() == [1, 0, 0, 0]
    assert table["r_sg"].to_list() == pytest.approx([0.2, -0.1, -0.1, 0.2])
    assert table["r_total"].to_list() == pytest.approx([1.1, -0.05, -0.05, 0.1])
    assert returns(turns, trust=1.0, scale=10.0)["r_total"].to_list() == pytest.approx([10.2, -0.1, -0.1, 0.2])
    assert table["tokens"].to_list() == [6, 8, 4, 4]
    assert table["negative"].to_list() == [0, 2, 1, 0]
    unguided = returns(to_frame([trajectory(0, 0, (None, None), won=True)]))
    assert unguided.select("r_sg", "unparsed_guidance").rows() == [(0.0, 0)]


def credited(table, rule):
    return table.with_columns(advantage=load(NORMALISATION, rule)(1.0))


def test_credit_group_is_the_papers_form(turns):
    # Of two numbers a < b the sample deviation is (b - a) / sqrt 2, so A = +-(d/2) / (d / sqrt 2 + eps).
    advantages = credited(returns(turns), "group")["advantage"].to_list()
    first = (1.15 / 2) / (1.15 / math.sqrt(2) + EPSILON)
    second = (0.15 / 2) / (0.15 / math.sqrt(2) + EPSILON)
    assert advantages == pytest.approx([first, -first, -second, second])


def test_credit_batch_keeps_the_scale_between_groups(turns):
    # Centred returns: +-0.575 and -+0.075; their sample deviation is sqrt((2 * 0.575^2 + 2 * 0.075^2) / 3).
    deviation = math.sqrt((2 * 0.575**2 + 2 * 0.075**2) / 3)
    advantages = credited(returns(turns), "batch")["advantage"].to_list()
    assert advantages == pytest.approx([x / (deviation + EPSILON) for x in (0.575, -0.575, -0.075, 0.075)])


def test_credit_apart_weights_guidance_by_lambda(turns):
    environment = 0.5 / (1 / math.sqrt(2) + EPSILON)
    guidance = 0.15 / (0.3 / math.sqrt(2) + EPSILON)
    advantages = credited(returns(turns, trust=0.5), "apart")["advantage"].to_list()
    expected = [environment + 0.5 * guidance, -environment - 0.5 * guidance, -0.5 * guidance, 0.5 * guidance]
    assert advantages == pytest.approx(expected)


def test_credit_none_only_centres(turns):
    assert credited(returns(turns), "none")["advantage"].to_list() == pytest.approx([0.575, -0.575, -0.075, 0.075])


def test_credit_group_amplifies_a_small_lambda_in_a_flat_group(turns):
    """In a group without wins, "group" makes any lambda a full-strength update; "batch" and "apart" do not."""
    tiny = returns(turns, trust=0.01)
    failed = pl.col("group") == 1
    size = {n: credited(tiny, n).filter(failed)["advantage"].abs().max() for n in ("group", "batch", "apart")}
    assert size["group"] > 0.6
    assert size["batch"] < 0.01
    assert size["apart"] < 0.01


def test_credit_group_of_one_or_without_variance_has_no_advantage():
    one = to_frame([trajectory(group, item, (P,), won=True) for group, item in ((0, 0), (1, 0), (1, 1))])
    for normalisation in ("group", "batch", "apart", "none"):
        assert credited(returns(one), normalisation)["advantage"].to_list() == [0, 0, 0]


def test_step_dials_by_hand(turns):
    dials = step_dials(returns(turns).with_columns(selected=pl.lit(True)))
    assert dials["success_rate"] == 0.25
    assert dials["turns"] == 11
    assert dials["positive_share"] == pytest.approx(5 / 11)
    assert dials["negative_share"] == pytest.approx(3 / 11)
    assert dials["invalid_action_share"] == pytest.approx(4 / 11)
    assert dials["r_sg_gap"] == pytest.approx(0.2 - 0.0)
    assert dials["guidance_only_groups"] == 0.5
    assert dials["groups_without_gradient"] == 0.0
    # turns 3, 4, 2, 2 and R_sg 0.2, -0.1, -0.1, 0.2: sum of products -0.15, sums of squares 2.75 and 0.09
    assert dials["corr_r_sg_turns"] == pytest.approx(-0.15 / math.sqrt(2.75 * 0.09))


def test_step_dials_without_lost_episodes_have_no_gap():
    won = to_frame([trajectory(0, item, (P,), won=True) for item in range(2)])
    dials = step_dials(returns(won).with_columns(selected=pl.lit(True)))
    assert dials["r_sg_gap"] is None
    assert dials["corr_r_sg_won"] is None
    assert dials["groups_without_gradient"] == 1.0
