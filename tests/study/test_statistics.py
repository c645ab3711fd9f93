import numpy as np
import pytest
from scipy.stats import trim_mean

from sg_pipeline.evaluation.intervals import wilson
from sg_pipeline.randomness import stream
from sg_pipeline.study import statistics
from sg_pipeline.study.outcomes import Outcomes, difference
from sg_pipeline.study.statistics import (
    BETTER,
    NOISE,
    WORSE,
    Estimate,
    estimates,
    holm,
    interquartile_mean,
    mean_success,
    probability_of_improvement,
    verdict,
)


def outcomes(rates: list[list[float]], kinds: int = 2) -> Outcomes:
    values = np.array(rates, dtype=float)
    seeds, games = values.shape
    names = tuple("abcdef"[:kinds])
    return Outcomes(values, tuple(range(seeds)), tuple(map(str, range(games))), names, np.arange(games) % kinds)


def random_outcomes(seed: int, seeds: int = 3, games: int = 60, rate: float = 0.5, kinds: int = 3) -> Outcomes:
    return outcomes((np.random.default_rng(seed).random((seeds, games)) < rate).tolist(), kinds)


def test_values_are_those_of_the_data():
    found = random_outcomes(0)
    assert mean_success(found, stream(0)).value == pytest.approx(found.rates.mean())
    scores = [found.rates[s, found.kind_of == k].mean() for s in range(3) for k in range(3)]
    assert interquartile_mean(found, stream(0)).value == pytest.approx(trim_mean(scores, 0.25))


def test_one_seed_has_the_variance_of_a_stratified_mean(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 20_000)
    found = random_outcomes(1, seeds=1, games=300)
    estimate = mean_success(found, stream(0))
    parts = [found.rates[0, found.kind_of == kind] for kind in range(3)]
    exact = np.sqrt(sum(part.var() * len(part) for part in parts)) / 300
    assert (estimate.high - estimate.low) / 2 == pytest.approx(1.968 * exact, rel=0.03)
    assert estimate.as_json()["covers"] == "games only (one seed)"


def test_seeds_that_differ_widen_the_interval_by_students_t(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 20_000)
    # Games all alike, so that the seeds' means are all there is.
    found = outcomes([[0.4] * 12, [0.5] * 12, [0.6] * 12])
    estimate = mean_success(found, stream(0))
    exact = 0.1 / np.sqrt(3)
    assert (estimate.high - estimate.low) / 2 == pytest.approx(4.303 * exact, rel=0.02)
    assert estimate.as_json()["covers"] == "seeds and games"


def test_agreement_of_all_games_is_not_certainty():
    estimate = mean_success(outcomes([[1.0] * 20, [1.0] * 20]), stream(0))
    assert (estimate.value, estimate.high, estimate.p_value) == (1.0, 1.0, None)
    assert estimate.low == pytest.approx(1 - wilson(0, 20)[1])


def test_intervals_stay_within_what_is_possible():
    few = outcomes([[0.0] * 29 + [1.0], [0.0] * 30])
    assert mean_success(few, stream(0)).low == 0.0
    change = mean_success(difference(outcomes([[1.0] * 30] * 2), few), stream(0))
    assert 0.8 < change.low < change.high == 1.0


def test_undefined_figures_are_none_in_json():
    found = random_outcomes(3)
    figure = estimates(lambda picks, counts: np.full((len(picks), 1), np.nan), found, stream(0))[0].as_json()
    assert (figure["value"], figure["ci95"]) == (None, None)


def test_probability_of_improvement_by_hand():
    # Type a: 3 of 4 pairs of seeds are better, 1 tied. Type b: all tied.
    left, right = outcomes([[1.0, 0.5], [0.5, 0.5]]), outcomes([[0.5, 0.5], [0.0, 0.5]])
    assert probability_of_improvement(left, right, stream(0)).value == pytest.approx((3.5 / 4 + 0.5) / 2)
    same = probability_of_improvement(left, left, stream(0))
    assert same.value == 0.5
    assert same.low <= 0.5 <= same.high


def test_verdicts():
    better = Estimate(0.1, 0.05, 0.15, 0.001, 3, 100)
    assert verdict(better, 20) == BETTER
    assert verdict(Estimate(-0.1, -0.15, -0.05, 0.001, 3, 100), 20) == WORSE
    assert verdict(better, 5) == NOISE
    assert verdict(Estimate(0.1, 0.0, 0.2, 0.05, 3, 100), 20) == NOISE


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]
