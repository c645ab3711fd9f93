import json

import polars as pl
import pytest
from played_episodes import N, P, Z, episode
from pydantic import ValidationError

from sg_pipeline.config.loader import section
from sg_pipeline.errors import DataError
from sg_pipeline.evaluation.intervals import wilson
from sg_pipeline.evaluation.metrics import evaluate_table, paired_scores, score_episodes
from sg_pipeline.trajectories.frame import to_frame


@pytest.fixture
def table() -> pl.DataFrame:
    seen = [
        episode(0, 0, (Z, P), won=True),
        episode(1, 0, (Z, P, P, P), won=True, kind="pick_two_obj_and_place"),
        episode(2, 0, (Z, N, N, N, N, N), won=False, unparsed=(0, 1), invalid=(1, 2, 3)),
        episode(3, 0, (Z, Z, Z, Z, Z, Z), won=False, kind="pick_two_obj_and_place"),
    ]
    unseen = [episode(group, 0, (Z,), won=group == 0, split="valid_unseen") for group in range(2)]
    return to_frame(seen + unseen)


def test_score_episodes_by_hand(table):
    scores = evaluate_table(table, seed=0)
    assert [(split, score["episodes"]) for split, score in scores.items()] == [("valid_seen", 4), ("valid_unseen", 2)]
    score = scores["valid_seen"]
    assert (score["success_rate"], score["episodes"], score["games"], score["interval"]) == (0.5, 4, 4, "wilson")
    assert score["ci95"] == pytest.approx(list(wilson(2, 4)))
    assert (score["score"], score["mean_turns"], score["mean_turns_won"]) == (0.5, 4.5, 3.0)
    assert score["truncated_share"] == 0.5
    assert score["invalid_action_share"] == pytest.approx(3 / 18)
    assert score["unparsed_guidance_share"] == pytest.approx(2 / 18)
    assert score["unparsed_action_share"] == 0.0
    assert score["task_types"]["pick_two_obj_and_place"]["success_rate"] == 0.5
    assert score["task_types"]["pick_and_place_simple"]["episodes"] == 2
    assert score["calibration"]["labels"]["positive"]["win_rate"] == 1.0
    assert score["per_game"] == {f"valid_seen-{i}": [int(i < 2), 1] for i in range(4)}


def test_score_episodes_adds_grades_to_success(table):
    plain = evaluate_table(table, seed=0)["valid_seen"]
    assert not {"score_ci95", "score_per_game"} & set(plain)
    assert "score" not in plain["task_types"]["pick_and_place_simple"]
    lost = pl.when(pl.col("won")).then(1.0).otherwise(0.25)
    score = evaluate_table(table.with_columns(score=lost), seed=0)["valid_seen"]
    assert {name: score[name] for name in ("success_rate", "ci95", "per_game")} == {
        name: plain[name] for name in ("success_rate", "ci95", "per_game")
    }
    assert (score["score"], score["score_interval"]) == (0.625, "bootstrap by game")
    low, high = score["score_ci95"]
    assert 0.25 <= low < 0.625 < high <= 1
    assert score["score_per_game"] == {f"valid_seen-{i}": [1.0 if i < 2 else 0.25, 1] for i in range(4)}
    assert score["task_types"]["pick_and_place_simple"]["score"] == 0.625
    change = paired_scores(plain, score, 0)
    assert change["difference"] == 0
    assert change["score"]["difference"] == pytest.approx(0.125)
    assert "score" not in paired_scores(plain, plain, 0)


def test_evaluate_table_ignores_the_order_of_rows(table):
    once = json.dumps(evaluate_table(table, seed=0))
    assert json.dumps(evaluate_table(table.sample(fraction=1.0, shuffle=True, seed=5), seed=0)) == once


def test_score_episodes_clusters_repetitions_by_game():
    frame = to_frame([episode(g, i, (Z, P), won=g < 4) for g in range(10) for i in range(3)])
    score = score_episodes(frame, seed=0)
    assert (score["episodes"], score["games"], score["interval"]) == (30, 10, "bootstrap by game")
    (low, high), naive = score["ci95"], wilson(12, 30)
    assert high - low > naive[1] - naive[0]


def test_score_episodes_without_guidance_has_no_calibration():
    score = score_episodes(to_frame([episode(0, 0, (None, None), won=True)]), seed=0)
    assert score["calibration"] is None
    assert score["unparsed_guidance_share"] is None


def test_score_episodes_empty_or_all_failed_is_json():
    empty = score_episodes(to_frame([]), seed=0)
    assert (empty["success_rate"], empty["ci95"], empty["episodes"]) == (None, None, 0)
    lost = score_episodes(to_frame([episode(0, 0, (Z,), won=False)]), seed=0)
    assert lost["mean_turns_won"] is None
    json.dumps([empty, lost], allow_nan=False)


def test_score_episodes_mixed_table_raises(table):
    with pytest.raises(DataError, match="mixes splits in its column split"):
        score_episodes(table, seed=0)
    with pytest.raises(DataError, match=r"column step \(0, 3\)"):
        score_episodes(to_frame([episode(0, step=0), episode(1, step=3)]), seed=0)


def test_evaluation_config_modes_and_errors():
    assert section("evaluate").modes == ("with_guidance", "without_guidance")
    assert section("evaluate", plain=False).modes == ("with_guidance",)
    with pytest.raises(ValidationError, match="both false"):
        section("evaluate", guided=False, plain=False)
    with pytest.raises(ValidationError, match="valid_seen is named twice"):
        section("evaluate", splits=("valid_seen", "valid_seen"))
    with pytest.raises(ValidationError):
        section("evaluate", temprature=1.0)
