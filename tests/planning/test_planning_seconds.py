"""Seconds: what they follow from, and what the learner would cut."""

import numpy as np
import pytest
from planned import cpu_case, paper_case, published, small_config

from sg_pipeline.planning.disk import disk
from sg_pipeline.planning.seconds import micro_batches, play_seconds, run_seconds, step_time, turns_of
from sg_pipeline.planning.shape import shape_of


@pytest.fixture(scope="module")
def paper():
    return paper_case(published("Qwen3-1.7B"))


def test_turns_are_spread_around_their_average_and_end_at_the_limit(paper):
    turns = turns_of(paper, 128)
    assert turns.mean() == pytest.approx(40)
    assert (turns.min(), turns.max()) == (30, 50)
    early = turns_of(paper.changed({"rollout.max_turns": 30}), 5)
    assert np.array_equal(early, [30] * 5)


def test_training_is_operations_at_the_reached_rate(paper):
    time = step_time(paper)
    # 128 trajectories of 4055 tokens. A weight: eight operations, two more for the reference; the output layer's at the
    # policy's tokens. Attention, causal: forward, again, reference, and 2.5 backward.
    weights = paper.shape.matrix_parameters + paper.shape.head * paper.policy_share
    rough = 128 * 4055 * (weights * 10 + 4 * 28 * 2048 * 4055 * 5.5 / 2)
    assert time.flops == pytest.approx(rough, rel=0.1)
    assert time.parts["training"] > time.flops / (66.9e12 * 0.4)
    faster = step_time(paper.changed({"base_model.dtype": "bfloat16"}))
    assert faster.parts["training"] < time.parts["training"] / 5
    assert step_time(paper.changed({"train.beta": 0.0})).flops < 0.85 * time.flops
    assert step_time(paper.changed({"train.num_iterations": 2})).flops == pytest.approx(2 * time.flops)


def test_micro_batches_are_within_the_budget_and_hold_every_trajectory(paper):
    micros, updates, rows = micro_batches(paper)
    assert updates == 1
    assert sorted(i for micro in micros for i in micro.rows) == list(range(128))
    assert all(len(micro.rows) * max(rows[i] for i in micro.rows) <= 16384 for micro in micros)
    skipped = micro_batches(paper.changed({"train.beta": 0.0, "plan.lengths.idle_share": 0.5}))[0]
    assert len({i for micro in skipped for i in micro.rows}) == 128  # the case's lengths decide, not the configuration


def test_idle_trajectories_are_not_computed_without_a_kl_term():
    shape = shape_of(small_config(), "small", "test")
    case = cpu_case(shape, 100, 50, rows=8, micro_batch_tokens=400)
    half = cpu_case(shape, 100, 50, rows=8, micro_batch_tokens=400)
    object.__setattr__(half.lengths, "idle_share", 0.5)
    assert step_time(half).flops == pytest.approx(step_time(case).flops / 2)
    assert step_time(half.changed({"train.beta": 0.1})).flops > step_time(case).flops


def test_a_decoding_step_is_bound_by_memory_or_by_the_host(paper):
    slow = paper.changed({"plan.efficiency.layer_ms": 8.0})
    assert play_seconds(slow, 128) > 3 * play_seconds(paper, 128)
    narrow = paper.changed({"plan.devices.bandwidth_gb_s": 100.0})
    assert play_seconds(narrow, 128) > 5 * play_seconds(paper, 128)
    assert play_seconds(paper, 0) == 0
    assert play_seconds(paper, 256) < 2 * play_seconds(paper, 128)


def test_devices_share_a_step_and_pay_for_exchange(paper):
    eight = paper.changed({"plan.parallel": "ddp", "plan.devices.count": 8})
    one, shared = step_time(paper), step_time(eight)
    assert shared.parts["training"] < one.parts["training"] / 6
    assert shared.flops == pytest.approx(one.flops / 8, rel=0.1)
    assert one.parts["sync"] == 0 < shared.parts["sync"]
    assert (
        step_time(paper.changed({"plan.parallel": "fsdp", "plan.devices.count": 8})).parts["sync"]
        > (shared.parts["sync"])
    )


def test_a_run_is_its_steps_evaluations_and_checkpoints(paper):
    run = run_seconds(paper, 100.0)
    assert run["steps"] == 8000
    half = run_seconds(paper.changed({"evaluate.plain": False}), 100.0)
    assert half["evaluation"] == pytest.approx(run["evaluation"] / 2)
    weights = 1_720_574_976 * 4
    assert disk(paper)["checkpoints"] == weights + 8 * 3 * weights  # the base has no optimizer state
    fewer = paper.changed({"coevolve.checkpoint_every": 80})
    assert disk(fewer)["checkpoints"] == weights + 3 * weights
