"""Golden numbers, computed by hand."""

import numpy as np
import polars as pl
import pytest
from played_episodes import N, P, Z, episode

from sg_pipeline.evaluation.calibration import MEASURES, auc, guidance_calibration, label_counts, measures
from sg_pipeline.trajectories.frame import to_frame


@pytest.mark.parametrize(
    ("wins", "losses", "expected"),
    [
        ([1, 0], [0, -1], 3.5 / 4),  # of four pairs three are right and one is a tie
        ([0, 0], [0, 0], 0.5),
        ([1, 1], [-1, -1], 1.0),
        ([-1, -1], [1, 1], 0.0),
        ([1, 0], [], None),
        ([], [], None),
    ],
)
def test_auc_by_hand(wins, losses, expected):
    won = [True] * len(wins) + [False] * len(losses)
    assert auc(pl.Series(wins + losses, dtype=pl.Int64), pl.Series(won, dtype=pl.Boolean)) == expected


def test_measures_of_turns_by_hand():
    """Labels +, +, 0, - with outcomes 1, 0, 1, 0: squared errors 0, 1, 1/4, 0."""
    counts = np.zeros((3, 3, 2))
    counts[0] = [[1, 0], [0, 1], [1, 1]]
    found = dict(zip(MEASURES, measures(counts).tolist(), strict=True))
    assert found["brier.score"] == pytest.approx(1.25 / 4)
    assert found["brier.reliability"] == pytest.approx(0.5 * 0.5**2 + 0.25 * 0.5**2)
    assert found["brier.resolution"] == pytest.approx(0.25 * 0.5**2 * 2)
    assert found["brier.uncertainty"] == pytest.approx(0.25)
    assert found["auc.turns"] == pytest.approx((0.5 + 1 + 0 + 1) / 4)
    assert found["auc.early"] == found["auc.turns"]
    assert np.isnan(found["auc.late"])


def test_measures_without_a_label_leave_the_others_defined():
    counts = np.zeros((3, 3, 2))
    counts[0, 2] = [1, 3]
    found = dict(zip(MEASURES, measures(counts).tolist(), strict=True))
    assert np.isnan(found["win_rate.negative"])
    assert found["win_rate.positive"] == 0.75
    assert found["brier.score"] == pytest.approx(found["brier.reliability"] - 0 + found["brier.uncertainty"])
    assert found["auc.turns"] == 0.5


def test_label_counts_by_game_add_up():
    table = to_frame([episode(game, 0, (Z, P, None), won=game == 1) for game in range(3)])
    games = sorted(set(table["task_id"]))
    assert label_counts(table, games).sum(axis=0).tolist() == label_counts(table).tolist()
    assert (label_counts(table).sum(), label_counts(table, games[:2]).sum()) == (6, 4)


@pytest.fixture
def found():
    frame = to_frame(
        [
            episode(0, 0, (Z, P, P), won=True),
            episode(0, 1, (N, Z, Z, N, N, P), won=False, unparsed=(1,)),
            # The same numbers again in another split: other episodes, not more turns of these.
            episode(0, 0, (P,), won=True, split="valid_unseen"),
        ]
    )
    return guidance_calibration(frame.sample(fraction=1.0, shuffle=True, seed=3))


def test_labels(found):
    assert (found["turns"], found["episodes"]) == (10, 3)
    assert found["win_rate_of_turns"] == pytest.approx(0.4)
    assert found["unparsed_share"] == pytest.approx(0.1)
    assert found["labels"] == {
        "positive": {"turns": 4, "share": 0.4, "win_rate": pytest.approx(3 / 4)},
        "neutral": {"turns": 3, "share": 0.3, "win_rate": pytest.approx(1 / 3)},
        "negative": {"turns": 3, "share": 0.3, "win_rate": 0.0},
    }


def test_auc_by_third_and_episode(found):
    """Thirds: Z|P|P of the win, NZ|ZN|NP of the loss; the one turn of the third episode is early."""
    # All turns: wins Z P P P against N Z Z N N P. Z beats 3, ties 2, loses 1; each P beats 5 and ties 1.
    assert found["auc"]["turns"] == pytest.approx((3 + 1 + 3 * 5.5) / 24)
    assert found["auc"]["early"] == pytest.approx((1 + 0.5 + 2) / 4)  # Z P against N Z
    assert found["auc"]["middle"] == 1.0  # P against Z N
    assert found["auc"]["late"] == pytest.approx(1.5 / 2)  # P against N P
    assert found["auc"]["r_sg"] == 1.0  # +2 and +1 against -2
    assert found["auc"]["mean_verdict"] == 1.0


def test_length_misleads_the_sum_but_not_the_mean():
    """A long loss of mostly positive verdicts outweighs a short win of only positive ones in R_sg."""
    found = guidance_calibration(to_frame([episode(0, 0, (P, P), won=True), episode(0, 1, (P, P, P, P, N), won=False)]))
    assert (found["auc"]["r_sg"], found["auc"]["mean_verdict"]) == (0.0, 1.0)


def test_undefined_is_none():
    assert guidance_calibration(to_frame([episode(0, 0, (None, None), won=True)])) is None
    won = guidance_calibration(to_frame([episode(0, 0, (P, P), won=True)]))
    assert set(won["auc"].values()) == {None}
    assert won["labels"]["negative"] == {"turns": 0, "share": 0.0, "win_rate": None}
