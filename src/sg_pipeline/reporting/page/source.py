"""What the viewer is given: tables of trajectories, each with where it comes from."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from sg_pipeline.config.rewards import PolarityValues
from sg_pipeline.trajectories.types import Polarity, Segment

TRAINING = "training"
"""The origin of episodes that were trained on; any other origin is an evaluation, named in words."""

TABLE_COLUMNS = (
    "step", "group", "item", "task_id", "split", "task_type", "turn", "observation", "guidance", "polarity",
    "guidance_parsed", "action", "action_parsed", "action_valid", "reward", "done", "won", "truncated", "score",
    "logprobs", "segments",
)  # fmt: skip
"""The columns of a trajectory table that the page reads: who loads many tables loads these alone."""

REWARD_COLUMNS = ("r_total", "advantage")

EPISODE = ["split", "step", "group", "item"]
"""What names an episode within a source; an evaluation's groups are counted anew in every split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewerSource:
    """One table of trajectories: a step of training, or an evaluation.

    Attributes:
        method: e.g. "grpo_sg_gr"; what the reader compares.
        seed: of the run.
        run: the run's name.
        origin: "training", or "evaluation: <policy> <mode>".
        phase: of the trust schedule, e.g. "phase_1_warmup"; None for evaluations.
        step: how many steps the playing policy had been trained for.
        trust: lambda(u) of the step; None for evaluations.
        table: trajectories (`trajectories.schema.RolloutTable`), at least `TABLE_COLUMNS`. Rows that are in quarantine
            may be among them.
        rewards: one row a trajectory with `group`, `item`, `r_total`, `advantage` (`rewards.advantages`), or None. A
            trajectory that is not in it was not trained on.
        gaps: |trainer - sampler| log-probability where it was measured: `group`, `item`, `turn`, `gap_max`; or None.
        values: what each verdict was worth.
    """

    method: str
    seed: int
    run: str
    origin: str
    phase: str | None
    step: int
    trust: float | None
    table: pl.DataFrame
    rewards: pl.DataFrame | None = None
    gaps: pl.DataFrame | None = None
    values: PolarityValues = field(default_factory=lambda: PolarityValues())

    @property
    def trained(self) -> bool:
        """Whether these are episodes of training."""
        return self.origin == TRAINING


def spread_steps(steps: Sequence[int], count: int) -> list[int]:
    """Choose at most `count` of the steps, evenly spread, the first and the last among them.

    For whoever has more tables than memory: a page of a whole study need not read every step of every run.
    """
    ordered = sorted(set(steps))
    if count >= len(ordered):
        return ordered
    places = [round(place * (len(ordered) - 1) / max(count - 1, 1)) for place in range(count)]
    return [ordered[place] for place in places]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A source as the page needs it.

    Attributes:
        source: where it comes from.
        episodes: of `episodes_of`.
        turns: of `turns_of`.
    """

    source: ViewerSource
    episodes: pl.DataFrame
    turns: pl.DataFrame


def prepare(source: ViewerSource) -> Prepared:
    """Sort and sum a source once; how much of it is shown is tried out more than once."""
    return Prepared(source, episodes_of(source), turns_of(source))


def episodes_of(source: ViewerSource) -> pl.DataFrame:
    """One row an episode, sorted by `EPISODE`: task, outcome, turns, r_env, r_sg, r_total, advantage, `held_back`.

    `r_env` is the sum of the environment's rewards as they were, `r_sg` of the verdicts' worth (None where the episode
    has no guidance); `r_total` and `advantage` are None where none were computed. `held_back` says that rewards were
    computed, but not for this episode.
    """
    worth = pl.col("polarity").replace_strict(
        {p.value: getattr(source.values, p.value) for p in Polarity}, default=0.0, return_dtype=pl.Float64
    )
    episodes = source.table.sort([*EPISODE, "turn"]).group_by(EPISODE, maintain_order=True).agg(
        pl.col("task_id", "task_type", "won", "truncated", "score").first(),
        turns=pl.len().cast(pl.Int64),
        r_env=pl.col("reward").sum(),
        r_sg=pl.when(pl.col("polarity").is_not_null().any()).then(worth.sum()),
    )  # fmt: skip
    if source.rewards is None:
        nothing = pl.lit(None, dtype=pl.Float64)
        return episodes.with_columns(r_total=nothing, advantage=nothing, held_back=pl.lit(False))
    rewards = source.rewards.select("group", "item", *REWARD_COLUMNS, held_back=pl.lit(False))
    joined = episodes.join(rewards, on=["group", "item"], how="left", maintain_order="left")
    return joined.with_columns(pl.col("held_back").fill_null(True))


def turns_of(source: ViewerSource) -> pl.DataFrame:
    """The table's rows sorted by `EPISODE` and turn, with `guidance_logprob`, `action_logprob`, `gap_max`.

    The tokens are left out. The log-probabilities are means over the turn's guidance and action tokens, as the sampler
    had them; None where there is no such token, or where the lists do not belong together (a row in quarantine).
    """
    turns = source.table.sort([*EPISODE, "turn"]).with_row_index("row")
    tokens = (
        turns.filter(pl.col("logprobs").list.len() == pl.col("segments").list.len())
        .select("row", "logprobs", "segments")
        .explode("logprobs", "segments")
        .with_columns(pl.col("logprobs").cast(pl.Float64))
    )
    for name, segment in (("guidance_logprob", Segment.GUIDANCE), ("action_logprob", Segment.ACTION)):
        means = (
            tokens.filter(pl.col("segments") == int(segment))
            .group_by("row", maintain_order=True)
            .agg(pl.col("logprobs").mean().alias(name))
        )
        turns = turns.join(means, on="row", how="left", maintain_order="left")
    turns = turns.drop("logprobs", "segments")
    if source.gaps is None:
        return turns.with_columns(gap_max=pl.lit(None, dtype=pl.Float64))
    gaps = source.gaps.select("group", "item", "turn", pl.col("gap_max").cast(pl.Float64))
    return turns.join(gaps, on=["group", "item", "turn"], how="left", maintain_order="left")
