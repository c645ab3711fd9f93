import polars as pl
import pytest

from sg_pipeline.errors import DataError
from sg_pipeline.trajectories.frame import from_frame, to_frame
from sg_pipeline.trajectories.quarantine import GateConfig, gate
from sg_pipeline.trajectories.schema import RolloutTable, ValidTable
from sg_pipeline.trajectories.types import Polarity, Segment, Task, Trajectory, Turn

GROUPS, SIZE, TURNS = 4, 4, 3


def trajectory(group: int, item: int) -> Trajectory:
    turns = tuple(
        Turn(
            observation=f"o{t}", context_ids=[1, 2], completion_ids=[3, 4], logprobs=[-0.125, -0.25],
            segments=[int(Segment.GUIDANCE), int(Segment.ACTION)], guidance="find mug", polarity=Polarity.NEUTRAL,
            guidance_parsed=True, action="look", action_parsed=True, action_valid=True,
            reward=float(t == TURNS - 1), done=t == TURNS - 1,
        )
        for t in range(TURNS)
    )  # fmt: skip
    return Trajectory(Task("t", "alfworld", "train", "pick", "p", "s"), group, item, 5, turns, True, False, 1.0)


TRAJECTORIES = [trajectory(g, i) for g in range(GROUPS) for i in range(SIZE)]


@pytest.fixture
def table() -> pl.DataFrame:
    return to_frame(TRAJECTORIES)


def test_round_trip_is_lossless(table):
    assert from_frame(table) == TRAJECTORIES
    assert from_frame(table.sample(fraction=1.0, shuffle=True, seed=1)) == TRAJECTORIES


def test_sound_rows_pass_untouched(table):
    valid, quarantined = gate(table, SIZE, GateConfig())
    assert valid.equals(table)
    assert quarantined.is_empty()


ROW = (pl.col("group") == 1) & (pl.col("item") == 2) & (pl.col("turn") == 1)
LAST = (pl.col("group") == 1) & (pl.col("item") == 2) & (pl.col("turn") == 2)
WHOLE = (pl.col("group") == 1) & (pl.col("item") == 2)


def put(column: str, value, where=ROW):
    return lambda t: t.with_columns(pl.when(where).then(value).otherwise(column).alias(column).cast(t.schema[column]))


CORRUPTIONS = {
    "schema version": put("schema_version", 99),
    "lengths of": put("logprobs", pl.lit([-0.5])),
    "completion is empty": lambda t: t.with_columns(
        [
            pl.when(ROW).then(pl.lit([], dtype=t.schema[c])).otherwise(c).alias(c)
            for c in ("completion_ids", "logprobs", "segments")
        ]
    ),
    "context is empty": put("context_ids", pl.lit([], dtype=pl.List(pl.Int32))),
    "token id is negative": put("completion_ids", pl.lit([3, -1])),
    "not finite": put("logprobs", pl.lit([float("nan"), -0.5])),
    "above 0": put("logprobs", pl.lit([0.5, -0.5])),
    "no policy segment": put("segments", pl.lit([0, 2])),
    "polarity is not in the set": put("polarity", pl.lit("excellent")),
    "reward or score": put("reward", pl.lit(float("inf"))),
    "not contiguous": lambda t: t.filter(~ROW),
    "terminal step": put("terminal", pl.lit(True)),
    "end is not the terminal": put("done", pl.lit(True)),
    "neither ended": put("done", pl.lit(False), LAST),
    "more than one task": put("won", pl.lit(False)),
}


@pytest.mark.parametrize("reason", CORRUPTIONS)
def test_what_fails_is_quarantined_with_its_reason_and_its_group(table, reason):
    bad = CORRUPTIONS[reason](table)
    valid, quarantined = gate(bad, SIZE, GateConfig())
    reasons = quarantined.filter(WHOLE)["reason"].unique().to_list()
    assert len(reasons) == 1
    assert reason in reasons[0]
    assert set(quarantined["group"]) == {1}, "only the group that lost a member goes"
    assert "group incomplete: 3 of 4" in quarantined.filter(~WHOLE)["reason"][0]
    assert len(valid) + len(quarantined) == len(bad), "no row is lost"
    ValidTable.validate(valid)
    if reason != "schema version":
        RolloutTable.validate(bad)


def test_keep_trains_on_what_is_left_of_a_group(table):
    valid, quarantined = gate(CORRUPTIONS["not finite"](table), SIZE, GateConfig(incomplete_groups="keep"))
    assert valid.filter(pl.col("group") == 1)["item"].unique().to_list() == [0, 1, 3]
    assert set(quarantined["item"]) == {2}


def test_a_missing_trajectory_makes_its_group_incomplete(table):
    valid, quarantined = gate(table.filter(~WHOLE), SIZE, GateConfig())
    assert set(valid["group"]) == {0, 2, 3}
    assert quarantined["reason"].unique().to_list() == ["group incomplete: 3 of 4 trajectories are sound"]


def test_too_many_unsound_trajectories_stop_the_run_in_one_sentence(table):
    bad = table.with_columns(polarity=pl.lit("?"))
    with pytest.raises(
        DataError, match=r"16 of 16 trajectories of step 5 .* polarity is not in the set.*max_quarantined_share"
    ):
        gate(bad, SIZE, GateConfig())
