import numpy as np
import pytest

from sg_pipeline.errors import DataError
from sg_pipeline.study.outcomes import OTHERS, build_outcomes, difference, pair

TYPES = {f"g{i}": "ab"[i % 2] for i in range(12)}


def played(wins: set[int], games: range = range(12)) -> dict[str, tuple[int, int]]:
    return {f"g{i}": (int(i in wins), 1) for i in games}


def test_build_outcomes_aligns_seeds_and_games_in_any_order():
    found = build_outcomes({2: played({0}), 1: dict(reversed(played({1, 3}).items()))}, TYPES, "x")
    assert found.seeds == (1, 2)
    assert found.games == tuple(sorted(TYPES))
    assert found.rates[0, found.games.index("g3")] == 1
    assert found.rates.sum(axis=1).tolist() == [2, 1]
    assert found.point_scores().tolist() == [[0, 2 / 6], [1 / 6, 0]]
    assert found.shares.tolist() == [0.5, 0.5]
    several = build_outcomes({0: {**played(set()), "g0": (2, 4)}}, TYPES, "x")
    assert several.rates[0, 0] == 0.5


def test_scores_of_resamples_by_hand():
    found = build_outcomes({0: played({0, 2}), 1: played({1})}, TYPES, "x")
    counts = np.zeros((1, 12))
    counts[0, [found.games.index("g0"), found.games.index("g1")]] = 6  # nothing but these two
    assert found.scores(np.array([[1, 1]]), counts).tolist() == [[[0, 1], [0, 1]]]
    assert found.scores(np.array([[0, 1]]), counts).tolist() == [[[1, 0], [0, 1]]]


def test_rare_task_types_are_one_stratum():
    types = {**TYPES, "g0": "rare", "g1": "rarer"}
    found = build_outcomes({0: played(set())}, types, "x")
    assert found.kinds == ("a", "b", OTHERS)
    assert [found.kinds[found.kind_of[found.games.index(game)]] for game in ("g0", "g1")] == [OTHERS, OTHERS]


def test_pair_keeps_common_seeds_and_games():
    left = build_outcomes({0: played({0}), 1: played({1})}, TYPES, "x")
    right = build_outcomes({1: played({1, 2}, range(10)), 5: played(set(), range(10))}, TYPES, "y")
    one, other = pair(left, right)
    assert one.seeds == other.seeds == (1,)
    assert one.games == other.games == tuple(f"g{i}" for i in range(10))
    change = difference(one, other)
    assert change.rates.sum() == -1
    assert change.bounds == (-1.0, 1.0)
    assert pair(left, build_outcomes({7: played(set())}, TYPES, "z")) is None


def test_build_outcomes_of_other_or_unknown_games_raises():
    with pytest.raises(DataError, match=r"x: seed 1 was evaluated on 10 games and seed 0 on 12, and not on the same"):
        build_outcomes({0: played(set()), 1: played(set(), range(10))}, TYPES, "x")
    with pytest.raises(DataError, match="the panel does not name the task type of game g0"):
        build_outcomes({0: played(set())}, {}, "x")
