"""Panels: deterministic, disjoint, rebuilt to the byte, with clear errors."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alfworld_games import sampled

from sg_pipeline.environments.alfworld.generation import panel as panel_module
from sg_pipeline.environments.alfworld.generation.floor_plans import UNSEEN_FLOOR_PLANS
from sg_pipeline.environments.alfworld.generation.panel import (
    PANELS,
    Panel,
    create_panel_file,
    make_panel,
    panel_scenes,
    signature,
    write_panel_games,
)
from sg_pipeline.environments.alfworld.generation.problem import prove_all
from sg_pipeline.environments.alfworld.generation.sampler import Difficulty
from sg_pipeline.environments.alfworld.rulebook import TASK_TYPES
from sg_pipeline.environments.panels import digest_of
from sg_pipeline.errors import ConfigurationError, DataError

pytestmark = pytest.mark.slow

SIZES = {"train": 30, "valid_seen": 13, "valid_unseen": 12}


@pytest.fixture(scope="module")
def panel() -> Panel:
    return make_panel(11, SIZES)


def test_same_seed_same_panel_other_seed_other_games(panel: Panel) -> None:
    assert make_panel(11, SIZES) == panel
    games, others = (
        {game.sha256 for split in made.splits.values() for game in split} for made in (panel, make_panel(12, SIZES))
    )
    assert not games & others


def test_splits_are_disjoint_and_balanced(panel: Panel) -> None:
    signatures: Counter[str] = Counter()
    for split, size in SIZES.items():
        scenes = panel_scenes(panel, split)
        assert len(scenes) == size
        signatures.update(signature(scene) for scene in scenes)
        assert {scene.floor_plan in UNSEEN_FLOOR_PLANS for scene in scenes} == {split == "valid_unseen"}
        counts = Counter(game.task_type for game in panel.splits[split])
        assert set(counts) == set(TASK_TYPES)
        assert max(counts.values()) - min(counts.values()) <= 1
    assert set(signatures.values()) == {1}


def test_make_panel_crowded_draws_again_or_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = Difficulty(min_receptacles=3, max_receptacles=3, min_items=2, max_items=2, max_receptacles_per_kind=1)
    crowded = make_panel(0, {"valid_unseen": 120}, tiny, ["look_at_obj_in_light"])
    assert any(game.attempt > 0 for game in crowded.splits["valid_unseen"])
    assert len({signature(scene) for scene in panel_scenes(crowded, "valid_unseen")}) == 120
    monkeypatch.setattr(panel_module, "_MAX_ATTEMPTS", 1)
    with pytest.raises(ConfigurationError, match=r"no new game found .* ask for fewer games or for larger scenes"):
        make_panel(0, {"valid_unseen": 120}, tiny, ["look_at_obj_in_light"])


def test_make_panel_unknown_split_or_type_raises() -> None:
    with pytest.raises(ConfigurationError, match=r"splits train, valid_seen, valid_unseen; found sizes .'test': 3."):
        make_panel(0, {"test": 3})
    with pytest.raises(ConfigurationError, match="Unknown ALFWorld task type 'juggle'"):
        make_panel(0, {"train": 3}, task_types=["juggle"])


def test_games_are_written_once_and_repaired(panel: Panel, tmp_path: Path) -> None:
    assert write_panel_games(panel, tmp_path) == sum(SIZES.values())
    files = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.rglob("*") if path.is_file()}
    assert len(files) == sum(SIZES.values())
    assert write_panel_games(panel, tmp_path) == 0
    damaged, missing = (tmp_path / panel.splits[split][3].path for split in ("train", "valid_seen"))
    damaged.write_bytes(damaged.read_bytes()[:100])
    missing.unlink()
    assert write_panel_games(panel, tmp_path) == 2
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == {
        path: content for path, (content, _) in files.items()
    }
    assert {path for path, (_, moment) in files.items() if path.stat().st_mtime_ns != moment} == {damaged, missing}


def test_write_panel_games_of_other_versions_raises(panel: Panel, tmp_path: Path) -> None:
    first, *rest = panel.splits["train"]
    altered = panel.model_copy(update={"splits": {"train": (first.model_copy(update={"sha256": "0" * 64}), *rest)}})
    with pytest.raises(DataError, match=f"Game train-0000 comes out different .* made with alfworld {panel.alfworld}"):
        write_panel_games(altered, tmp_path)
    with pytest.raises(DataError, match="made by version 99 of the game generator"):
        write_panel_games(panel.model_copy(update={"generator": 99}), tmp_path)


def test_panel_survives_reformatting(panel: Panel, tmp_path: Path) -> None:
    path = tmp_path / "panel.json"
    panel.save(path)
    path.write_text(json.dumps(json.loads(path.read_text()), indent=4, sort_keys=True))
    assert Panel.read(path) == panel
    tasks = Panel.read(path).tasks()
    assert {split: len(games) for split, games in tasks.items()} == SIZES
    first = tasks["valid_unseen"][0]
    assert (first.environment, first.split, first.task_id) == ("alfworld", "valid_unseen", "valid_unseen-0000")


def _twice(panel: dict[str, Any]) -> None:
    panel["splits"]["valid_seen"][0] = panel["splits"]["train"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda panel: panel.update(format=9), "format: Input should be 1, found 9"),
        (_twice, r"task_id 'train-0000' appears twice"),
        (
            lambda panel: panel["splits"]["train"][2].update(path="../escape.tw-pddl"),
            r"splits.train.2.path.*pattern.*found '../escape.tw-pddl'",
        ),
        (lambda panel: panel["splits"]["train"][2].update(attempt="many"), r"splits.train.2.attempt.*found 'many'"),
        (lambda panel: panel.update(colour="red"), "colour"),
    ],
)
def test_panel_read_wrong_content_raises_one_sentence(
    panel: Panel, tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    path = tmp_path / "panel.json"
    panel.save(path)
    content = json.loads(path.read_text())
    sha256 = content.pop("sha256")
    change(content)
    path.write_text(json.dumps({**content, "sha256": sha256}))
    with pytest.raises(DataError, match="was changed after it was made"):
        Panel.read(path)
    path.write_text(json.dumps({**content, "sha256": digest_of(content)}))
    with pytest.raises(DataError, match=message) as caught:
        Panel.read(path)
    assert "\n" not in str(caught.value)


def test_created_panels_are_proven_on_the_engine(tmp_path: Path) -> None:
    made = create_panel_file(tmp_path / "small.json", 2, sizes={"train": 2, "valid_unseen": 1}, workers=2)
    assert Panel.read(tmp_path / "small.json") == made
    scene = sampled("pick_and_place_simple", 1)
    turned = replace(scene, receptacles=scene.receptacles[::-1])
    with pytest.raises(DataError, match=r"The generated game train-0001 .* has the intro"):
        prove_all({"train-0000": scene, "train-0001": turned}, workers=1)
    target = next(place.name for place in scene.receptacles if place.kind == scene.goal.target_kind)
    solved = replace(scene, items=tuple(replace(item, receptacle=target) for item in scene.items))
    with pytest.raises(DataError, match="starts solved"):
        prove_all({"train-0000": solved}, workers=1)


def test_committed_panels_rebuild_to_the_byte(tmp_path: Path) -> None:
    signatures = {}
    for name in ("default", "small", "pairs", "validation", "validation_small"):
        path = PANELS / f"{name}.json"
        panel = Panel.read(path)
        panel.save(tmp_path / path.name)
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
        assert write_panel_games(panel, tmp_path / path.stem) == sum(len(games) for games in panel.splits.values())
        signatures[name] = {signature(scene) for split in panel.splits for scene in panel_scenes(panel, split)}
    assert (len(signatures["validation"]), len(signatures["validation_small"])) == (192, 96)
    for name in ("validation", "validation_small"):
        assert not signatures[name] & (signatures["default"] | signatures["small"] | signatures["pairs"])
