"""Does guidance foretell the outcome, and better so after training? On the evaluation panels, with intervals.

The turns of one episode share their outcome, and the episodes of one game are alike, so turns must not be counted as
if they were independent: seeds and games are resampled as for success (`statistics`). Everything here is a function
of counts of turns by (third of the episode, label, outcome), which makes a resample a sum.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sg_pipeline.config.evaluation import WITH_GUIDANCE
from sg_pipeline.errors import DataError
from sg_pipeline.evaluation.calibration import THIRDS, VERDICT
from sg_pipeline.randomness import stream
from sg_pipeline.study.comparison import PARTS, Study, one_a_seed
from sg_pipeline.study.outcomes import Outcomes, build_outcomes
from sg_pipeline.study.records import EPISODES, RunRecord
from sg_pipeline.study.statistics import NOISE, Statistic, estimates

LABELS = ("negative", "neutral", "positive")
"""In the order of what they promise."""

FIGURES = (
    *(f"win_rate.{label}" for label in LABELS),
    *(f"share.{label}" for label in LABELS),
    "auc.turns",
    *(f"auc.{third}" for third in THIRDS),
    "brier.score",
    "brier.reliability",
    "brier.resolution",
    "brier.uncertainty",
)
"""What `figures` returns; as in `evaluation.calibration`."""

_COLUMNS = ["split", "step", "group", "item", "task_id", "turn", "polarity", "won"]


def label_counts(turns: pl.DataFrame, games: Sequence[str] | None = None) -> np.ndarray:
    """Count guided turns by (third of the episode, label, lost or won).

    Args:
        turns: a trajectory table; turns without guidance are left out.
        games: count for each of these games apart; None: all together.

    Returns:
        (3, 3, 2), or (G, 3, 3, 2).
    """
    length = pl.len().over("split", "step", "group", "item")
    ranks = {label.value: value + 1 for label, value in VERDICT.items()}
    cells = (
        turns.with_columns(third=pl.col("turn") * 3 // length)
        .filter(pl.col("polarity").is_not_null())
        .with_columns(label=pl.col("polarity").replace_strict(ranks, return_dtype=pl.Int64))
        .group_by("task_id", "third", "label", "won")
        .len()
    )
    counts = np.zeros((1 if games is None else len(games), 3, 3, 2))
    place = {} if games is None else {game: index for index, game in enumerate(games)}
    for game, third, label, won, number in cells.iter_rows():
        if games is None:
            counts[0, third, label, int(won)] += number
        elif game in place:
            counts[place[game], third, label, int(won)] += number
    return counts[0] if games is None else counts


def figures(counts: np.ndarray) -> np.ndarray:
    """(..., 3, 3, 2) counts of turns -> (..., F) the `FIGURES`; NaN where one is undefined."""
    with np.errstate(invalid="ignore", divide="ignore"):
        labels = counts.sum(axis=-3)
        turns = labels.sum(axis=-1)
        total = turns.sum(axis=-1)
        wins = labels[..., 1] / turns
        shares = turns / total[..., None]
        rate = labels[..., 1].sum(axis=-1) / total
        forecast = np.array([0.0, 0.5, 1.0])
        # An absent label adds nothing to a sum, though its win rate is undefined.
        reliability = np.nansum(shares * (forecast - wins) ** 2, axis=-1)
        resolution = np.nansum(shares * (wins - rate[..., None]) ** 2, axis=-1)
        uncertainty = rate * (1 - rate)
        parts = [
            *(wins[..., i] for i in range(3)),
            *(shares[..., i] for i in range(3)),
            _auc(labels),
            *(_auc(counts[..., third, :, :]) for third in range(3)),
            reliability - resolution + uncertainty,
            reliability,
            resolution,
            uncertainty,
        ]
        return np.stack(np.broadcast_arrays(*parts), axis=-1)


def calibration(study: Study) -> list[dict[str, Any]]:
    """Calibrate the guidance of the base and of every method's final policy.

    Returns:
        Rows of method ("base" for the base policy), split, `seeds`, `turns` and the `FIGURES`, each with its estimate;
        a final policy's row also has `moved`: the same figures as final - base of its own runs, with `verdict` for the
        AUC ("auc_verdict": better, worse or within the noise). Runs whose evaluation episodes are not on the disk are
        left out.
    """
    rows = []
    for method, part, runs in [
        ("base", "base", one_a_seed(study.records)),
        *((method, "final", runs) for method, runs in study.runs.items()),
    ]:
        tables = {p: [_episodes(run, p) for run in runs] for p in PARTS if p in ("base", part)}
        for split in study.splits:
            cells = {p: _cells(runs, found, split) for p, found in tables.items()}
            if (own := cells[part]) is None:
                continue
            counted, frame = own
            chance = stream(study.seed, "study", "calibration", method, split)
            row: dict[str, Any] = {
                "method": method, "part": part, "split": split, "seeds": len(frame.seeds), "turns": int(counted.sum()),
                **_named(_sums(counted), frame, chance, least=0.0),
            }  # fmt: skip
            before = cells["base"]
            if part == "final" and before is not None and _same_frame(before[1], frame):
                row["moved"] = _moved(counted, before[0], frame, stream(study.seed, "study", "moved", method, split))
                row["auc_verdict"] = _verdict(row["moved"]["auc.turns"])
            rows.append(row)
    return rows


def _same_frame(one: Outcomes, other: Outcomes) -> bool:
    """Whether the same games were played with the same seeds."""
    return (one.games, one.seeds) == (other.games, other.seeds)


def _cells(
    runs: Sequence[RunRecord], tables: Sequence[pl.DataFrame | None], split: str
) -> tuple[np.ndarray, Outcomes] | None:
    """((S, G, 3, 3, 2) counts, the frame for resampling), of the runs whose episodes are there."""
    there = {run.seed: (run, table.filter(pl.col("split") == split)) for run, table in zip(runs, tables, strict=True)
             if table is not None}  # fmt: skip
    if not there or any(table.is_empty() for _, table in there.values()):
        return None
    per_game = {seed: dict.fromkeys(table["task_id"].to_list(), (0, 1)) for seed, (_, table) in there.items()}
    frame = build_outcomes(per_game, next(iter(there.values()))[0].task_types, f"guided episodes of {split}")
    return np.stack([label_counts(there[seed][1], frame.games) for seed in frame.seeds]), frame


def _sums(cells: np.ndarray) -> Statistic:
    """Return the figures of resampled seeds and games."""
    seeds, games = cells.shape[:2]
    flat = cells.transpose(1, 0, 2, 3, 4).reshape(games, -1)

    def statistics(picks: np.ndarray, counts: np.ndarray) -> np.ndarray:
        per_seed = (counts @ flat).reshape(len(counts), seeds, -1)
        drawn = np.take_along_axis(per_seed, picks[:, :, None], axis=1).sum(axis=1)
        return figures(drawn.reshape(-1, 3, 3, 2))

    return statistics


def _moved(after: np.ndarray, before: np.ndarray, frame: Outcomes, chance: np.random.Generator) -> dict[str, Any]:
    final, base = _sums(after), _sums(before)
    return _named(lambda picks, counts: final(picks, counts) - base(picks, counts), frame, chance, least=-1.0)


def _named(statistics: Statistic, frame: Outcomes, chance: np.random.Generator, least: float) -> dict[str, Any]:
    """Estimate the figures; none of them, nor an end of its interval, is below `least` or above 1."""
    found = (figure.within(least, 1.0) for figure in estimates(statistics, frame, chance))
    return {name: figure.as_json() for name, figure in zip(FIGURES, found, strict=True)}


def _verdict(change: dict[str, Any]) -> str | None:
    if change["ci95"] is None:
        return None
    low, high = change["ci95"]
    return NOISE if not (low > 0 or high < 0) else "better" if low > 0 else "worse"


def _episodes(run: RunRecord, part: str) -> pl.DataFrame | None:
    path = run.data / EPISODES / run.name / f"{part}_{WITH_GUIDANCE}.parquet"
    return read_columns(path, _COLUMNS) if path.is_file() else None


def read_columns(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    """Read some columns of a run's table.

    Raises:
        DataError: the file cannot be read or has other columns.
    """
    try:
        return pl.read_parquet(path, columns=list(columns))
    except Exception as error:  # polars has an exception for each way in which a file can be broken
        first = str(error).splitlines()[0]
        raise DataError(
            f"{path} is not a readable table with the columns {', '.join(columns)} ({first}); delete it and run its "
            f"run again with --only-missing-outputs"
        ) from error


def _auc(labels: np.ndarray) -> np.ndarray:
    """(..., 3, 2) -> (...): P(label of a winning turn above that of a losing one) + P(equal) / 2."""
    lost, won = labels[..., 0], labels[..., 1]
    below = np.cumsum(lost, axis=-1) - lost
    return (won * (below + lost / 2)).sum(axis=-1) / (won.sum(axis=-1) * lost.sum(axis=-1))
