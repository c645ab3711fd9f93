"""Published and hand-computed intervals, and what a bootstrap by game must and must not do."""

import math

import pytest
from scipy.stats import binomtest

from sg_pipeline.evaluation.intervals import paired_difference, score_interval, sign_test, success_interval, wilson
from sg_pipeline.randomness import stream


# Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
@pytest.mark.parametrize(
    ("wins", "episodes", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_as_published(wins, episodes, low, high):
    assert wilson(wins, episodes) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("wins", "episodes"), [(0, 1), (1, 1), (3, 7), (140, 140), (0, 140), (70, 140)])
def test_wilson_as_scipy(wins, episodes):
    other = binomtest(wins, episodes).proportion_ci(method="wilson")
    assert wilson(wins, episodes) == pytest.approx((other.low, other.high), abs=1e-12)


def one_each(outcomes) -> dict[str, list[int]]:
    return {f"game-{i:04}": [int(won), 1] for i, won in enumerate(outcomes)}


def test_success_interval_one_episode_a_game_is_wilson():
    assert success_interval(one_each([True] * 30 + [False] * 70), 0) == (wilson(30, 100), "wilson")


def test_success_interval_equal_repetitions_add_no_certainty():
    """100 games of which 30 are always won, 8 times each: as sure as 100 episodes, not as 800."""
    games = {f"g{i:03}": [8 if i < 30 else 0, 8] for i in range(100)}
    (low, high), method = success_interval(games, 0)
    assert method == "bootstrap by game"
    assert (high - low) / 2 == pytest.approx(1.96 * math.sqrt(0.3 * 0.7 / 100), rel=0.05)


def test_success_interval_independent_repetitions_add_certainty():
    chance = stream(1, "test")
    games = {f"g{i:03}": [int(chance.binomial(8, 0.3)), 8] for i in range(100)}
    (low, high), _ = success_interval(games, 0)
    assert (high - low) / 2 == pytest.approx(1.96 * math.sqrt(0.3 * 0.7 / 800), rel=0.2)


def test_success_interval_without_spread_is_not_a_point():
    interval, method = success_interval({f"g{i}": [4, 4] for i in range(10)}, 0)
    assert (interval, method) == (wilson(10, 10), "wilson over games")
    assert success_interval({}, 0)[0] is score_interval({}, 0)[0] is wilson(0, 0) is None
    assert score_interval({f"g{i}": [0.5, 1] for i in range(20)}, 0) == (wilson(10, 20), "wilson over games")


def test_bootstrap_depends_on_seed_and_names():
    games = {f"g{i}": [i % 3, 2 + i % 2] for i in range(25)}
    assert success_interval(games, 7, "valid_seen") == success_interval(dict(reversed(games.items())), 7, "valid_seen")
    assert success_interval(games, 7, "valid_seen") != success_interval(games, 8, "valid_seen")
    assert success_interval(games, 7, "valid_seen") != success_interval(games, 7, "valid_unseen")


def test_paired_difference_by_hand():
    """Of 100 games 20 are won by both, 30 only by final, 10 only by base: +20 points."""
    base = one_each([True] * 20 + [False] * 30 + [True] * 10 + [False] * 40)
    final = one_each([True] * 20 + [True] * 30 + [False] * 10 + [False] * 40)
    found = paired_difference(base, final, 0)
    assert (found["difference"], found["games"], found["better"], found["worse"]) == (pytest.approx(0.2), 100, 30, 10)
    deviation = math.sqrt((0.3 + 0.1 - 0.2**2) / 100)  # of the mean of 30 ones, 10 minus ones, 60 zeros
    assert found["ci95"] == pytest.approx([0.2 - 1.96 * deviation, 0.2 + 1.96 * deviation], abs=0.012)
    assert found["p_value"] == pytest.approx(binomtest(30, 40).pvalue)
    assert found["outside_noise"]
    back = paired_difference(final, base, 0)
    assert (back["difference"], back["outside_noise"]) == (pytest.approx(-0.2), True)


def test_the_same_policy_twice_is_no_difference():
    table = one_each([True, False] * 20)
    found = paired_difference(table, table, 0)
    assert (found["difference"], found["better"], found["worse"], found["p_value"]) == (0.0, 0, 0, 1.0)
    assert found["outside_noise"] is False
    bound = wilson(0, 40)[1]
    assert found["ci95"] == [-bound, bound]


def test_paired_difference_of_four_games_is_noise():
    """A bootstrap of four changes in one direction excludes 0; the sign test (p = 1/8) does not."""
    found = paired_difference(one_each([False] * 100), one_each([True] * 4 + [False] * 96), 0)
    assert found["ci95"][0] > 0
    assert found["p_value"] == pytest.approx(0.125)
    assert found["outside_noise"] is False


def test_paired_difference_uses_only_common_games():
    base = {"a": [0, 1], "b": [1, 1], "x": [1, 1]}
    final = {"a": [1, 1], "b": [1, 1], "y": [0, 1]}
    assert paired_difference(base, final, 0)["games"] == 2
    nothing = paired_difference({"x": [1, 1]}, {"y": [1, 1]}, 0)
    assert (nothing["games"], nothing["difference"], nothing["ci95"], nothing["outside_noise"]) == (0, None, None, None)


def test_sign_test_by_hand():
    assert sign_test(0, 0) == 1.0
    assert sign_test(5, 0) == pytest.approx(2 / 32)
    assert sign_test(0, 6) == pytest.approx(2 / 64)
    assert sign_test(3, 3) == pytest.approx(1.0)
