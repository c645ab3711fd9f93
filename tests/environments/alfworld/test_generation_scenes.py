"""Sampled scenes keep their promises: solvable, not solved, within their limits, items only where they may be."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from alfworld_games import WHOLE_FLOOR_PLAN, sampled
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sg_pipeline.environments.alfworld.generation.floor_plans import UNSEEN_FLOOR_PLANS, floor_plan, may_hold
from sg_pipeline.environments.alfworld.generation.problem import walkthrough
from sg_pipeline.environments.alfworld.generation.sampler import Difficulty
from sg_pipeline.environments.alfworld.rulebook import LAMPS, TASK_TYPES
from sg_pipeline.environments.alfworld.rules import RulesModel


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**9),
    task_type=st.sampled_from(TASK_TYPES),
    difficulty=st.sampled_from([Difficulty(), WHOLE_FLOOR_PLAN, Difficulty(max_items_per_kind=1)]),
    unseen=st.booleans(),
)
def test_scene_is_sound(seed: int, task_type: str, difficulty: Difficulty, unseen: bool) -> None:
    scene = sampled(task_type, seed, difficulty, unseen)
    goal = scene.goal
    kinds = {receptacle.name: receptacle.kind for receptacle in scene.receptacles}

    assert goal.task_type == task_type
    assert (scene.floor_plan in UNSEEN_FLOOR_PLANS) == unseen
    assert len(kinds) == len(scene.receptacles)
    assert len({item.name for item in scene.items}) == len(scene.items)
    assert all(may_hold(kinds[item.receptacle], item.kind) for item in scene.items)
    opened = {receptacle.kind for receptacle in scene.receptacles if receptacle.openable}
    assert opened == set(kinds.values()) & {"Fridge", "Cabinet", "Microwave", "Drawer", "Safe"}

    available = dict(floor_plan(scene.floor_plan).receptacles)
    for kind, count in Counter(kinds.values()).items():
        assert count <= min(available[kind], difficulty.max_receptacles_per_kind)
    assert len(scene.receptacles) <= difficulty.max_receptacles
    assert len(scene.items) <= difficulty.max_items
    for kind, count in Counter(item.kind for item in scene.items).items():
        allowed = 1 if kind in LAMPS else difficulty.max_items_per_kind
        wanted_twice = task_type == "pick_two_obj_and_place" and kind == goal.item_kind
        assert count <= max(allowed, 2 if wanted_twice else 1)
    assert max(Counter(item.receptacle for item in scene.items).values()) <= difficulty.max_items_per_receptacle

    assert goal.item_kind.lower() in scene.task_text
    assert goal.target_kind.lower() in scene.task_text
    model = RulesModel(scene)
    assert not model.won()
    answers = [model.step(command) for command in walkthrough(scene)]
    assert all(answer.valid for answer in answers)
    assert [answer.won for answer in answers].index(True) == len(answers) - 1


PROGRAM = """
import sys
from pathlib import Path
from sg_pipeline.environments.alfworld.compile import compile_games
from sg_pipeline.environments.alfworld.generation.panel import make_panel, write_panel_games
panel = make_panel(5, {'train': 6, 'valid_unseen': 2})
folder = Path(sys.argv[1])
write_panel_games(panel, folder)
compile_games({game.sha256: folder / game.path for game in panel.splits['valid_unseen']}, folder)
"""


def test_game_files_and_translations_do_not_depend_on_the_hash_seed(tmp_path: Path) -> None:
    found = []
    for hash_seed in ("1", "2"):
        folder = tmp_path / hash_seed
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        subprocess.run([sys.executable, "-c", PROGRAM, folder], env=environment, check=True)
        files = [path for path in folder.rglob("*") if path.is_file()]
        found.append({path.relative_to(folder): path.read_bytes() for path in files})
    assert found[0] == found[1]
    assert len(found[0]) == 8 + 2


def test_difficulty_with_a_minimum_above_its_maximum_raises() -> None:
    with pytest.raises(ValidationError, match="min_items is 9, more than max_items, which is 8"):
        Difficulty(min_items=9)
