"""Sampled scenes keep their promises: solvable, not solved, within their limits, items only where they may be."""

import os
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sg_pipeline.environments.alfworld.generation.floor_plans import (
    UNSEEN_FLOOR_PLANS,
    floor_plan,
    floor_plans_of,
    may_hold,
)
from sg_pipeline.environments.alfworld.generation.problem import walkthrough
from sg_pipeline.environments.alfworld.generation.sampler import WHOLE_FLOOR_PLAN, Difficulty, sample_scene
from sg_pipeline.environments.alfworld.generation.scene import Scene
from sg_pipeline.environments.alfworld.rulebook import LAMPS, STATIONS, TASK_TYPES
from sg_pipeline.errors import ConfigurationError, DataError
from sg_pipeline.randomness import stream


def _sample(seed: int, task_type: str, difficulty: Difficulty, unseen: bool = False) -> Scene:
    rng = stream(seed, "test", task_type)
    plans = floor_plans_of(task_type, unseen=unseen)
    return sample_scene(rng, plans[int(rng.integers(len(plans)))], task_type, difficulty)


def _held(scene: Scene, kind: str) -> Counter[str]:
    """Count the items of the goal's kind in each receptacle of `kind`."""
    kinds = {receptacle.name: receptacle.kind for receptacle in scene.receptacles}
    return Counter(
        item.receptacle for item in scene.items if item.kind == scene.goal.item_kind and kinds[item.receptacle] == kind
    )


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**9),
    task_type=st.sampled_from(TASK_TYPES),
    difficulty=st.sampled_from([Difficulty(), WHOLE_FLOOR_PLAN, Difficulty(max_items_per_kind=1)]),
    unseen=st.booleans(),
)
def test_scene_is_sound(seed: int, task_type: str, difficulty: Difficulty, unseen: bool) -> None:
    scene = _sample(seed, task_type, difficulty, unseen)
    goal = scene.goal
    kinds = {receptacle.name: receptacle.kind for receptacle in scene.receptacles}

    assert goal.task_type == task_type
    assert (scene.floor_plan in UNSEEN_FLOOR_PLANS) == unseen
    assert len(kinds) == len(scene.receptacles)
    assert len({item.name for item in scene.items}) == len(scene.items)
    for item in scene.items:
        assert may_hold(kinds[item.receptacle], item.kind)
        assert item.portable == (item.kind not in LAMPS)
    for receptacle in scene.receptacles:
        assert receptacle.openable == (receptacle.kind in {"Fridge", "Cabinet", "Microwave", "Drawer", "Safe"})

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

    wanted = sum(item.kind == goal.item_kind for item in scene.items)
    assert wanted >= (2 if task_type == "pick_two_obj_and_place" else 1)
    if task_type == "look_at_obj_in_light":
        assert any(item.kind == goal.target_kind for item in scene.items)
    else:
        assert goal.target_kind in kinds.values()
        assert may_hold(goal.target_kind, goal.item_kind)
    if task_type in STATIONS:
        assert STATIONS[task_type] in kinds.values()
    elif task_type != "look_at_obj_in_light":
        assert not _held(scene, goal.target_kind)

    assert goal.item_kind.lower() in scene.task_text
    assert goal.target_kind.lower() in scene.task_text
    assert scene.task_text.endswith(".")
    assert walkthrough(scene)


def test_default_scenes_have_the_promised_size() -> None:
    scenes = [_sample(seed, task_type, Difficulty()) for seed in range(40) for task_type in TASK_TYPES]
    assert {len(scene.receptacles) for scene in scenes} <= {4, 5, 6, 7}
    sizes = Counter(len(scene.items) for scene in scenes)
    assert max(sizes) == 8
    # A few floor plans hold too little for five items; they must stay rare.
    assert sum(count for size, count in sizes.items() if size < 5) < len(scenes) // 20


def test_whole_floor_plan_uses_every_receptacle() -> None:
    scene = _sample(3, "pick_heat_then_place_in_recep", WHOLE_FLOOR_PLAN)
    available = dict(floor_plan(scene.floor_plan).receptacles)
    assert Counter(receptacle.kind for receptacle in scene.receptacles) == available


def test_every_task_type_has_seen_and_unseen_floor_plans() -> None:
    assert floor_plans_of("pick_heat_then_place_in_recep", unseen=True) == (10,)
    assert floor_plans_of("pick_clean_then_place_in_recep", unseen=True) == (10, 424)
    assert floor_plans_of("look_at_obj_in_light", unseen=True) == (219, 308)
    assert floor_plans_of("pick_and_place_simple", unseen=True) == (10, 219, 308, 424)
    for task_type in TASK_TYPES:
        assert len(floor_plans_of(task_type, unseen=False)) >= 20


def test_game_files_do_not_depend_on_the_hash_seed() -> None:
    program = (
        "import hashlib\n"
        "from sg_pipeline.environments.alfworld.generation.panel import make_panel\n"
        "print(make_panel(5, {'train': 12, 'valid_unseen': 6}).sha256)\n"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(digests) == 1


def test_impossible_requests_raise_with_what_is_possible() -> None:
    with pytest.raises(ConfigurationError, match=r"Floor plan 401 \(Bathroom\) cannot host .*heat.*\[1, 2, 3,"):
        sample_scene(stream(0), 401, "pick_heat_then_place_in_recep", Difficulty())
    with pytest.raises(DataError, match="Floor plan 99 is not among the layouts"):
        floor_plan(99)
    with pytest.raises(ConfigurationError, match="Unknown ALFWorld task type 'juggle'"):
        floor_plans_of("juggle", unseen=False)
    with pytest.raises(ValidationError, match="min_items is 9, more than max_items, which is 8"):
        Difficulty(min_items=9)
