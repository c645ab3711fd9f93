"""Confidence intervals of success rates, mean scores and differences between two policies.

Which interval, and why:

- One episode a game: the episodes are independent, and the Wilson score interval keeps its level down to a handful
  of episodes and at rates of 0 and 1, where the normal approximation collapses.
- Several episodes a game: episodes of one game are correlated, so games are resampled (cluster bootstrap), not
  episodes; treating episodes as independent would make the interval too narrow.
- Two policies on the same games: the differences per game are resampled (paired bootstrap), which takes the games'
  difficulty out of the comparison.

The bootstrap's percentiles are widened for few games ("expanded percentile": Hesterberg, The American Statistician
69(4), 2015). Where all resamples are equal, Wilson's bound is used: n games that agree do not prove that all games
would. A mean score is bootstrapped by game in the same way, also with one episode a game.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sg_pipeline.randomness import stream

CONFIDENCE = 0.95
"""Level of every interval; fields with an interval are called `ci95`."""

RESAMPLES = 10_000
"""Enough for the ends of an interval to move by less than a tenth of a point between seeds at 100 games."""

_CHUNK = 4_000_000
"""Numbers drawn at once, which bounds the memory for large panels."""

Interval = tuple[float, float]
PerGame = Mapping[str, Sequence[float]]
"""Game -> (wins, or the sum of the scores; episodes)."""


def wilson(wins: float, episodes: int) -> Interval | None:
    """Wilson score interval of the rate wins / episodes; None without episodes."""
    from scipy.stats import norm

    if episodes < 1:
        return None
    rate, z = wins / episodes, float(norm.ppf(0.5 + CONFIDENCE / 2))
    centre = (rate + z * z / (2 * episodes)) / (1 + z * z / episodes)
    half = z * math.sqrt(rate * (1 - rate) / episodes + z * z / (4 * episodes**2)) / (1 + z * z / episodes)
    # At 0 and 1 the bound is the rate itself, except for rounding.
    return (0.0 if wins == 0 else centre - half), (1.0 if wins == episodes else centre + half)


def success_interval(games: PerGame, seed: int, *names: int | str) -> tuple[Interval | None, str]:
    """Interval of the success rate over all episodes, and the name of its method.

    Args:
        games: game -> (wins, episodes).
        seed: the run's seed.
        names: what is estimated; with the seed they name the bootstrap's random stream.

    Returns:
        ((low, high), "wilson") with one episode a game, ((low, high), "bootstrap by game") otherwise; None for the
        interval where there is no game.
    """
    wins, episodes = _columns(games)
    if len(episodes) == 0 or episodes.max() == 1:
        return wilson(int(wins.sum()), int(episodes.sum())), "wilson"
    return _clustered(wins, episodes, seed, "success", *names)


def score_interval(games: PerGame, seed: int, *names: int | str) -> tuple[Interval | None, str]:
    """Interval of the mean score over all episodes, and the name of its method; see `success_interval`.

    `games` maps a game to (the sum of its scores, each in [0, 1]; episodes).
    """
    scores, episodes = _columns(games)
    return _clustered(scores, episodes, seed, "score", *names) if len(episodes) else (None, "bootstrap by game")


def paired_difference(base: PerGame, final: PerGame, seed: int, *names: int | str) -> dict[str, Any]:
    """Compare two policies on the games that both played.

    Args:
        base, final: game -> (wins, or the sum of scores; episodes) of each policy.
        seed, names: as for `success_interval`.

    Returns:
        `difference`: mean over games of (success share, or mean score, of final - of base), and its `ci95` (paired
        bootstrap by game); `games`; `better` and `worse`: games in which final succeeds more, or less, often;
        `p_value`: exact two-sided sign test on these; `outside_noise`: the interval excludes 0 and the test agrees (p <
        0.05), since a bootstrap alone is unreliable with fewer than six games that differ. Without common games all but
        the counts are None.
    """
    common = sorted(set(base) & set(final))
    rates = [np.array([table[game][0] / table[game][1] for game in common]) for table in (base, final)]
    change = rates[1] - rates[0]
    better, worse = int((change > 0).sum()), int((change < 0).sum())
    result: dict[str, Any] = {"difference": None, "ci95": None, "games": len(common), "better": better, "worse": worse}
    if not common:
        return result | {"p_value": None, "outside_noise": None}
    if np.ptp(change) == 0:
        only, slack = float(change[0]), wilson(0, len(common))[1]  # type: ignore[index]
        low, high = max(-1.0, only - slack), min(1.0, only + slack)
    else:
        low, high = _bootstrap(change, np.ones(len(common)), seed, "difference", *names)
    p_value = sign_test(better, worse)
    outside = (low > 0 or high < 0) and p_value < 1 - CONFIDENCE
    found = {"difference": float(change.mean()), "ci95": [low, high], "p_value": p_value, "outside_noise": outside}
    return result | found


def sign_test(better: int, worse: int) -> float:
    """Two-sided p-value of `better` against `worse` games under equal probabilities; 1 where none differ."""
    from scipy.stats import binomtest

    return float(binomtest(better, better + worse).pvalue) if better + worse else 1.0


def _clustered(values: np.ndarray, episodes: np.ndarray, seed: int, *names: int | str) -> tuple[Interval | None, str]:
    means = values / episodes
    if np.ptp(means) == 0:  # every resample would be the same: count each game as one episode
        return wilson(float(means[0]) * len(means), len(means)), "wilson over games"
    return _bootstrap(values, episodes, seed, *names), "bootstrap by game"


def _bootstrap(values: np.ndarray, weights: np.ndarray, seed: int, *names: int | str) -> Interval:
    """Interval of sum(values) / sum(weights) over resampled games."""
    chance, games = stream(seed, "evaluation", "bootstrap", *names), len(values)
    statistics = np.empty(RESAMPLES)
    chunk = max(1, _CHUNK // games)
    for start in range(0, RESAMPLES, chunk):
        picks = chance.integers(0, games, size=(min(chunk, RESAMPLES - start), games))
        statistics[start : start + chunk] = values[picks].sum(axis=1) / weights[picks].sum(axis=1)
    tail = _expanded_tail(games)
    low, high = np.quantile(statistics, [tail, 1 - tail])
    return float(low), float(high)


def _expanded_tail(games: int) -> float:
    """Percentile that corrects the bootstrap's narrowness with few games; 0.025 with many."""
    from scipy.stats import norm, t

    return float(norm.cdf(t.ppf((1 - CONFIDENCE) / 2, games - 1) * math.sqrt(games / (games - 1))))


def _columns(games: PerGame) -> tuple[np.ndarray, np.ndarray]:
    rows = np.array([games[game] for game in sorted(games)], dtype=np.float64).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]
