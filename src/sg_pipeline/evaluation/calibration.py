"""Calibration of guidance: the verdicts of the turns against the outcome of their episode.

A failed episode usually runs to its turn limit, so it has more turns than a successful one: compare P(win | label)
with `win_rate_of_turns`, not with the success rate. For the same reason R_sg mixes verdict and length; `mean_verdict`
leaves the length out.

Everything about turns is a function of their counts by (third of the episode, label, outcome), so a bootstrap
(`study.guidance`) resamples counts instead of turns.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from sg_pipeline.trajectories.types import Polarity

VERDICT = {"negative": -1, "neutral": 0, "positive": 1}
"""The polarity as a score."""

LABELS = tuple(VERDICT)
"""In the order of what they predict."""

THIRDS = ("early", "middle", "late")
"""Turn t of T is in third floor(3 t / T) of its episode."""

BRIER = ("score", "reliability", "resolution", "uncertainty")

MEASURES = (
    *(f"win_rate.{label}" for label in LABELS),
    *(f"share.{label}" for label in LABELS),
    *(f"auc.{part}" for part in ("turns", *THIRDS)),
    *(f"brier.{part}" for part in BRIER),
)
"""What `measures` returns."""

_EPISODE = ["split", "step", "group", "item"]


def guidance_calibration(turns: pl.DataFrame) -> dict[str, Any] | None:
    """Compare the guidance of a trajectory table with outcomes; turns without guidance are left out.

    Returns:
        None where no turn has guidance, else JSON-ready (a measure that is undefined, such as an AUC without any
        loss, is None):
        `turns`, `episodes`, `win_rate_of_turns`, `unparsed_share`; `labels`: per label `turns`, `share` and
        `win_rate` = P(win | label) over turns; `auc`: of the verdict (-1, 0, +1) against the outcome over all turns
        (`turns`) and those of each third (`early`, `middle`, `late`), and per episode of the verdicts' sum (`r_sg`) and
        mean (`mean_verdict`); 0.5 is chance; `brier`: see `measures`.
    """
    labelled = turns.filter(pl.col("polarity").is_not_null())
    if labelled.is_empty():
        return None
    verdict = pl.col("polarity").replace_strict(VERDICT, return_dtype=pl.Int64)
    episodes = labelled.group_by(_EPISODE).agg(pl.col("won").first(), r_sg=verdict.sum(), mean_verdict=verdict.mean())
    counts = label_counts(turns)
    found = {n: v if np.isfinite(v) else None for n, v in zip(MEASURES, measures(counts).tolist(), strict=True)}
    turns_of = dict(zip(LABELS, counts.sum(axis=(0, 2)).astype(int).tolist(), strict=True))
    return {
        "turns": labelled.height,
        "episodes": episodes.height,
        "win_rate_of_turns": _mean(labelled["won"]),
        "unparsed_share": _mean(~labelled["guidance_parsed"]),
        "labels": {
            p.value: {"turns": turns_of[p.value], **{n: found[f"{n}.{p.value}"] for n in ("share", "win_rate")}}
            for p in Polarity
        },
        "auc": {
            **{part: found[f"auc.{part}"] for part in ("turns", *THIRDS)},
            "r_sg": auc(episodes["r_sg"], episodes["won"]),
            "mean_verdict": auc(episodes["mean_verdict"], episodes["won"]),
        },
        "brier": {part: found[f"brier.{part}"] for part in BRIER},
    }


def label_counts(turns: pl.DataFrame, games: Sequence[str] | None = None) -> np.ndarray:
    """Count the guided turns of a trajectory table by (third of the episode, label, lost or won): (3, 3, 2).

    Labels are in the order of `LABELS`; with `games`, each of these is counted separately: (G, 3, 3, 2).
    """
    cells = (
        turns.with_columns(third=pl.col("turn") * 3 // pl.len().over(_EPISODE))
        .filter(pl.col("polarity").is_not_null())
        .group_by("task_id", "third", "polarity", "won")
        .len()
    )
    counts = np.zeros((1 if games is None else len(games), 3, 3, 2))
    place = {game: index for index, game in enumerate(games or ())}
    for game, third, label, won, number in cells.iter_rows():
        if games is None or game in place:
            counts[place.get(game, 0), third, LABELS.index(label), int(won)] += number
    return counts[0] if games is None else counts


def measures(counts: np.ndarray) -> np.ndarray:
    """Compute the `MEASURES` from counts of turns (..., 3, 3, 2) -> (..., M); NaN where one is undefined.

    The Brier score reads the verdict as a forecast of winning (0, 1/2, 1), in Murphy's parts: score = reliability -
    resolution + uncertainty, with f_k the forecast, p_k the win rate and w_k the share of label k, and p the win rate
    of all turns:

        reliability = sum_k w_k (f_k - p_k)^2     how far the labels are from what they should mean; 0 is best
        resolution  = sum_k w_k (p_k - p)^2       how well the labels separate wins from losses, whatever their names
        uncertainty = p (1 - p)
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        labels = counts.sum(axis=-3)
        turns = labels.sum(axis=-1)
        total = turns.sum(axis=-1)
        wins = labels[..., 1] / turns
        shares = turns / total[..., None]
        rate = labels[..., 1].sum(axis=-1) / total
        forecast = np.array([0.0, 0.5, 1.0])
        error = (labels * np.stack([forecast, 1 - forecast], axis=-1) ** 2).sum(axis=(-2, -1)) / total
        # An absent label adds nothing to a sum, though its win rate is undefined.
        reliability = np.nansum(shares * (forecast - wins) ** 2, axis=-1)
        resolution = np.nansum(shares * (wins - rate[..., None]) ** 2, axis=-1)
        aucs = [_auc(labels), *(_auc(counts[..., third, :, :]) for third in range(len(THIRDS)))]
        brier = [error, reliability, resolution, rate * (1 - rate)]
        return np.concatenate([wins, shares, np.stack([*aucs, *brier], axis=-1)], axis=-1)


def auc(score: pl.Series, won: pl.Series) -> float | None:
    """Area under the ROC curve: P(score of a win > score of a loss) + P(equal) / 2; None without wins or losses."""
    from scipy.stats import rankdata

    wins = won.to_numpy().astype(bool)
    positives, negatives = int(wins.sum()), int((~wins).sum())
    if not positives or not negatives:
        return None
    ranks = rankdata(score.to_numpy())  # ties share their mean rank, which is what counts them half
    return float((ranks[wins].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _auc(labels: np.ndarray) -> np.ndarray:
    """(..., 3, 2) counts -> (...) the AUC of the label."""
    lost, won = labels[..., 0], labels[..., 1]
    below = np.cumsum(lost, axis=-1) - lost
    return (won * (below + lost / 2)).sum(axis=-1) / (won.sum(axis=-1) * lost.sum(axis=-1))


def _mean(values: pl.Series) -> float | None:
    return float(values.cast(pl.Float64).mean()) if len(values) else None  # type: ignore[arg-type]
