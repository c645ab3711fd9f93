"""Input of the trajectory viewer: tables of trajectories, the groups chosen from them, and their packed form.

What belongs together is shown together, as a *bundle*: in training, the groups of one task in the same step of all runs
with one seed (methods that share a seed play the same tasks); in evaluation, one game under every policy, mode and run.
A reader can therefore compare each episode with its counterparts.

The packed form is base64 of gzipped JSON; `assets/data.js` reads it:

    {version, strings, sources: [{method, seed, run, origin, phase, step, trust, values}],
     episodes: {column: [one value per episode]}, turns: {column: [one value per turn]}}

Texts are indices into `strings` (-1: none), each text is stored once. The turns of an episode are consecutive; episodes
are sorted by source, split, group, item.
"""

import base64
import gzip
import json
import math
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import polars as pl

from sg_pipeline.config.rewards import PolarityValues
from sg_pipeline.randomness import derive_seed
from sg_pipeline.rewards.dials import CREDITS
from sg_pipeline.rewards.returns import step_reward
from sg_pipeline.trajectories.types import Polarity, Segment

TRAINING = "training"
"""The origin of training episodes; every other origin is an evaluation, described in words."""

TABLE_COLUMNS = (
    "step", "group", "item", "task_id", "split", "task_type", "turn", "observation", "guidance", "polarity",
    "guidance_parsed", "action", "action_parsed", "action_valid", "reward", "done", "won", "truncated", "score",
    "logprobs", "segments",
)  # fmt: skip
"""The columns of a trajectory table that the page reads; a caller that loads many tables loads only these."""

EPISODE = ["split", "step", "group", "item"]
"""Key of an episode within a source; group numbers of an evaluation restart in every split."""

VERSION = 1
"""Version of the packed form, as `assets/data.js` expects it."""

FLAGS = {"guidance_parsed": 1, "action_parsed": 2, "action_valid": 4, "done": 8}
"""Bits of a turn's `flags`."""

_QUARTERS = 4
_GZIP_LEVEL = 6  # level 9 makes a page of three runs 4 % smaller and takes twice as long


@dataclass(frozen=True, kw_only=True)
class ViewerSource:
    """One table of trajectories: a step of training, or an evaluation.

    Attributes:
        method, seed, run: e.g. "grpo_sg_gr"; the reader compares methods.
        origin: "training", or "evaluation: <policy> <mode>".
        phase: of the trust schedule, e.g. "phase_1_warmup"; None for evaluations.
        step: number of steps for which the playing policy had been trained.
        trust: lambda(u) of the step; None for evaluations.
        values: reward of each polarity.
        table: trajectories (`trajectories.schema.RolloutTable`), at least `TABLE_COLUMNS`; may include rows in
            quarantine.
        rewards: one row per trajectory with `group`, `item`, `r_total`, `advantage` and, with credit by turn, `CREDITS`
            (`rewards.aggregate`), or None.
            A trajectory without a row was not used for training.
        gaps: |trainer - sampler| log-probability where it was measured: `group`, `item`, `turn`, `gap_max`; or None.
    """

    method: str
    seed: int
    run: str
    origin: str
    phase: str | None
    step: int
    trust: float | None
    values: PolarityValues
    table: pl.DataFrame
    rewards: pl.DataFrame | None = None
    gaps: pl.DataFrame | None = None

    @property
    def trained(self) -> bool:
        """Whether these are training episodes."""
        return self.origin == TRAINING

    @cached_property
    def episodes(self) -> pl.DataFrame:
        """One row per episode, sorted by `EPISODE`: task, outcome, turns, r_env, r_sg, r_total, advantage, held_back.

        `r_env` is the sum of the environment's rewards before scaling, `r_sg` the sum of the guidance rewards (None
        without guidance); `r_total` and `advantage` are None where none were computed. `held_back`: rewards were
        computed, but not for this episode.
        """
        episodes = self.table.sort([*EPISODE, "turn"]).group_by(EPISODE, maintain_order=True).agg(
            pl.col("task_id", "task_type", "won", "truncated", "score").first(),
            turns=pl.len().cast(pl.Int64),
            r_env=pl.col("reward").sum(),
            r_sg=pl.when(pl.col("polarity").is_not_null().any()).then(step_reward(self.values).sum()),
        )  # fmt: skip
        if self.rewards is None:
            none = pl.lit(None, dtype=pl.Float64)
            return episodes.with_columns(r_total=none, advantage=none, held_back=pl.lit(False))
        rewards = self.rewards.select("group", "item", "r_total", "advantage", held_back=pl.lit(False))
        joined = episodes.join(rewards, on=["group", "item"], how="left", maintain_order="left")
        return joined.with_columns(pl.col("held_back").fill_null(True))

    @cached_property
    def turns(self) -> pl.DataFrame:
        """The table sorted by `EPISODE` and turn, tokens replaced by `guidance_logprob`, `action_logprob`, `gap_max`.

        Further `action_credit` and `verdict_credit`, None where all tokens have the trajectory's advantage.

        The log-probabilities are means over the turn's guidance and action tokens, as sampled; None without such a
        token, or where the lists differ in length (a quarantined row).
        """
        turns = self.table.sort([*EPISODE, "turn"]).with_row_index("row")
        tokens = turns.filter(pl.col("logprobs").list.len() == pl.col("segments").list.len())
        tokens = tokens.select("row", "logprobs", "segments").explode("logprobs", "segments")
        logprobs = pl.col("logprobs").cast(pl.Float64)
        means = tokens.group_by("row", maintain_order=True).agg(
            guidance_logprob=logprobs.filter(segments=int(Segment.GUIDANCE)).mean(),
            action_logprob=logprobs.filter(segments=int(Segment.ACTION)).mean(),
        )
        turns = turns.join(means, on="row", how="left", maintain_order="left").drop("logprobs", "segments")
        if self.rewards is not None and set(CREDITS) <= set(self.rewards.columns):
            by_turn = self.rewards.select("group", "item", *CREDITS).explode(*CREDITS)
            by_turn = by_turn.with_columns(turn=pl.int_range(pl.len()).over("group", "item"))
            turns = turns.join(by_turn, on=["group", "item", "turn"], how="left", maintain_order="left")
        else:
            turns = turns.with_columns(**dict.fromkeys(CREDITS, pl.lit(None, dtype=pl.Float64)))
        if self.gaps is None:
            return turns.with_columns(gap_max=pl.lit(None, dtype=pl.Float64))
        gaps = self.gaps.select("group", "item", "turn", pl.col("gap_max").cast(pl.Float64))
        return turns.join(gaps, on=["group", "item", "turn"], how="left", maintain_order="left")


def training_source(
    step: Mapping[str, Any], table: pl.DataFrame, rewards: pl.DataFrame, gaps: pl.DataFrame, **run: Any
) -> ViewerSource:
    """Return the episodes of a training step from its metrics and tables; `run`: method, seed, run and values."""
    place = {"origin": TRAINING, "phase": step["phase"], "step": step["step"], "trust": step["lambda"]}
    return ViewerSource(**run, **place, table=table, rewards=rewards, gaps=gaps)


def spread_steps(steps: Sequence[int], count: int) -> list[int]:
    """Choose at most `count` of the steps, evenly spread, including the first and the last.

    It limits memory: a page of a whole study need not read every step of every run.
    """
    ordered = sorted(set(steps))
    count = min(count, len(ordered))
    return [ordered[round(place * (len(ordered) - 1) / max(count - 1, 1))] for place in range(count)]


@dataclass(frozen=True, slots=True)
class Selection:
    """The groups that a page shows.

    Attributes:
        groups: index of the source -> its groups as (split, group), sorted.
        episodes, of_episodes: number shown, and number available.
        turns: number shown.
    """

    groups: dict[int, list[tuple[str, int]]]
    episodes: int
    of_episodes: int
    turns: int

    @property
    def complete(self) -> bool:
        """Whether everything is shown."""
        return self.episodes == self.of_episodes


@dataclass(slots=True)
class Bundle:
    """Groups that are shown together or not at all.

    Attributes:
        key: unique name; begins with the kind, "training" or "evaluation".
        stratum: what it represents in the spread, besides its outcome.
        groups: (index of the source, split, group) of each member.
        episodes, wins, turns: counts over the groups.
    """

    key: tuple[str, ...]
    stratum: tuple[str, ...]
    groups: list[tuple[int, str, int]] = field(default_factory=list)
    episodes: int = 0
    wins: int = 0
    turns: int = 0

    @property
    def outcome(self) -> str:
        """Outcome of its episodes."""
        return "mixed" if 0 < self.wins < self.episodes else "all won" if self.wins else "all lost"


def arrange(sources: Sequence[ViewerSource], seed: int) -> list[list[Bundle]]:
    """Order the bundles of training and those of evaluation for `take`.

    Every stratum gives its first bundle before any stratum gives its second. Strata are seed, phase, quarter of the
    steps, task type and outcome (all won, mixed, all lost) in training; split, task type and outcome in evaluation.
    Within a stratum the order is random under `seed` and independent of the other sources.
    """
    steps = sorted({source.step for source in sources if source.trained})
    quarter = {step: str(_QUARTERS * place // len(steps)) for place, step in enumerate(steps)}
    bundles: dict[tuple[str, ...], Bundle] = {}
    for index, source in enumerate(sources):
        groups = source.episodes.group_by("split", "group", maintain_order=True).agg(
            pl.col("task_id", "task_type").first(), pl.col("won").sum(), pl.col("turns").sum(), episodes=pl.len()
        )
        for split, group, task_id, task_type, won, turns, episodes in groups.iter_rows():
            key: tuple[str, ...] = ("evaluation", split, task_id)
            stratum: tuple[str, ...] = (split, task_type)
            if source.trained:
                key = (TRAINING, str(source.seed), f"{source.step:06d}", split, task_id)
                stratum = (str(source.seed), str(source.phase), quarter[source.step], task_type)
            bundle = bundles.setdefault(key, Bundle(key, stratum))
            bundle.groups.append((index, split, group))
            bundle.episodes += episodes
            bundle.wins += won
            bundle.turns += turns
    draws = {key: derive_seed(seed, "page", *key) for key in bundles}
    queues: dict[str, list[tuple[int, int, Bundle]]] = {TRAINING: [], "evaluation": []}
    rounds: dict[tuple[str, ...], int] = defaultdict(int)
    for key in sorted(bundles, key=lambda key: (draws[key], key)):
        bundle = bundles[key]
        stratum = (key[0], *bundle.stratum, bundle.outcome)
        queues[key[0]].append((rounds[stratum], draws[key], bundle))
        rounds[stratum] += 1
    return [[bundle for _, _, bundle in sorted(queue, key=lambda entry: entry[:2])] for queue in queues.values()]


def take(queues: Sequence[Sequence[Bundle]], turns: int) -> Selection:
    """Choose bundles in the order of `arrange`, at most `turns` turns in total.

    Training and evaluation get half of the turns each; what one does not need goes to the other. A bundle that no
    longer fits is skipped for a smaller one.
    """
    waiting = [deque(queue) for queue in queues]
    used = [0] * len(queues)
    groups: dict[int, list[tuple[str, int]]] = defaultdict(list)
    episodes = 0
    while any(waiting):
        kind = min((index for index, queue in enumerate(waiting) if queue), key=lambda index: used[index])
        bundle = waiting[kind].popleft()
        if sum(used) + bundle.turns <= turns:
            used[kind] += bundle.turns
            episodes += bundle.episodes
            for source, split, group in bundle.groups:
                groups[source].append((split, group))
    return Selection(
        groups={source: sorted(groups[source]) for source in sorted(groups)},
        episodes=episodes,
        of_episodes=sum(bundle.episodes for queue in queues for bundle in queue),
        turns=sum(used),
    )


def pack(sources: Sequence[ViewerSource], selection: Selection) -> str:
    """Pack the selected groups; deterministic."""
    strings: dict[str, int] = {}
    episodes: dict[str, list[Any]] = defaultdict(list)
    turns: dict[str, list[Any]] = defaultdict(list)
    for number, (index, groups) in enumerate(selection.groups.items()):
        wanted = pl.DataFrame(groups, schema={"split": pl.String, "group": pl.Int64}, orient="row")
        chosen = [
            table.join(wanted, on=["split", "group"], how="semi", maintain_order="left")
            for table in (sources[index].episodes, sources[index].turns)
        ]
        episodes["source"] += [number] * chosen[0].height
        for name, values in _episode_columns(chosen[0], strings).items():
            episodes[name] += values
        for name, values in _turn_columns(chosen[1], strings).items():
            turns[name] += values
    content = {
        "version": VERSION,
        "sources": [_describe(sources[index]) for index in selection.groups],
        "episodes": {"source": [], **episodes},
        "turns": turns,
        "strings": list(strings),
    }
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), _GZIP_LEVEL, mtime=0)).decode("ascii")


def _describe(source: ViewerSource) -> dict[str, Any]:
    fields = {name: getattr(source, name) for name in ("method", "seed", "run", "origin", "phase", "step")}
    return {**fields, "trust": _rounded(source.trust, 4), "values": source.values.model_dump()}


def _episode_columns(rows: pl.DataFrame, strings: dict[str, int]) -> dict[str, list[Any]]:
    return {
        **{name: _indices(rows[column], strings)
           for name, column in (("split", "split"), ("task", "task_id"), ("type", "task_type"))},
        **{name: rows[name].to_list() for name in ("group", "item", "turns")},
        **{name: rows[name].cast(pl.Int64).to_list() for name in ("won", "truncated", "held_back")},
        **{name: [_rounded(value, 4) for value in rows[name]]
           for name in ("score", "r_env", "r_sg", "r_total", "advantage")},
    }  # fmt: skip


def _turn_columns(rows: pl.DataFrame, strings: dict[str, int]) -> dict[str, list[Any]]:
    order = {polarity.value: place for place, polarity in enumerate(Polarity)}
    flags = rows.select(pl.sum_horizontal(pl.col(name).cast(pl.Int64) * bit for name, bit in FLAGS.items()))
    return {
        **{name: _indices(rows[name], strings) for name in ("observation", "guidance", "action")},
        "polarity": [-1 if value is None else order.get(value, -1) for value in rows["polarity"]],
        "flags": flags.to_series().to_list(),
        "reward": [_rounded(value, 4) for value in rows["reward"]],
        **{
            name: [_rounded(value, 3) for value in rows[name]]
            for name in ("guidance_logprob", "action_logprob", *CREDITS)
        },
        "gap": [_significant(value) for value in rows["gap_max"]],
    }


def _indices(texts: Iterable[str | None], strings: dict[str, int]) -> list[int]:
    return [-1 if text is None else strings.setdefault(text, len(strings)) for text in texts]


def _rounded(value: float | None, digits: int) -> float | int | None:
    """Round; an integer loses its ".0"; None if undefined or not finite."""
    if value is None or not math.isfinite(value):
        return None
    rounded = round(value, digits)
    return int(rounded) if rounded == int(rounded) else rounded


def _significant(value: float | None) -> float | int | None:
    """Round to three significant digits: gaps are compared by their order of magnitude."""
    return None if value is None or not math.isfinite(value) else _rounded(float(f"{value:.2e}"), 12)
