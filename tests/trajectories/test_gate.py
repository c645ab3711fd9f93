import polars as pl
import pytest
from played_episodes import Z, episode

from sg_pipeline.config.loader import section
from sg_pipeline.errors import DataError
from sg_pipeline.trajectories.frame import from_frame, to_frame
from sg_pipeline.trajectories.quarantine import gate
from sg_pipeline.trajectories.schema import RolloutTable, ValidTable

GROUPS, SIZE = 4, 4
TRAJECTORIES = [episode(g, i, (Z, Z, Z), won=True, step=5) for g in range(GROUPS) for i in range(SIZE)]


@pytest.fixture
def table() -> pl.DataFrame:
    return to_frame(TRAJECTORIES)


def test_frame_round_trip_is_lossless(table):
    assert from_frame(table) == TRAJECTORIES
    assert from_frame(table.sample(fraction=1.0, shuffle=True, seed=1)) == TRAJECTORIES


def test_gate_passes_sound_rows_unchanged(table):
    valid, quarantined = gate(table, SIZE, section("validate"))
    assert valid.equals(table)
    assert quarantined.is_empty()
    with pytest.raises(DataError, match=r"step 7 has no trajectories: delete its trajectories\.parquet"):
        gate(table.head(0), SIZE, section("validate"), step=7)


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
    "token id is not between 0 and 9": put("completion_ids", pl.lit([3, 10])),
    "token id is not between 0 and 2147483647": put("context_ids", pl.lit([3, -1])),
    "token id is not between 0 and 4": put("completion_ids", pl.lit([3, None])),
    "not finite": put("logprobs", pl.lit([float("nan"), -0.5])),
    "above 0": put("logprobs", pl.lit([0.5, -0.5])),
    "no policy segment": put("segments", pl.lit([0, 2])),
    "polarity is not in the set": put("polarity", pl.lit("excellent")),
    "reward or score": put("reward", pl.lit(float("inf"))),
    "score is not between": put("score", pl.lit(1.5), WHOLE),
    "contradict each other": put("polarity", pl.lit(None)),
    "segments contradict": put("segments", pl.lit([2, 2])),
    "polarity, guidance": lambda t: put("polarity", pl.lit("positive"))(put("guidance_parsed", pl.lit(False))(t)),
    "not contiguous": lambda t: t.filter(~ROW),
    "terminal step": put("terminal", pl.lit(True)),
    "end is not the terminal": put("done", pl.lit(True)),
    "neither ended": put("done", pl.lit(False), LAST),
    "both ended and truncated": put("truncated", pl.lit(True), WHOLE),
    "more than one task": put("won", pl.lit(False)),
    "outcome or score": put("task_path", pl.lit("q")),
    "guidance is on in some turns": lambda t: put("segments", pl.lit([2, 2]))(
        put("guidance_parsed", pl.lit(False))(put("polarity", pl.lit(None))(t))
    ),
    "longer than 10 tokens": put("context_ids", pl.lit([1, 2, 1])),
    "not of step 5": put("step", pl.lit(4), WHOLE),
}


@pytest.mark.parametrize("reason", CORRUPTIONS)
def test_gate_quarantines_a_failing_trajectory_with_reason_and_group(table, reason):
    bad = CORRUPTIONS[reason](table)
    limits = {"vocabulary": 5} if reason.endswith("4") else {"vocabulary": 10} if reason.endswith("9") else {}
    limits |= {"max_length": 10} if reason.startswith("longer") else {}
    valid, quarantined = gate(bad, SIZE, section("validate"), step=5, **limits)
    reasons = quarantined.filter(WHOLE)["reason"].unique().to_list()
    assert len(reasons) == 1
    assert reason in reasons[0]
    assert set(quarantined["group"]) == {1}, "only the group that lost a member goes"
    assert "group incomplete: 3 of 4" in quarantined.filter(~WHOLE)["reason"][0]
    assert len(valid) + len(quarantined) == len(bad), "no row is lost"
    ValidTable.validate(valid)
    if reason != "schema version":
        RolloutTable.validate(bad)


def test_gate_keep_passes_the_rest_of_a_group(table):
    valid, quarantined = gate(CORRUPTIONS["not finite"](table), SIZE, section("validate", incomplete_groups="keep"))
    assert valid.filter(pl.col("group") == 1)["item"].unique().to_list() == [0, 1, 3]
    assert set(quarantined["item"]) == {2}


def test_gate_missing_trajectory_makes_its_group_incomplete(table):
    valid, quarantined = gate(table.filter(~WHOLE), SIZE, section("validate"))
    assert set(valid["group"]) == {0, 2, 3}
    assert quarantined["reason"].unique().to_list() == ["group incomplete: 3 of 4 trajectories are sound"]


OTHER_TASK = {
    "more than one task in its group": put("task_id", pl.lit("u"), WHOLE),
    "more trajectories in its group than 4": lambda t: pl.concat(
        [t, t.filter(WHOLE).with_columns(item=pl.lit(4).cast(t.schema["item"]))]
    ),
}


@pytest.mark.parametrize("incomplete", ["drop", "keep"])
@pytest.mark.parametrize("reason", OTHER_TASK)
def test_gate_quarantines_an_incomparable_group_completely(table, reason, incomplete):
    bad = OTHER_TASK[reason](table)
    valid, quarantined = gate(bad, SIZE, section("validate", incomplete_groups=incomplete, max_quarantined_share=0.5))
    assert quarantined["reason"].unique().to_list() == [reason]
    assert set(quarantined["group"]) == {1}
    assert set(valid["group"]) == {0, 2, 3}
    # A stray trajectory with a different fault goes alone.
    stray = put("logprobs", pl.lit([0.5, 0.5]), pl.col("item") == (2 if "task" in reason else 4))(bad)
    kept, _ = gate(stray.filter(pl.col("group") == 1), SIZE, section("validate", incomplete_groups="keep"))
    assert set(kept["item"]) == set(range(SIZE)) - ({2} if "task" in reason else {4})


def test_valid_table_with_two_steps_or_tasks_raises(table):
    for bad in (put("step", pl.lit(4), WHOLE)(table), put("task_id", pl.lit("u"), WHOLE)(table)):
        with pytest.raises(Exception, match="every group is of one task, and the table of one step"):
            ValidTable.validate(bad)


def test_gate_too_many_quarantined_trajectories_raise(table):
    bad = table.with_columns(polarity=pl.lit("?"))
    with pytest.raises(
        DataError, match=r"16 of 16 trajectories of step 5 .* polarity is not in the set.*max_quarantined_share"
    ):
        gate(bad, SIZE, section("validate"))
