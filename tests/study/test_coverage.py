"""Do the intervals keep what they promise? Simulated studies whose truth is known."""

import numpy as np
import pytest

from sg_pipeline.study import statistics
from sg_pipeline.study.outcomes import Outcomes, difference

GAMES, KINDS, STUDIES = 120, 4, 120


def study(chance: np.random.Generator, games: np.ndarray, seeds: int, spread: float) -> Outcomes:
    """One method: log-odds of a win are the game's, the seed's and this seed's on this game."""
    odds = games + spread * chance.standard_normal((seeds, 1)) + 0.5 * chance.standard_normal((seeds, GAMES))
    rates = (chance.random((seeds, GAMES)) < 1 / (1 + np.exp(-odds))).astype(float)
    return Outcomes(
        rates, tuple(range(seeds)), tuple(map(str, range(GAMES))), tuple("abcd"), np.arange(GAMES) % KINDS
    )  # fmt: skip


def panel(chance: np.random.Generator) -> np.ndarray:
    return np.linspace(-1.5, 1.5, KINDS)[np.arange(GAMES) % KINDS] + 1.5 * chance.standard_normal(GAMES)


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 300)


@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_intervals_cover_other_seeds_and_other_games(spread):
    noise = np.random.default_rng(0).standard_normal(200_000) * np.sqrt(1.5**2 + 0.5**2 + spread**2)
    truth = np.mean([np.mean(1 / (1 + np.exp(-(kind + noise)))) for kind in np.linspace(-1.5, 1.5, KINDS)])
    ours, seeds_only = 0, 0
    for number in range(STUDIES):
        chance = np.random.default_rng(number)
        outcomes = study(chance, panel(chance), 3, spread)
        found = statistics.mean_success(outcomes, chance)
        ours += found.low <= truth <= found.high
        means = outcomes.rates.mean(axis=1)[chance.integers(0, 3, (300, 3))].mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        seeds_only += low <= truth <= high
    # 95 % of 120 is 114 with a standard deviation of 2.4; the t interval errs on the wide side.
    assert ours >= 107
    assert seeds_only <= 98, "percentiles of three seeds should be seen to be too narrow"


def test_verdicts_on_equal_methods_are_noise_and_on_unequal_ones_are_not():
    alarms, found = 0, 0
    for number in range(STUDIES):
        chance = np.random.default_rng(number)
        games = panel(chance)
        one, other, better = (study(chance, games + lead, 3, 0.1) for lead in (0.0, 0.0, 2.0))
        for rival, count in ((other, 0), (better, 1)):
            change = difference(rival, one)
            verdict = statistics.verdict(statistics.mean_success(change, chance), statistics.FEWEST_DIFFERING)
            alarms += count == 0 and verdict != statistics.NOISE
            found += count == 1 and verdict == statistics.BETTER
    assert alarms <= 0.08 * STUDIES
    assert found >= 0.9 * STUDIES
