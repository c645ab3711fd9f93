"""The versioned schema of trajectory tables: one row a turn, one table a co-evolution step.

Two strengths of the same table. `RolloutTable` is the structure that a rollout must write (columns, types).
`ValidTable` adds what a row must satisfy before it may reach the gradient; a table that passes it holds
only whole trajectories in whole groups. Both are declared on the catalog; `quarantine.py` sorts the
rows of the first into the second.
"""

import pandera.polars as pa
import polars as pl
from pandera.polars import PolarsData

from sg_pipeline.trajectories.types import (
    ANY,
    GROUP_KEY,
    SCHEMA_VERSION,
    TASK_COLUMNS,
    TRAJECTORY_KEY,
    Polarity,
    Segment,
)

LOGPROB_TOLERANCE = 1e-5
"""A float32 log-softmax may exceed 0 by rounding."""


class RolloutTable(pa.DataFrameModel):
    """Columns of a trajectory table; see `types.Turn` and `types.Trajectory` for what each means."""

    schema_version: int = pa.Field(eq=SCHEMA_VERSION)
    step: int = pa.Field(ge=0)
    group: int = pa.Field(ge=0)
    item: int = pa.Field(ge=0)
    task_id: str
    environment: str
    split: str
    task_type: str
    task_path: str
    task_sha256: str
    turn: int = pa.Field(ge=0)
    terminal: bool
    observation: str
    guidance: str = pa.Field(nullable=True)
    polarity: str = pa.Field(nullable=True)
    guidance_parsed: bool
    action: str
    action_parsed: bool
    action_valid: bool
    reward: float = pa.Field(nullable=True)
    done: bool
    won: bool
    truncated: bool
    score: float = pa.Field(nullable=True)
    context_ids: pl.List(pl.Int32)  # type: ignore[valid-type]
    completion_ids: pl.List(pl.Int32)  # type: ignore[valid-type]
    logprobs: pl.List(pl.Float32)  # type: ignore[valid-type]
    segments: pl.List(pl.Int8)  # type: ignore[valid-type]

    class Config:
        """Reject missing and extra columns."""

        strict = True


COLUMNS: dict[str, pl.DataType] = {name: column.dtype.type for name, column in RolloutTable.to_schema().columns.items()}
"""Column -> type in polars, in order."""


def turn_faults(vocabulary: int = ANY) -> dict[str, pl.Expr]:
    """What can be wrong with a single row: reason -> expression that is true where it is."""
    ids, logprobs, segments = pl.col("completion_ids"), pl.col("logprobs"), pl.col("segments")
    known = pl.element().is_between(0, vocabulary - 1).fill_null(False)
    polarity, guided = pl.col("polarity"), segments.list.contains(int(Segment.GUIDANCE))
    equal = (ids.list.len() == logprobs.list.len()) & (ids.list.len() == segments.list.len())
    return {
        f"schema version is not {SCHEMA_VERSION}": pl.col("schema_version") != SCHEMA_VERSION,
        "lengths of completion_ids, logprobs and segments differ": ~equal,
        "completion is empty": ids.list.len() == 0,
        "context is empty": pl.col("context_ids").list.len() == 0,
        f"a token id is not between 0 and {vocabulary - 1}": ~(
            ids.list.eval(known).list.all() & pl.col("context_ids").list.eval(known).list.all()
        ),
        "a log-probability is not finite": (~logprobs.list.eval(pl.element().is_finite().fill_null(False)).list.all()),
        "a log-probability is above 0": (logprobs.list.max() > LOGPROB_TOLERANCE).fill_null(False),
        "a completion token is in no policy segment": ~segments.list.eval(
            pl.element().is_in([int(Segment.GUIDANCE), int(Segment.ACTION)]).fill_null(False)
        ).list.all(),
        "polarity is not in the set": ~polarity.is_in([p.value for p in Polarity]).fill_null(True),
        "polarity, guidance and segments contradict each other": pl.when("guidance_parsed")
        .then(polarity.is_null() | pl.col("guidance").is_null() | ~guided)
        .otherwise((polarity != Polarity.NEUTRAL.value).fill_null(guided)),
        "reward or score is not finite": ~(
            pl.col("reward").is_finite().fill_null(False) & pl.col("score").is_finite().fill_null(False)
        ),
        "score is not between 0 and 1": ~pl.col("score").is_between(0.0, 1.0).fill_null(True),
    }


def trajectory_faults(max_length: int = ANY) -> dict[str, pl.Expr]:
    """What can be wrong with a trajectory as a whole: reason -> expression to use over `TRAJECTORY_KEY`."""
    turn = pl.col("turn")
    tokens = pl.col("context_ids").list.len().sum() + pl.col("completion_ids").list.len().sum()
    last = turn == turn.max()
    return {
        "steps are not contiguous from 0": (turn.min() != 0)
        | (turn.n_unique() != pl.len())
        | (turn.max() + 1 != pl.len()),
        "not exactly one terminal step, at the end": (pl.col("terminal").sum() != 1)
        | ~(pl.col("terminal") & last).any(),
        "an environment's end is not the terminal step": (pl.col("done") & ~last).any(),
        "neither ended nor truncated": ~pl.col("done").any() & ~pl.col("truncated").any(),
        "both ended and truncated": pl.col("done").any() & pl.col("truncated").any(),
        "more than one task, outcome or score in one trajectory": _differ(*TASK_COLUMNS, "won", "truncated", "score"),
        "guidance is on in some turns and off in others": pl.col("polarity").is_null().n_unique() != 1,
        f"longer than {max_length} tokens": tokens > max_length,
    }


def group_faults(size: int = ANY) -> dict[str, pl.Expr]:
    """What can be wrong with a group of `size` trajectories: reason -> expression to use over `GROUP_KEY`."""
    item = pl.col("item")
    return {
        "more than one task in its group": _differ(*TASK_COLUMNS),
        f"more trajectories in its group than {size}": (item.n_unique() > size) | (item.max() >= size),
    }


def _differ(*columns: str) -> pl.Expr:
    return pl.any_horizontal(*(pl.col(column).n_unique() != 1 for column in columns))


class ValidTable(RolloutTable):
    """A trajectory table in which every row may be trained on."""

    @pa.dataframe_check(name="every turn is sound")
    def turns_are_sound(cls, data: PolarsData) -> pl.LazyFrame:
        """True for each row without a fault."""
        return data.lazyframe.select(~pl.any_horizontal(*turn_faults().values()))

    @pa.dataframe_check(name="every trajectory is whole")
    def trajectories_are_whole(cls, data: PolarsData) -> pl.LazyFrame:
        """True for each row of a complete trajectory."""
        return data.lazyframe.select(~pl.any_horizontal(*trajectory_faults().values()).over(TRAJECTORY_KEY))

    @pa.dataframe_check(name="every group is of one task, and the table of one step")
    def groups_are_comparable(cls, data: PolarsData) -> pl.LazyFrame:
        """True for each row of a sound group; False for all rows if the table has several steps."""
        unsound = pl.any_horizontal(*group_faults().values()).over(GROUP_KEY)
        return data.lazyframe.select(~unsound & (pl.col("step").n_unique() == 1))
