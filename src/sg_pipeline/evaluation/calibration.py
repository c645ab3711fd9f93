"""Does guidance mean anything? The verdicts of the turns against the outcome of their episode.

A lost episode usually runs to its step limit, so it has more turns than a won one: `win_rate_of_turns` is the rate
to compare P(win | label) with, not the success rate. For the same reason R_sg mixes verdict and length;
`mean_verdict` leaves the length out.
"""

from typing import Any

import numpy as np
import polars as pl

from sg_pipeline.trajectories.types import Polarity

VERDICT = {Polarity.POSITIVE: 1, Polarity.NEUTRAL: 0, Polarity.NEGATIVE: -1}
"""The polarity as a score."""

THIRDS = ("early", "middle", "late")
"""Turn t of T lies in third floor(3 t / T) of its episode."""

_EPISODE = ["split", "step", "group", "item"]


def guidance_calibration(turns: pl.DataFrame) -> dict[str, Any] | None:
    """Compare guidance with outcomes.

    Args:
        turns: a trajectory table; turns without guidance are left out.

    Returns:
        None where no turn has guidance, else JSON-ready (a figure that is undefined, such as an AUC without any
        loss, is None):
        `turns`, `episodes`, `win_rate_of_turns`, `unparsed_share`; `labels`: per label `turns`, `share` and
        `win_rate` = P(win | label) over turns; `auc`: of the verdict (-1, 0, +1) against the outcome over all turns
        (`turns`) and those of each third (`early`, `middle`, `late`), and per episode of the verdicts' sum (`r_sg`) and
        mean (`mean_verdict`); 0.5 is chance; `brier`: see `brier`.
    """
    labelled = turns.with_columns(length=pl.len().over(_EPISODE)).filter(pl.col("polarity").is_not_null())
    if labelled.is_empty():
        return None
    labelled = labelled.select(
        *_EPISODE,
        "won",
        "polarity",
        "guidance_parsed",
        verdict=pl.col("polarity").replace_strict(
            {p.value: v for p, v in VERDICT.items()}, default=None, return_dtype=pl.Int64
        ),
        third=pl.col("turn") * 3 // pl.col("length"),
    )
    episodes = labelled.group_by(_EPISODE).agg(
        pl.col("won").first(), r_sg=pl.col("verdict").sum(), mean_verdict=pl.col("verdict").mean()
    )
    labels = {p.value: labelled.filter(pl.col("polarity") == p.value)["won"] for p in Polarity}
    return {
        "turns": labelled.height,
        "episodes": episodes.height,
        "win_rate_of_turns": _mean(labelled["won"]),
        "unparsed_share": _mean(~labelled["guidance_parsed"]),
        "labels": {
            name: {"turns": len(won), "share": len(won) / labelled.height, "win_rate": _mean(won)}
            for name, won in labels.items()
        },
        "auc": {
            "turns": auc(labelled["verdict"], labelled["won"]),
            **{
                name: auc(part["verdict"], part["won"])
                for name, part in ((name, labelled.filter(pl.col("third") == i)) for i, name in enumerate(THIRDS))
            },
            "r_sg": auc(episodes["r_sg"], episodes["won"]),
            "mean_verdict": auc(episodes["mean_verdict"], episodes["won"]),
        },
        "brier": brier(labelled["verdict"], labelled["won"]),
    }


def auc(score: pl.Series, won: pl.Series) -> float | None:
    """Area under the ROC curve: P(score of a win > score of a loss) + P(equal) / 2; None without wins or losses."""
    from scipy.stats import rankdata

    wins = won.to_numpy().astype(bool)
    positives, negatives = int(wins.sum()), int((~wins).sum())
    if not positives or not negatives:
        return None
    ranks = rankdata(score.to_numpy())  # ties share their mean rank, which is what counts them half
    return float((ranks[wins].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def brier(verdict: pl.Series, won: pl.Series) -> dict[str, float] | None:
    """Brier score of the verdict read as a forecast of winning (1, 1/2, 0), in Murphy's parts.

    score = reliability - resolution + uncertainty, with f_k the forecast, p_k the win rate and w_k the share of label
    k, and p the win rate of all turns:

        reliability = sum_k w_k (f_k - p_k)^2     how far the words are from what they should mean; 0 is best
        resolution  = sum_k w_k (p_k - p)^2       how much the labels tell apart, whatever they are called
        uncertainty = p (1 - p)
    """
    if not len(verdict):
        return None
    forecast, outcome = (verdict.to_numpy() + 1) / 2, won.to_numpy().astype(np.float64)
    rate, reliability, resolution = outcome.mean(), 0.0, 0.0
    for value in np.unique(forecast):
        chosen = outcome[forecast == value]
        share = len(chosen) / len(outcome)
        reliability += share * (value - chosen.mean()) ** 2
        resolution += share * (chosen.mean() - rate) ** 2
    return {
        "score": float(((forecast - outcome) ** 2).mean()),
        "reliability": float(reliability),
        "resolution": float(resolution),
        "uncertainty": float(rate * (1 - rate)),
    }


def _mean(values: pl.Series) -> float | None:
    return float(values.cast(pl.Float64).mean()) if len(values) else None  # type: ignore[arg-type]
