"""The list of official games is alfworld's own, in a fixed order."""

import json
import logging
from collections import Counter
from pathlib import Path

import pytest
from alfworld_games import official_tasks

from sg_pipeline.environments.alfworld.official import OFFICIAL_COUNTS, find_official_games, official_files
from sg_pipeline.errors import DataError

PLACE, LIGHT = "pick_and_place_simple", "look_at_obj_in_light"
GRAMMAR = 'action PutObject {\n    template :: "move {o} to {r}";\n}'


def _trial(folder: Path, name: str, task_type: str = PLACE, **game: object) -> None:
    trial = folder / name
    trial.mkdir(parents=True)
    (trial / "traj_data.json").write_text(json.dumps({"task_type": task_type}))
    if game:
        (trial / "game.tw-pddl").write_text(json.dumps({"grammar": GRAMMAR, **game}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A split with every kind of trial."""
    split = tmp_path / "json_2.1.2" / "valid_seen"
    _trial(split, "pick_and_place_simple-Mug-None-Shelf-2/trial_b", solvable=True)
    _trial(split, "pick_and_place_simple-Mug-None-Shelf-2/trial_a", solvable=True)
    _trial(split, "look_at_obj_in_light-Mug-None-DeskLamp-301/trial_c", LIGHT, solvable=True)
    _trial(split, "look_at_obj_in_light-Pen-None-DeskLamp-301/trial_d", LIGHT, solvable=False)
    _trial(split, "pick_and_place_simple-Cup-None-Shelf-2/trial_e", unchecked=True)
    _trial(split, "pick_and_place_simple-Cup-None-Shelf-2/trial_f")
    _trial(split, "pick_and_place_simple-AppleSliced-None-Shelf-2/trial_g", solvable=True)
    _trial(split, "pick_and_place_with_movable_recep-Pen-Mug-Shelf-2/trial_h", solvable=True)
    _trial(split, "another-Pen-None-Shelf-2/trial_i", "another", solvable=True)
    return tmp_path


def test_keeps_what_alfworld_keeps_in_sorted_order(folder: Path) -> None:
    tasks = find_official_games(folder)["valid_seen"]
    assert [task.task_id for task in tasks] == [
        "official/valid_seen/look_at_obj_in_light-Mug-None-DeskLamp-301/trial_c",
        "official/valid_seen/pick_and_place_simple-Mug-None-Shelf-2/trial_a",
        "official/valid_seen/pick_and_place_simple-Mug-None-Shelf-2/trial_b",
    ]
    assert [task.task_type for task in tasks] == [LIGHT, PLACE, PLACE]
    assert all((folder / task.path).name == "game.tw-pddl" and len(task.sha256) == 64 for task in tasks)
    below = find_official_games(folder / "json_2.1.2")["valid_seen"]
    assert [(task.task_id, task.sha256) for task in below] == [(task.task_id, task.sha256) for task in tasks]


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the warnings other than of missing splits."""
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    return [message for message in warnings if "is not in" not in message]


def test_incomplete_split_gives_one_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        find_official_games(folder)
    (warning,) = _warnings(caplog)
    for part in ("valid_seen", "3 playable", "expected 140", f"{PLACE} 2 of 35", "2 unsolvable", "1 without"):
        assert part in warning
    assert "3 games in the wording of 2.1.2" in caplog.text


def test_missing_root_or_split_raises_or_warns(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(DataError, match="does not exist"):
        find_official_games(folder / "nowhere")
    with pytest.raises(DataError, match="holds no official ALFWorld games"):
        find_official_games(folder / "json_2.1.2" / "valid_seen")
    assert list(find_official_games(folder)) == ["valid_seen"]
    assert f"Official ALFWorld train is not in {folder}: 0 of 3553 games" in caplog.text
    assert f"Official ALFWorld valid_unseen is not in {folder}: 0 of 134 games" in caplog.text


def test_games_come_from_the_newest_data_version(folder: Path) -> None:
    _trial(folder / "json_2.1.1" / "valid_seen", f"{PLACE}-Mug-None-Shelf-2/trial_old", solvable=True)
    _trial(folder / "json_2.1.1" / "train", f"{PLACE}-Mug-None-Shelf-2/trial_old", solvable=True)
    tasks = find_official_games(folder)
    assert [len(tasks[split]) for split in ("train", "valid_seen")] == [1, 3]
    assert {path.split("/")[0] for path in official_files(folder)} == {"json_2.1.1", "json_2.1.2"}
    assert len(official_files(folder)) == 2 + 9 + 8


def test_trajectory_file_that_is_not_json_raises(folder: Path) -> None:
    path = next(folder.rglob("traj_data.json"))
    path.write_text("{")
    with pytest.raises(DataError, match=f"{path}.*not JSON"):
        find_official_games(folder)


def test_official_valid_seen_is_complete(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        tasks = official_tasks(tmp_path, "")
    assert Counter(task.task_type for task in tasks) == OFFICIAL_COUNTS["valid_seen"]
    assert len({task.task_id for task in tasks}) == 140
    assert "140 games in the wording of 2.1.1" in caplog.text
    (warning,) = _warnings(caplog)
    assert "other commands than generated games" in warning
