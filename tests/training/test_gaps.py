"""The gap between sampler and trainer finds its way to the turn that it was measured in."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from learning_tools import TEMPERATURE

from sg_pipeline.config.loader import section
from sg_pipeline.errors import SamplingError
from sg_pipeline.pipelines.step import train
from sg_pipeline.rewards.credit import EPSILON
from sg_pipeline.training.experience import experience_table
from sg_pipeline.training.gaps import explained_gap, gap_table
from sg_pipeline.training.learner import train_step
from sg_pipeline.trajectories.frame import to_frame
from sg_pipeline.trajectories.types import Polarity, Segment, Task, Trajectory, Turn


def turn(context: list[int], completion: list[int], logprobs: list[float]) -> Turn:
    segments = [int(Segment.GUIDANCE)] * (len(completion) - 1) + [int(Segment.ACTION)]
    return Turn("o", context, completion, logprobs, segments, "g", Polarity.POSITIVE, True, "a", True, True, 0.0, False)


def episode(item: int, logprob: float) -> Trajectory:
    turns = (turn([1, 2, 3], [4, 5], [logprob] * 2), turn([6], [7, 8, 9], [logprob] * 3))
    return Trajectory(Task("t", "alfworld", "train", "pick", "p", "0"), 0, item, 0, turns, False, True, 0.0)


@pytest.fixture
def tables() -> tuple[pl.DataFrame, pl.DataFrame]:
    turns = to_frame([episode(item, -3.0) for item in range(3)])
    rewards = pl.DataFrame({"step": [0] * 3, "group": [0] * 3, "item": [0, 1, 2], "advantage": [1.0, 0.0, -1.0],
                            "selected": [True, False, True]})  # fmt: skip
    return turns, rewards


def test_tokens_are_summed_up_by_turn(tables) -> None:
    # Tokens 1..8 of nine: contexts at 1, 2 and 5, completions at 3, 4 and 6, 7, 8.
    nan = np.nan
    gaps = {1: np.array([nan, nan, 0.1, 0.3, nan, 0.0, nan, 0.5])}
    table = gap_table(experience_table(*tables), gaps)
    # Row 1 of the experience is the third trajectory: the second was not selected.
    assert table.select("step", "group", "item", "turn").rows() == [(0, 0, 2, 0), (0, 0, 2, 1)]
    assert table["gap_max"].to_list() == pytest.approx([0.3, 0.5])
    assert table["gap_mean"].to_list() == pytest.approx([0.2, 0.25])


def test_nothing_measured_is_an_empty_table_with_all_columns(tables) -> None:
    empty = gap_table(experience_table(*tables), {})
    assert empty.height == 0
    assert empty.columns == ["step", "group", "item", "turn", "gap_mean", "gap_max"]
    assert gap_table(experience_table(*tables), {0: np.full(8, np.nan)}).height == 0


def test_a_sampler_that_is_off_shows_in_its_own_turns(tables, make_policy) -> None:
    turns, rewards = tables
    policy = make_policy()
    experience = experience_table(turns, rewards)
    trained = train_step(policy, experience, section("train"), 0, 0, temperature=TEMPERATURE)
    table = gap_table(experience, trained.gaps)
    assert table.height == 4  # both turns of both trajectories that were selected
    assert table["gap_max"].max() == pytest.approx(trained.metrics["logp_gap_max"])
    assert table["gap_max"].min() > EPSILON  # recorded as -3.0, which they are not


def train_node(policy, tables, sampling=None, **config):
    """Call the node that trains, with a sampler that recorded what the policy would not have."""
    turns, rewards = tables
    return train(
        policy,
        turns,
        rewards,
        {"step": policy.step},
        {"timings": {"total_s": 0.0}, "counters": {}},
        Path(),
        section("train", minibatch=2, **config),
        section("rollout", temperature=TEMPERATURE),
        sampling or section("sampling", engine="transformers"),
        section("run", name="r"),
    )


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_gap_of_a_first_step_ends_the_run(tables, make_policy, engine) -> None:
    sampling = section("sampling", engine=engine, server={"url": "http://h:1"} if engine == "vllm" else {})
    for correction in ("none", "token_truncate"):
        with pytest.raises(SamplingError, match=f"step 0: .*sampling.engine {engine}.*rounding explains 0.001"):
            train_node(make_policy(), tables, sampling, sampler_correction=correction)


def test_gap_of_a_later_step_is_a_warning(tables, make_policy, make_experience, caplog) -> None:
    policy = make_policy()
    train_step(policy, make_experience(policy), section("train"), 0, 0, temperature=TEMPERATURE)
    policy.step = 0  # of the recorded trajectories
    metrics, _, _ = train_node(policy, tables)
    assert metrics["training"]["logp_gap_mean"] > 0.1
    assert "the policy that is trained is not the one that sampled" in caplog.text


def test_gap_after_steps_without_advantage_is_that_of_a_first_step(tables, make_policy) -> None:
    turns, rewards = tables
    policy = make_policy()
    train_node(policy, (turns, rewards.with_columns(advantage=0.0)))
    policy.step = 0
    with pytest.raises(SamplingError):
        train_node(policy, tables)


@pytest.mark.parametrize(
    ("compute", "dtype", "engine", "temperature", "explained"),
    [
        ("weights", "float32", "transformers", 1.0, 1e-3),
        ("weights", "bfloat16", "transformers", 1.0, 0.125),
        ("bfloat16", "float32", "transformers", 1.0, 0.125),
        ("tf32", "float32", "transformers", 1.0, 2**-6),
        ("weights", "float16", "transformers", 0.5, 2**-5),
        ("weights", "float32", "vllm", 1.0, 0.125),
    ],
)
def test_explained_gap_follows_the_shortest_type(make_policy, compute, dtype, engine, temperature, explained) -> None:
    policy = make_policy()
    policy.model.to(getattr(torch, dtype))
    policy.compute = compute
    sampling = section(
        "sampling", engine=engine, server={"url": "http://h:1"} if engine == "vllm" else {}, vllm={"dtype": "bfloat16"}
    )
    assert explained_gap(policy, sampling, temperature) == explained
