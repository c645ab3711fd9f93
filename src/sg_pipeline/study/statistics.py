"""How sure a method's result is: intervals over seeds of training and games of the panel at once.

A study has the outcomes y[s, g] of each method: seed s of training, game g of the panel, the games in task types. Two
things are chance: which seed trained the policy, and which games the panel happens to hold (with the luck of playing
them). Agarwal et al. ("Deep RL at the edge of the statistical precipice", NeurIPS 2021) resample the runs of each task.
With three runs that is too narrow, and it leaves the games out, so both are resampled here:

    V_seed    variance of the statistic when seeds are resampled, times S / (S - 1): S resampled seeds vary too little
    V_game    variance when games are resampled within their task type, the same games for every seed and method
    V_both    what these two count twice, taken from a third bootstrap that resamples seeds and games together
    V         = V_seed + V_game - V_both  (two-way clustering: Cameron, Gelbach and Miller, J. Bus. Econ. Stat.
                29(2), 2011), at least as large as either part
    interval  = statistic +- t(nu) sqrt(V),  nu = V^2 / (V_seed^2 / (S - 1) + V_game^2 / (G - K))  (Satterthwaite)

Percentiles of so few seeds cannot reach beyond the best and the worst of them; Student's t can. Simulated with 200
games in 6 task types, seeds whose log-odds differ by 0, 0.1, 0.3 and 0.6 (standard deviation), 300 panels each:

    coverage of a nominal 95 %        3 seeds                   5 seeds
    this interval                     98, 98, 93, 92            97, 96, 94, 95
    percentiles, seeds by task type   72, 68, 57, 51            70, 64, 57, 57      (as rliable does)
    percentiles, whole seeds          62, 60, 69, 70            62, 65, 75, 80
    percentiles, games                97, 94, 75, 46            95, 94, 79, 53
    percentiles, seeds and games      100, 97, 91, 83           99, 98, 95, 91

(rliable's own target is other runs on the same games; here it is other runs on other games of these types.) Two methods
without a difference are called different in 1 to 6 % of the cases with 3 or 5 seeds, with one seed in 6 to 33 %: one
seed alone says nothing about others, its intervals are of the games only, and an estimate's `covers` says so.

Why no library: `rliable` 1.2.0 (the authors' own, its last release) wants `arch < 8`, seaborn, pandas and absl, draws
from numpy's global state whatever `random_state` it is given, and resamples runs task by task, as if a seed's policy
were another one for each task type; `scipy.stats.bootstrap` and `arch` know one way of resampling at a time. The
interquartile mean and the probability of improvement below are rliable's.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sg_pipeline.evaluation.intervals import CONFIDENCE, wilson
from sg_pipeline.study.outcomes import Outcomes

RESAMPLES = 2_000
"""A standard error needs fewer than a percentile does: with these it is within 2 % of its limit."""

FEWEST_DIFFERING = 6
"""Games that must differ before a difference is believed: fewer cannot reach p < 0.05 in a sign test either."""

BETTER, WORSE, NOISE = "better", "worse", "within the noise"
"""The plain words for a difference."""

Statistic = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(picked seeds (R, S), how often each game counts (R, G)) -> one figure a resample (R,), or several (R, F)."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A statistic and how sure it is.

    Attributes:
        low, high: the 95 % interval.
        p_value: two-sided, of the value being 0; None where nothing varies.
        seeds, games: how many there were.
    """

    value: float
    low: float
    high: float
    p_value: float | None
    seeds: int
    games: int

    def within(self, least: float, most: float) -> "Estimate":
        """The same with its interval cut down to what is possible."""
        return replace(self, low=max(least, self.low), high=min(most, self.high))

    def as_json(self) -> dict[str, Any]:
        """The estimate as plain values; what is undefined is None. `covers` says what the interval is about."""
        defined = math.isfinite(self.value)
        covers = "seeds and games" if self.seeds > 1 else "games only (one seed)"
        return {
            "value": self.value if defined else None, "ci95": [self.low, self.high] if defined else None,
            "p_value": self.p_value, "seeds": self.seeds, "games": self.games, "covers": covers,
        }  # fmt: skip


def mean_success(outcomes: Outcomes, chance: np.random.Generator) -> Estimate:
    """Mean over seeds and games, every game counting alike; of a difference of two methods as well."""
    shares = outcomes.shares
    return _bounded(lambda picks, counts: outcomes.scores(picks, counts).mean(axis=1) @ shares, outcomes, chance)


def interquartile_mean(outcomes: Outcomes, chance: np.random.Generator) -> Estimate:
    """Mean of the S * K scores of (seed, task type) without the lowest and highest quarter (each rounded down)."""

    def statistic(picks: np.ndarray, counts: np.ndarray) -> np.ndarray:
        scores = np.sort(outcomes.scores(picks, counts).reshape(len(counts), -1), axis=-1)
        cut = scores.shape[-1] // 4
        return scores[:, cut : scores.shape[-1] - cut].mean(axis=-1)

    return _bounded(statistic, outcomes, chance)


def estimates(statistics: Statistic, outcomes: Outcomes, chance: np.random.Generator) -> list[Estimate]:
    """Return any statistics of the same runs, each with the two-way interval of the module's docstring.

    Args:
        statistics: F figures (R, F) of R resamples of seeds and games; called with all of them once each for the values
            themselves. A figure may be undefined (NaN) in a few resamples, which are passed over.
        outcomes: says how many seeds and games there are, and the task types within which games are resampled.
        chance: the stream to draw from.
    """
    seeds, games = outcomes.rates.shape
    picks, counts = resamples(outcomes, chance)
    same_seeds, same_games = np.arange(seeds)[None], np.ones((1, games))
    values = statistics(same_seeds, same_games)[0]
    by_game = _variance(statistics(np.broadcast_to(same_seeds, picks.shape), counts))
    by_seed, variance = np.zeros_like(by_game), by_game
    if seeds > 1:
        by_seed = _variance(statistics(picks, np.broadcast_to(same_games, counts.shape)))
        together = _variance(statistics(picks, counts))
        inflation = seeds / (seeds - 1)
        both = inflation * np.maximum(0.0, together - by_seed - by_game)
        by_seed *= inflation
        variance = np.maximum(np.maximum(by_seed, by_game), by_seed + by_game - both)
    return [_student(*figure, outcomes) for figure in zip(values, variance, by_seed, by_game, strict=True)]


def resamples(outcomes: Outcomes, chance: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw seeds (R, S) with replacement, and games within their task types as counts (R, G)."""
    seeds, games = outcomes.rates.shape
    picks = chance.integers(0, seeds, size=(RESAMPLES, seeds))
    counts = np.empty((RESAMPLES, games))
    for kind in range(len(outcomes.kinds)):
        members = np.flatnonzero(outcomes.kind_of == kind)
        drawn = chance.integers(0, len(members), size=(RESAMPLES, len(members)))
        drawn += len(members) * np.arange(RESAMPLES)[:, None]  # each resample counts in separate bins
        counts[:, members] = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
    return picks, counts


def probability_of_improvement(left: Outcomes, right: Outcomes, chance: np.random.Generator) -> Estimate:
    """P(X > Y): that a run of `left` beats a run of `right` on a task type, ties counting half, mean over types.

    Both must be of the same games. The interval is the percentile interval of a bootstrap that resamples the seeds of
    each method on their own and the games of both together. With S and S' seeds there are S S' comparisons a type: with
    three seeds the figure is a coarse one.
    """
    picks, counts = resamples(left, chance)
    others = chance.integers(0, len(right.seeds), size=(RESAMPLES, len(right.seeds)))
    value = float(_share_of_wins(left.point_scores()[None], right.point_scores()[None])[0])
    drawn = _share_of_wins(left.scores(picks, counts), right.scores(others, counts))
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(bound) for bound in np.quantile(drawn, [tail, 1 - tail]))
    return Estimate(value, min(low, value), max(high, value), None, min(len(left.seeds), len(right.seeds)),
                    len(left.games))  # fmt: skip


def verdict(change: Estimate, differing: int) -> str:
    """Return better, worse or within the noise; `differing` is on how many games the two differ at all."""
    if differing < FEWEST_DIFFERING or change.low <= 0 <= change.high:
        return NOISE
    return BETTER if change.value > 0 else WORSE


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down p-values: with n comparisons, the chance of any false one stays below the level."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = worst
    return adjusted


def _student(value: float, variance: float, by_seed: float, by_game: float, outcomes: Outcomes) -> Estimate:
    from scipy.stats import t

    seeds, games = outcomes.rates.shape
    value, variance, by_seed, by_game = (float(figure) for figure in (value, variance, by_seed, by_game))
    if not (variance > 0 and math.isfinite(value)):
        return Estimate(value, value, value, None, seeds, games)
    doubt = by_game**2 / max(1, games - len(outcomes.kinds))
    if seeds > 1:
        doubt += by_seed**2 / (seeds - 1)
    degrees, error = variance**2 / doubt, math.sqrt(variance)
    reach = float(t.ppf(0.5 + CONFIDENCE / 2, degrees)) * error
    p_value = 2 * float(t.sf(abs(value) / error, degrees))
    return Estimate(value, value - reach, value + reach, p_value, seeds, games)


def _bounded(statistic: Statistic, outcomes: Outcomes, chance: np.random.Generator) -> Estimate:
    """Estimate one statistic (R,), its interval kept within what is possible."""
    found = estimates(lambda picks, counts: statistic(picks, counts)[:, None], outcomes, chance)[0]
    if found.low == found.high:  # n games that all agree do not prove that every game would
        slack = wilson(0, len(outcomes.games))[1]  # type: ignore[index]
        found = replace(found, low=found.low - slack, high=found.high + slack)
    return found.within(*outcomes.bounds)


def _share_of_wins(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(R, S, K) against (R, S', K) -> (R,)."""
    difference = left[:, :, None] - right[:, None]
    tied = np.abs(difference) < 1e-12  # sums of the same rates in another order
    return np.where(tied, 0.5, difference > 0).mean(axis=(1, 2, 3))


def _variance(values: np.ndarray) -> np.ndarray:
    """(R, F) -> (F,), over the resamples in which a figure is defined."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a figure that never is defined
        return np.nanvar(values, axis=0)
