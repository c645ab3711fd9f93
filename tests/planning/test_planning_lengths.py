"""Lengths and seconds from a run's recorded steps."""

import json

import polars as pl
import pytest
from planned import LENGTHS

from sg_pipeline.errors import DataError
from sg_pipeline.planning.lengths import assumed, read_recorded


def write_step(data, number, *, turns=12, trajectories=4, tokens=60, seconds=2.0, **more):
    steps = data / "08_reporting" / "mine" / "steps"
    steps.mkdir(parents=True, exist_ok=True)
    step = {
        "turns": turns, "trajectories": trajectories, "policy_tokens": tokens,
        "training": {"rows": trajectories, "rows_idle": 1},
        "seconds": {"environment": 0.6, "sampling": seconds, "format": 0.12, "training": 1.0, "total": seconds + 1.8},
    }  # fmt: skip
    (steps / f"step_{number:03d}.json").write_text(json.dumps({**step, **more}))


def write_trajectories(data, number):
    """Write four episodes of three turns; one writes twice as much as the others."""
    rows = [
        {"step": number, "group": 0, "item": item, "turn": turn, "context_ids": [1] * (20 if turn == 0 else 4),
         "completion_ids": [2] * (8 if item == 0 else 4)}
        for item in range(4)
        for turn in range(3)
    ]  # fmt: skip
    path = data / "03_primary" / "mine" / f"step_{number:03d}" / "trajectories.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows).write_parquet(path)


def test_steps_tell_turns_tokens_and_seconds(tmp_path):
    for number in range(3):
        write_step(tmp_path, number, seconds=2.0 + number)
        write_trajectories(tmp_path, number)
    found = read_recorded(tmp_path, "mine", LENGTHS, workers=2)
    assert (found.steps, found.seconds["sampling"], found.seconds["total"]) == (3, 3.0, 4.8)
    lengths = found.lengths
    assert (lengths.turns, lengths.completion, lengths.idle_share) == (3.0, 5.0, 0.25)
    assert (lengths.prompt, lengths.observation) == (20.0, 4.0)
    assert lengths.longest_completion == 8 / 5
    assert lengths.spread == pytest.approx((20 + 24 + 8) / (20 + 15 + 8))
    assert lengths.environment_ms == pytest.approx(1000 * 2 * 0.6 / 12)
    assert lengths.format_ms == pytest.approx(10)
    assert lengths.source == "measured in 3 steps of run 'mine'"


def test_contexts_are_assumed_where_the_trajectories_are_gone(tmp_path):
    write_step(tmp_path, 0)
    lengths = read_recorded(tmp_path, "mine", LENGTHS, workers=1).lengths
    assert (lengths.prompt, lengths.observation, lengths.turns) == (700, 45, 3.0)
    assert "contexts assumed" in lengths.source


def test_a_run_without_steps_tells_nothing(tmp_path):
    assert read_recorded(tmp_path, "mine", LENGTHS, workers=1) is None


def test_peaks_are_the_largest_of_the_steps_that_tell_them(tmp_path):
    write_step(tmp_path, 0)
    assert read_recorded(tmp_path, "mine", LENGTHS, workers=1).memory == {}
    write_step(tmp_path, 1, memory={"sampling": 0.5, "training": 2.0})
    write_step(tmp_path, 2, memory={"sampling": 1.0, "training": 1.5, "environments": 0.1})
    found = read_recorded(tmp_path, "mine", LENGTHS, workers=1)
    assert found.memory == {"sampling": 1.0, "training": 2.0, "environments": 0.1}


@pytest.mark.parametrize("content", ["{", "[]", '{"turns": 0}', '{"turns": 3, "trajectories": 1, "policy_tokens": 5}'])
def test_a_broken_step_is_named(tmp_path, content):
    write_step(tmp_path, 0)
    (tmp_path / "08_reporting/mine/steps/step_000.json").write_text(content)
    with pytest.raises(DataError, match=r"step_000.json does not hold the figures of a step.*plan.measured=false"):
        read_recorded(tmp_path, "mine", LENGTHS, workers=1)


def test_a_broken_table_is_named(tmp_path):
    write_step(tmp_path, 0)
    write_trajectories(tmp_path, 0)
    (tmp_path / "03_primary/mine/step_000/trajectories.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match=r"trajectories.parquet is not a table of trajectories"):
        read_recorded(tmp_path, "mine", LENGTHS, workers=1)


def test_a_trajectory_is_its_prompt_completions_and_observations():
    lengths = assumed(LENGTHS)
    assert lengths.tokens(1) == 740
    assert lengths.tokens(3) == 700 + 3 * 40 + 2 * 45
