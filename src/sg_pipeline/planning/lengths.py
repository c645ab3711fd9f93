"""How long episodes are, and how long steps took: as assumed, or as a run has recorded it.

trajectory of n turns = prompt + n completions + (n - 1) observations
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from sg_pipeline.errors import DataError
from sg_pipeline.planning.config import LengthsConfig

READ_STEPS = 8
"""Steps whose trajectories are read, spread over the run: contexts change little from step to step."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens and turns of episodes; see `config.LengthsConfig`.

    Attributes:
        source: where they are from, in words.
    """

    prompt: float
    completion: float
    observation: float
    turns: float
    spread: float
    longest_completion: float
    idle_share: float
    environment_ms: float
    format_ms: float
    source: str

    def tokens(self, turns: float) -> float:
        """Return the tokens of an average trajectory of so many turns."""
        return self.prompt + turns * self.completion + max(0.0, turns - 1) * self.observation


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a run has recorded of its steps.

    Attributes:
        run: its name.
        steps: how many.
        seconds: part of a step -> mean over the steps: "sampling", "environment", "format", "training", "total".
        lengths: of its episodes.
        memory: part of a step -> GiB at its peak, the largest of the steps; see `memory_use`. Empty where the steps are
            of an earlier version.
    """

    run: str
    steps: int
    seconds: dict[str, float]
    lengths: Lengths
    memory: dict[str, float] = field(default_factory=dict)


def assumed(config: LengthsConfig) -> Lengths:
    """Return the lengths of the configuration."""
    return Lengths(**config.model_dump(), source="assumed (plan.lengths)")


def read_recorded(data: Path, run: str, otherwise: LengthsConfig, workers: int) -> Recorded | None:
    """Return what `run` has recorded; None where it has no finished step.

    Args:
        data: the data folder.
        run: its name.
        otherwise: what is assumed where trajectories are gone.
        workers: of the environments, to tell what one of them needed for an answer.

    Raises:
        DataError: a step's file is not one.
    """
    files = sorted((data / "08_reporting" / run / "steps").glob("step_*.json"))
    steps = [_read_step(path) for path in files]
    if not steps:
        return None
    turns = sum(step["turns"] for step in steps)
    # Steps of an earlier version in the same run have fewer parts.
    parts = dict.fromkeys(part for step in steps for part in step["seconds"])
    seconds = {part: fmean(step["seconds"].get(part, 0.0) for step in steps) for part in parts}
    rows = sum(step["training"].get("rows", 0) for step in steps)
    lengths = replace(
        assumed(otherwise),
        turns=turns / sum(step["trajectories"] for step in steps),
        completion=sum(step["policy_tokens"] for step in steps) / turns,
        idle_share=min(0.99, sum(step["training"].get("rows_idle", 0) for step in steps) / rows) if rows else 0.0,
        environment_ms=1000 * workers * sum(step["seconds"]["environment"] for step in steps) / turns,
        format_ms=1000 * sum(step["seconds"]["format"] for step in steps) / turns,
        source=f"measured in {len(steps)} steps of run '{run}'",
    )
    tables = sorted((data / "03_primary" / run).glob("step_*/trajectories.parquet"))
    every = max(1, len(tables) // READ_STEPS)
    found = _read_contexts(tables[every // 2 :: every], lengths)
    if found is None:
        lengths = replace(lengths, source=f"{lengths.source}; contexts assumed, its trajectories are gone")
    peaks = [(name, peak) for step in steps for name, peak in step.get("memory", {}).items()]
    memory = {name: max(peak for other, peak in peaks if other == name) for name, _ in peaks}
    return Recorded(run, len(steps), seconds, found or lengths, memory)


def _read_step(path: Path) -> Mapping[str, Any]:
    try:
        step = json.loads(path.read_text(encoding="utf-8"))
        for name in ("turns", "trajectories", "policy_tokens"):
            if not float(step[name]) > 0:
                raise ValueError(f"{name} is {step[name]}")
        _ = step["training"].get("rows"), [float(step["seconds"][part]) for part in ("environment", "format")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} does not hold the figures of a step ({type(error).__name__}: {error}); delete it, or plan with "
            f"--params plan.measured=false"
        ) from error
    return step  # type: ignore[no-any-return]


def _read_contexts(tables: Sequence[Path], lengths: Lengths) -> Lengths | None:
    """Return `lengths` with what the trajectories tell: contexts, and how much the longest exceed the average."""
    if not tables:
        return None
    import polars as pl

    frames = []
    for path in tables:
        try:
            frames.append(
                pl.read_parquet(path, columns=["step", "group", "item", "turn", "context_ids", "completion_ids"])
            )
        except (OSError, pl.exceptions.PolarsError) as error:
            raise DataError(
                f"{path} is not a table of trajectories ({' '.join(str(error).split())[:100]}); delete it, or plan "
                f"with --params plan.measured=false"
            ) from error
    turns = pl.concat(frames).with_columns(
        context=pl.col("context_ids").list.len(), completion=pl.col("completion_ids").list.len()
    )
    opening, later = turns.filter(pl.col("turn") == 0)["context"], turns.filter(pl.col("turn") > 0)["context"]
    waited = turns.group_by("step", "turn").agg(pl.col("completion").max(), pl.len())
    episodes = turns.group_by("step", "group", "item").agg(
        (pl.col("context") + pl.col("completion")).sum().alias("tokens"), pl.len()
    )
    found = replace(
        lengths,
        prompt=float(opening.mean()),  # type: ignore[arg-type]
        observation=float(later.mean()) if len(later) else lengths.observation,  # type: ignore[arg-type]
        longest_completion=max(1.0, float(waited["completion"].mean()) / lengths.completion),  # type: ignore[arg-type]
    )
    most = max(tokens / found.tokens(count) for tokens, count in episodes.select("tokens", "len").iter_rows())
    return replace(found, spread=max(1.0, most))
