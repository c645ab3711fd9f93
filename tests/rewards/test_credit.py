"""Credit by turn, by hand."""

import math

import numpy as np
import polars as pl
import pytest
from played_episodes import N, P, Z, episode

from sg_pipeline.config.extensions import CREDIT, load
from sg_pipeline.config.loader import section
from sg_pipeline.environments.alfworld.benchmark import AlfworldBenchmark
from sg_pipeline.rewards.aggregate import aggregate_step, turn_table
from sg_pipeline.rewards.credit import TurnCredit
from sg_pipeline.rewards.evidence import Evidence
from sg_pipeline.rewards.normalisation import EPSILON
from sg_pipeline.trajectories.frame import to_frame


class _Numbered(AlfworldBenchmark):
    """The state is the number of the turn, and every action is judged negative."""

    def anchors(self, observations, actions):
        return [str(turn) for turn in range(len(observations))]

    def verdicts(self, observations, actions, *, won):
        return [N] * len(observations)


BENCHMARK = _Numbered()
WON, LOST = (Z, P, N), (Z, N, N)


@pytest.fixture
def turns():
    return to_frame([episode(0, 0, WON, won=True), episode(0, 1, LOST)])


def rules(trust, **credit):
    """Return the default section with this credit, of whose fields those that are not given have their own defaults."""
    rule = load(CREDIT, credit["kind"]).model_validate(credit)
    return section("aggregate", schedule={"kind": "constant", "value": trust}).model_copy(update={"credit": rule})


def credited(turns, trust=0.5, **credit):
    config = rules(trust, **credit)
    rewards, dials = aggregate_step(turns, config, 0, 8, max_turns=3, benchmark=BENCHMARK)
    return rewards, dials


def column(rewards, name):
    return rewards[name].to_list()


def test_the_papers_form_has_no_credit_by_turn(turns):
    rewards, _ = credited(turns, kind="trajectory")
    assert not {"action_credit", "verdict_credit"} & set(rewards.columns)
    assert rewards["r_total"].to_list() == pytest.approx([1.0, -0.1])


def test_the_next_verdict_is_credited_to_the_action_that_it_judges(turns):
    """Verdicts after the three actions: P, N and the win, which counts as praise, against N, N and nothing."""
    rewards, _ = credited(turns, kind="turn", scale="none", gamma=0.5)
    # G won: 0.1 - 0.05 + 0.025, -0.1 + 0.05, 0.1; G lost: -0.1 - 0.05, -0.1, 0. Half the difference, times lambda.
    won = [0.25 * (0.075 + 0.15), 0.25 * (-0.05 + 0.1), 0.25 * 0.1]
    assert column(rewards, "action_credit")[0] == pytest.approx(won)
    assert column(rewards, "action_credit")[1] == pytest.approx([-x for x in won])
    assert column(rewards, "verdict_credit") == [[0.0] * 3, [0.0] * 3]  # a verdict never pays for itself
    assert rewards["r_total"].to_list() == [1.0, 0.0]  # and is not in the return


def test_verdicts_that_do_not_learn_have_no_advantage_whatever_the_episode_earned(turns):
    kept, learned = (credited(turns, kind="turn", omega=0.5, verdicts_learn=learns)[0] for learns in (False, True))
    assert column(kept, "action_credit") == column(learned, "action_credit")
    assert min(map(abs, kept["advantage"])) > 0
    assert column(kept, "verdict_credit") == [[-one] * 3 for one in column(kept, "advantage")]


def test_without_a_trace_only_the_action_before_a_verdict_is_credited(turns):
    rewards, _ = credited(turns, kind="turn", scale="none", trace=0.0)
    assert column(rewards, "action_credit")[0] == pytest.approx([0.25 * 0.2, 0.0, 0.25 * 0.1])


def test_one_deviation_of_the_batch_keeps_the_scale_between_states(turns):
    rewards, _ = credited(turns, kind="turn", scale="batch", trace=0.0, trust=1.0)
    deviation = math.sqrt((2 * 0.1**2 + 2 * 0.05**2) / 5)  # of +-0.1, 0, 0, +-0.05
    expected = [x / (deviation + EPSILON) for x in (0.1, 0.0, 0.05)]
    assert column(rewards, "action_credit")[0] == pytest.approx(expected)
    own, _ = credited(turns, kind="turn", scale="own", trace=0.0, trust=1.0)
    assert column(own, "action_credit")[0] == pytest.approx(
        [0.1 / (0.2 / math.sqrt(2) + EPSILON), 0.0, 0.05 / (0.1 / math.sqrt(2) + EPSILON)]
    )


def test_a_state_that_was_met_once_has_no_credit_and_no_part_in_the_scale():
    longer = to_frame([episode(0, 0, WON, won=True), episode(0, 1, (*LOST, P))])
    rewards, _ = credited(longer, kind="turn", scale="batch", trace=0.0, trust=1.0)
    # After the third action the longer episode has a verdict: P, as the won one. The fourth turn stands alone.
    deviation = math.sqrt(2 * 0.1**2 / 5)
    assert column(rewards, "action_credit")[1] == pytest.approx([-0.1 / (deviation + EPSILON), 0.0, 0.0, 0.0])


def test_lambda_0_leaves_only_the_environment(turns):
    rewards, dials = credited(turns, kind="turn", trust=0.0)
    assert column(rewards, "action_credit") == [[0.0] * 3, [0.0] * 3]
    assert dials["groups_without_gradient"] == 0.0
    some, _ = credited(turns, kind="turn", trust=0.0, omega=2.0, gamma=0.5, scale="none")
    assert column(some, "action_credit")[0] == pytest.approx([0.25, 0.5, 1.0])  # half of 2 x (1/4, 1/2, 1)
    assert column(some, "verdict_credit") == column(some, "action_credit")


def test_gigpo_credits_all_tokens_of_a_turn_within_its_state(turns):
    rewards, _ = credited(turns, kind="gigpo", trust=0.0)
    each = [x / 2 / (x / math.sqrt(2) + EPSILON) for x in (0.95**2, 0.95, 1.0)]
    assert column(rewards, "action_credit")[0] == pytest.approx(each)
    assert column(rewards, "verdict_credit") == column(rewards, "action_credit")
    trusting, _ = credited(turns, kind="gigpo", trust=0.5)
    assert trusting["r_total"].to_list() == pytest.approx([1.0, -0.1])  # verdicts count as in the paper
    assert column(trusting, "action_credit") == column(rewards, "action_credit")


@pytest.mark.parametrize(
    ("revisits", "worth"),
    [
        ("paid", (0.1, 0.1, 0.0, 0.1)),
        ("unpaid", (0.1, 0.0, 0.0, 0.1)),
        ("blamed", (0.1, -0.1, -0.1, 0.1)),
    ],
)
def test_praise_for_going_in_circles(revisits, worth):
    """States a, b, a, a: the second action leads back, the third does not move; the win has no state."""
    turns = turn_table(to_frame([episode(0, 0, (Z, P, P, Z), won=True)]), section("aggregate"), 4).with_columns(
        anchor=pl.Series(["a", "b", "a", "a"])
    )
    assert TurnCredit(revisits=revisits)._rewards(turns).tolist() == pytest.approx(list(worth))


def test_a_label_is_worth_what_it_has_been_worth(turns):
    """12 turns in the first third, 6 of them won: praise in 4 of 4, blame in none of 4, two imaginary turns each."""
    labels = {"0.positive": (4.0, 4.0), "0.neutral": (4.0, 2.0), "0.negative": (4.0, 0.0)}
    known = Evidence(
        turns={cell: seen for cell, (seen, _) in labels.items()}, wins={cell: won for cell, (_, won) in labels.items()}
    )
    assert known.worth(0, "positive") == pytest.approx(5 / 6 - 1 / 2)
    assert known.worth(0, "negative") == pytest.approx(1 / 6 - 1 / 2)
    assert (known.worth(0, "neutral"), known.worth(1, "positive")) == (0.0, 0.0)
    table = turn_table(turns, section("aggregate"), 9).with_columns(anchor=pl.col("turn").cast(pl.String))
    action, verdict = TurnCredit(reward="worth", trace=0.0).by_turn(table, 2.0, known)
    # Verdicts after the actions, won: P, N, praise for the win; lost: N, N, nothing. Half the difference, times lambda.
    assert action[:3] == pytest.approx([2 / 3, 0.0, 1 / 3])
    assert action[3:] == pytest.approx(-action[:3])
    assert not verdict.any()
    assert not TurnCredit(reward="worth").by_turn(table, 2.0, None)[0].any()


def test_an_oracle_may_judge_in_place_of_the_policy(turns):
    rewards, _ = credited(turns, kind="turn", verdicts="oracle", baseline="group", scale="none", trace=0.0)
    assert column(rewards, "action_credit") == [[0.0] * 3, [0.0] * 3]  # it judges every action alike


def potentials(verdicts, gamma, won=True):
    table = turn_table(to_frame([episode(0, 0, verdicts, won=won)]), section("aggregate"), 30)
    return TurnCredit(reward="potential", gamma=gamma)._rewards(table)


def test_a_potential_telescopes_whatever_the_verdicts_are():
    for verdicts in ((P, N, Z, P, P), (N, N), (Z,)):
        rewards = potentials(verdicts, gamma=0.9)
        value = {P: 0.1, Z: 0.0, N: -0.1}[verdicts[0]]
        assert sum(0.9**t * r for t, r in enumerate(rewards)) == pytest.approx(-value)


def test_constant_praise_earns_nothing_by_a_potential_however_long_it_lasts():
    for length in (2, 30):
        assert potentials((P,) * length, gamma=1.0)[:-1] == pytest.approx([0.0] * (length - 1))
        assert np.all(potentials((P,) * length, gamma=0.9) <= 0)


def test_groups_in_which_all_fail_teach_by_their_verdicts_alone():
    turns = to_frame([episode(0, 0, (Z, P, Z)), episode(0, 1, LOST)])
    _, dials = credited(turns, kind="turn")
    assert (dials["guidance_only_groups"], dials["groups_without_gradient"]) == (1.0, 0.0)
    _, without = credited(turns, kind="turn", trust=0.0)
    assert (without["guidance_only_groups"], without["groups_without_gradient"]) == (0.0, 1.0)


@pytest.mark.parametrize("credit", [{"kind": "gigpo"}, {"kind": "turn", "omega": 0.5}])
def test_a_group_in_which_all_win_teaches_by_r_env_where_some_win_earlier(turns, credit):
    """R_env is the same in both episodes; from the first state, one wins a turn earlier."""
    won = to_frame([episode(0, 0, WON, won=True), episode(0, 1, (*WON, P), won=True)])
    _, dials = credited(won, **credit)
    assert (dials["guidance_only_groups"], dials["groups_without_gradient"]) == (0.0, 0.0)


def test_a_group_that_is_dropped_has_no_credit():
    turns = to_frame([episode(0, 0, WON, won=True), episode(0, 1, LOST), episode(1, 0, WON), episode(1, 1, LOST)])
    config = rules(1.0, kind="turn")
    rewards, _ = aggregate_step(turns, config, 0, 8, max_turns=3, benchmark=BENCHMARK, drop_flat_groups=True)
    assert rewards.filter(pl.col("group") == 1)["action_credit"].to_list() == [None, None]
    assert rewards.filter(pl.col("group") == 0)["action_credit"].null_count() == 0
