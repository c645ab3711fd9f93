"""What steps say of verdicts, trust that is earned from it, and pay for verdicts that come true: by hand."""

import json
import math

import pytest
from played_episodes import N, P, Z, episode

from sg_pipeline.config.loader import section
from sg_pipeline.rewards.aggregate import aggregate_step, turn_table
from sg_pipeline.rewards.evidence import Evidence, concordance, step_evidence
from sg_pipeline.rewards.normalisation import EPSILON
from sg_pipeline.rewards.trust import Earned
from sg_pipeline.trajectories.frame import to_frame

GOOD = {"negative_share": 0.3, "corr_r_sg_turns": -0.5, "r_sg_gap": 0.4}


def table(*episodes, max_turns=3):
    return turn_table(to_frame(list(episodes)), section("aggregate"), max_turns)


def evidence(*groups, dials=GOOD):
    """Evidence of one step whose groups had these concordances."""
    noted = {**dials, **{f"{name}.weight": 1.0 for name in dials}}
    return Evidence(len(groups), len(groups), sum(groups), sum(d * d for d in groups), dials=noted)


def test_concordance_compares_wins_and_losses_of_a_group_without_first_turn_and_last_third():
    # Of six turns 1, 2 and 3 count.
    won = episode(0, 0, (N, P, Z, P, N, N), won=True)  # mean 2/3
    lost = episode(0, 1, (P, N, Z, P, P, P))  # mean 0
    level = episode(0, 2, (Z, P, P, Z, Z, Z))  # mean 2/3
    assert concordance(table(won, lost, level)).tolist() == [0.5]  # better than one of two, level with the other
    assert concordance(table(won)).tolist() == []
    unguided = [episode(0, 0, (None,) * 3, won=True), episode(0, 1, (None,) * 3)]
    assert concordance(table(*unguided)).tolist() == []


def test_evidence_counts_labels_by_thirds_of_the_longest_episode():
    found = step_evidence(table(episode(0, 0, (Z, P), won=True), episode(0, 1, (Z, N, N))), GOOD)
    assert found.turns == {"0.neutral": 2, "1.positive": 1, "1.negative": 1, "2.negative": 1}
    assert found.wins == {"0.neutral": 1, "1.positive": 1, "1.negative": 0, "2.negative": 0}
    assert found.win_rate(1, "positive") == pytest.approx(2 / 3)
    assert found.win_rate(2, "positive") == 0.5  # never seen
    assert found.dial("r_sg_gap") == pytest.approx(0.4)
    assert step_evidence(table(episode(0, 0, (Z,))), {"r_sg_gap": None}).dial("r_sg_gap") is None


def test_what_was_known_before_fades():
    both = evidence(1.0, 0.0).after(evidence(0.5, 0.5, dials={**GOOD, "r_sg_gap": 0.0}))
    assert both.groups == pytest.approx(0.9 * 2 + 2)
    assert both.groups_squared == pytest.approx(0.81 * 2 + 2)
    assert both.dial("r_sg_gap") == pytest.approx(0.9 * 0.4 / 1.9)


def test_the_bound_lies_standard_errors_below_the_mean():
    assert evidence(1.0, 0.0, 1.0, 0.0).bound(2.0) == pytest.approx(0.5 - 2 * math.sqrt(0.25 * 4 / 3 / 4))
    assert evidence(0.7).bound(1.0) is None  # one group says nothing of the spread
    assert Evidence().bound(1.0) is None


def test_trust_is_earned_by_the_bound_and_taken_back_at_the_end():
    earned = Earned(peak=0.5, full_at=0.4, annealing=0.5, deviations=0.0)
    assert earned.trust(0, 8) == 0.0
    assert earned.trust(1, 8) is None
    assert earned.earn(1, 8, evidence(0.2, 0.2)) == pytest.approx(0.25)
    assert earned.earn(1, 8, evidence(0.9, 0.9)) == 0.5
    assert earned.earn(1, 8, evidence(-0.2, -0.2)) == 0.0
    assert earned.earn(6, 8, evidence(0.9, 0.9)) == pytest.approx(0.25)
    assert earned.earn(8, 8, evidence(0.9, 0.9)) == 0.0


@pytest.mark.parametrize(
    ("dial", "value", "word"),
    [("negative_share", 0.0, "negative"), ("corr_r_sg_turns", 0.4, "length"), ("r_sg_gap", 0.0, "gap")],
)
def test_a_dial_that_shows_gaming_takes_all_trust(dial, value, word):
    seen = evidence(0.9, 0.9, dials={**GOOD, dial: value})
    assert Earned().earn(1, 8, seen) == 0.0
    assert word in Earned().veto(seen)
    assert Earned().veto(evidence(0.9, 0.9)) is None


def test_earned_trust_depends_on_the_metrics_that_lie_on_the_disk_alone():
    step = to_frame([e for g in range(3) for e in (episode(g, 0, (Z, P, P), won=True), episode(g, 1, (Z, N, N)))])
    config = section("aggregate", credit={"kind": "trajectory"}, schedule={"kind": "earned", "peak": 0.5})
    _, first = aggregate_step(step, config, 0, 8, max_turns=3)
    stored = json.loads(json.dumps(first))
    rewards, second = aggregate_step(step, config, 1, 8, max_turns=3, earlier=stored)
    assert (first["lambda"], second["lambda"]) == (0.0, 0.5)  # all three groups agree: the spread is 0
    assert first["trust_reason"] == "the first step has no evidence"
    assert second["trust_reason"] == "verdicts in the right order 1.00, at least 1.00 (full trust from 0.4)"
    assert rewards["r_total"].to_list() == pytest.approx([1.1, -0.1] * 3)
    assert second["verdict_concordance"] == 1.0


def paid(kind, earlier=None, **weight):
    turns = to_frame([episode(0, 0, (P, N), won=True), episode(0, 1, (N, N))])
    config = section(
        "aggregate", credit={"kind": "trajectory"}, schedule={"kind": "off"}, truth={"kind": kind, "weight": weight}
    )
    rewards, _ = aggregate_step(turns, config, 0, 8, max_turns=6, earlier=earlier)
    return rewards


def test_a_verdict_that_agrees_with_the_outcome_pays_its_guidance_tokens():
    """Scores +1, -1 in the won episode and +1, +1 in the lost one; all in one third. Less the mean of each outcome."""
    rewards = paid("outcome", peak=0.5)
    deviation = math.sqrt(2 / 3)  # of 1, -1, 0, 0
    won, lost = rewards["verdict_credit"].to_list()
    assert won == pytest.approx([0.5 / (deviation + EPSILON), -0.5 / (deviation + EPSILON)])
    assert lost == [0.0, 0.0]
    assert rewards["action_credit"].to_list() == [[0.0, 0.0], [0.0, 0.0]]
    assert paid("outcome", peak=0.0)["verdict_credit"].to_list() == [[0.0, 0.0], [0.0, 0.0]]


def test_where_nearly_all_is_lost_saying_so_every_time_does_not_pay():
    """One win in four: wins and losses weigh the same, and a group without any win has no say."""
    group = [episode(0, 0, (P, N), won=True), *(episode(0, item, (P, N)) for item in (1, 2, 3))]
    flat = [episode(1, item, (N, N)) for item in range(2)] + [episode(1, 2, (P, P))]
    config = section(
        "aggregate",
        credit={"kind": "trajectory"},
        schedule={"kind": "off"},
        truth={"kind": "outcome", "weight": {"peak": 1.0}},
    )
    rewards, _ = aggregate_step(to_frame([*group, *flat]), config, 0, 8, max_turns=6)
    paid = rewards["verdict_credit"].to_list()
    negative = [turns[1] for turns in paid[:4]]
    assert negative[0] == pytest.approx(-sum(negative[1:]))  # three losses pay it what one win takes
    assert paid[4:] == [[0.0, 0.0]] * 3
    alone, _ = aggregate_step(to_frame(flat), config, 0, 8, max_turns=6)
    assert alone["verdict_credit"].to_list() == [[0.0, 0.0]] * 3


def test_a_proper_score_reads_a_label_as_what_it_has_come_to_mean():
    """Where negative verdicts used to precede wins, negative is the right thing to say before one."""
    known = Evidence(turns={"0.negative": 8.0, "0.positive": 8.0}, wins={"0.negative": 8.0, "0.positive": 0.0})
    from dataclasses import asdict

    won, _ = paid("brier", {"evidence": asdict(known)}, peak=1.0)["verdict_credit"].to_list()
    good, bad = -((0.9 - 1) ** 2), -((0.1 - 1) ** 2)
    half = (good - bad) / 2
    deviation = math.sqrt(2 * half**2 / 3)
    assert won == pytest.approx([-half / (deviation + EPSILON), half / (deviation + EPSILON)])
    level, _ = paid("brier", None, peak=1.0)["verdict_credit"].to_list()
    assert level == [0.0, 0.0]  # nothing is known in the first step


def test_turns_without_guidance_are_not_paid():
    turns = to_frame([episode(0, 0, (None, None), won=True), episode(0, 1, (None, None))])
    config = section("aggregate", credit={"kind": "trajectory"}, schedule={"kind": "off"}, truth={"kind": "outcome"})
    rewards, _ = aggregate_step(turns, config, 0, 8, max_turns=6)
    assert rewards["verdict_credit"].to_list() == [[0.0, 0.0], [0.0, 0.0]]
