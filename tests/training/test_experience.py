"""Rows, and how they are cut into optimizer steps and micro-batches."""

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sg_pipeline.errors import DataError
from sg_pipeline.training.batching import group_with_least_padding
from sg_pipeline.training.experience import ExperienceRow, collate, experience_table, plan_updates
from sg_pipeline.trajectories.frame import to_frame
from sg_pipeline.trajectories.types import Polarity, Segment, Task, Trajectory, Turn


def trajectory():
    def turn(context, completion, segments):
        logprobs = [-0.5 * token for token in completion]
        return Turn(
            "seen", context, completion, logprobs, segments, "g", Polarity.NEUTRAL, True, "a", True, True, 0, False
        )

    guidance, action = int(Segment.GUIDANCE), int(Segment.ACTION)
    turns = (turn([1, 2, 3], [4, 5], [guidance, action]), turn([6, 7], [8], [action]))
    return Trajectory(Task("t", "alfworld", "train", "x", "p", "s"), 0, 0, 0, turns, True, False, 1.0)


def experience_row(advantage=0.5, **named):
    rewards = pl.DataFrame({"step": [0], "group": [0], "item": [0], "advantage": [advantage], "selected": [True]})
    (row,) = experience_table(to_frame([trajectory()]), rewards, **named)
    return row


def test_row_holds_the_trajectory_token_by_token():
    row = experience_row(0.5)
    assert row.prompt_ids == [1, 2, 3]
    assert row.completion_ids == [4, 5, 6, 7, 8]
    assert row.loss_mask == [1, 1, 0, 0, 1]
    assert row.logprobs == [-2.0, -2.5, 0.0, 0.0, -4.0]
    assert row.advantage == 0.5
    assert row.spans == ((3, 5), (7, 8))
    assert (row.length, row.trained_tokens, row.idle) == (8, 3, False)
    assert experience_row(0.0).idle
    assert experience_row([0.0, 0.0, 0.0, 0.0, 1.0]).advantage == [0.0, 0.0, 0.0, 0.0, 1.0]


def test_the_verdict_has_its_own_credit_and_plan_and_action_share_another():
    """Tokens 4 (guidance: the verdict) and 5 (action) in turn 0; token 8 in turn 1."""
    rewards = pl.DataFrame(
        {
            "step": [0], "group": [0], "item": [0], "advantage": [1.0], "selected": [True],
            "action_credit": [[0.25, -3.0]], "verdict_credit": [[0.5, 7.0]],
        }
    )  # fmt: skip
    (row,) = experience_table(to_frame([trajectory()]), rewards, verdict_length=lambda ids: 1)
    assert row.advantage == [1.5, 1.25, 0.0, 0.0, -2.0]  # token 8 is action, wherever a verdict might end
    (plan,) = experience_table(to_frame([trajectory()]), rewards, verdict_length=lambda ids: 0)
    assert plan.advantage == [1.25, 1.25, 0.0, 0.0, -2.0]


def test_what_somebody_else_wrote_carries_no_loss():
    row = experience_row(0.5, own={Segment.ACTION})
    assert row.completion_ids == [4, 5, 6, 7, 8]
    assert row.loss_mask == [0, 1, 0, 0, 1]
    assert row.logprobs == [0.0, -2.5, 0.0, 0.0, -4.0]
    assert experience_row(0.5, own=set()).idle


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"logprobs": [0.0]}, "1 values in 'logprobs'"),
        ({"loss_mask": [1, 1, 1]}, "3 values in 'loss_mask'"),
        ({"advantage": [1.0]}, "1 values in 'advantage'"),
        ({"advantage": float("nan")}, "not a finite number"),
        ({"logprobs": [0.0, float("-inf")]}, "not a finite number"),
        ({"prompt_ids": []}, "at least one prompt token"),
        ({"completion_ids": [], "logprobs": [], "loss_mask": []}, "at least one prompt token"),
    ],
)
def test_row_refuses_what_does_not_fit(change, found):
    parts = {"prompt_ids": [1], "completion_ids": [2, 3], "logprobs": [0.0, 0.0], "loss_mask": [1, 0], "advantage": 1.0}
    with pytest.raises(DataError, match=found):
        ExperienceRow(**(parts | change))


def test_collate_pads_on_the_right():
    rows = [experience_row(2.0), ExperienceRow([9], [8], [-1.0], [1], -1.0)]
    batch = {name: tensor.tolist() for name, tensor in collate(rows, pad_id=77).items()}
    assert batch["prompt_ids"] == [[1], [9]]
    assert batch["completion_ids"] == [[2, 3, 4, 5, 6, 7, 8], [8, 77, 77, 77, 77, 77, 77]]
    assert batch["completion_mask"] == [[1] * 7, [1] + [0] * 6]
    assert batch["tool_mask"] == [[0, 0, 1, 1, 0, 0, 1], [1] + [0] * 6]
    assert batch["sampling_per_token_logps"][0] == [0.0, 0.0, -2.0, -2.5, 0.0, 0.0, -4.0]
    assert batch["advantages"] == [2.0, -1.0]
    mixed = collate([rows[0], ExperienceRow([9], [8], [-1.0], [1], [3.0])], pad_id=0)["advantages"]
    assert mixed.tolist() == [[0, 0, 2, 2, 2, 2, 2], [3, 0, 0, 0, 0, 0, 0]]
    assert not collate(rows, pad_id=0, filler=True)["tool_mask"].any()


@given(
    lengths=st.lists(st.integers(2, 60), min_size=1, max_size=25),
    minibatch=st.integers(1, 9),
    budget=st.integers(1, 150),
    passes=st.integers(1, 3),
    idle_share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_plan_takes_every_row_once_per_pass(*, lengths, minibatch, budget, passes, idle_share, seed):
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(lengths)) for _ in range(passes)]
    idle = {i for i in range(len(lengths)) if rng.random() < idle_share}
    plan = plan_updates(lengths, minibatch=minibatch, micro_batch_tokens=budget, orders=orders, idle=idle)
    assert len(plan.micro_batches) == plan.accumulation * plan.updates_per_pass * passes
    per_pass = plan.accumulation * plan.updates_per_pass
    for number in range(passes):
        micros = plan.micro_batches[number * per_pass : (number + 1) * per_pass]
        rows = [row for micro in micros if not micro.filler for row in micro.rows]
        assert sorted(rows) == sorted(set(range(len(lengths))) - idle)
        for start in range(0, per_pass, plan.accumulation):
            step = [micro for micro in micros[start : start + plan.accumulation] if not micro.filler]
            assert sum(len(micro.rows) for micro in step) <= minibatch
    for micro in plan.micro_batches:
        assert micro.rows
        if len(micro.rows) > 1:
            assert len(micro.rows) * max(lengths[i] for i in micro.rows) <= budget


@given(
    lengths=st.lists(st.integers(2, 60), min_size=1, max_size=9),
    budget=st.integers(1, 200),
    overhead=st.integers(0, 60),
)
def test_least_padding_is_the_least(*, lengths, budget, overhead):
    groups = group_with_least_padding(lengths, budget, overhead)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    assert all(len(group) == 1 or len(group) * max(lengths[i] for i in group) <= budget for group in groups)
    ordered = sorted(lengths)

    def cost(cuts):
        edges = [0, *cuts, len(ordered)]
        parts = [ordered[start:end] for start, end in itertools.pairwise(edges)]
        if any(len(part) > 1 and len(part) * part[-1] > budget for part in parts):
            return float("inf")
        return sum(len(part) * part[-1] + overhead for part in parts)

    places = range(1, len(ordered))
    least = min(cost(cuts) for count in range(len(ordered)) for cuts in itertools.combinations(places, count))
    assert sum(len(group) * max(lengths[i] for i in group) + overhead for group in groups) == least


def test_overhead_trades_padding_for_micro_batches():
    lengths = np.random.default_rng(0).integers(700, 6000, 128).tolist()
    plans = {
        overhead: plan_updates(
            lengths, minibatch=32, micro_batch_tokens=16384, orders=[np.arange(128)], overhead=overhead
        )
        for overhead in (None, 800, 0)
    }

    def padding(plan):
        computed = sum(len(m.rows) * max(lengths[i] for i in m.rows) for m in plan.micro_batches if not m.filler)
        return 1 - sum(lengths) / computed

    assert padding(plans[None]) > 2 * padding(plans[800])
    assert padding(plans[0]) == 0
    assert len(plans[None].micro_batches) <= len(plans[800].micro_batches) < 1.5 * len(plans[None].micro_batches)


def test_a_row_longer_than_the_budget_is_a_micro_batch_of_its_own():
    for overhead in (None, 50):
        plan = plan_updates(
            [8000, 20, 30], minibatch=3, micro_batch_tokens=100, orders=[np.arange(3)], overhead=overhead
        )
        assert sorted(micro.rows for micro in plan.micro_batches) == [(0,), (1, 2)]
